"""The shapes of imports and exports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from dataset_registry.api.shapes import In, Name, Out, Text
from dataset_registry.domain.import_checks import moment, scale
from dataset_registry.formats import FORMATS, WRITTEN

FormatOut = Literal[
    "coco",
    "yolo",
    "yolo-segmentation",
    "voc",
    "cvat",
    "label-studio",
    "datumaro",
    "csv",
    "masks",
    "masks-indexed",
]
FormatIn = Literal[FormatOut, "masks-beside", "deeppcb"]
assert set(get_args(FormatIn)) == set(FORMATS) and set(get_args(FormatOut)) == set(WRITTEN)
Unmarked = Literal["good", "without-label"]
State = Literal["waiting", "checking", "importing", "done", "refused", "failed"]


class ObjectIn(In):
    """An archive that lies in the object store."""

    bucket: Literal["datasets"] = "datasets"
    key: Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f]+$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=1, le=1 << 30)]
    media_type: Text = "application/octet-stream"


class ImportIn(In):
    """How an archive of labels is understood."""

    source: Name = Field(
        description="With its name it tells one image from another: the same two are the same image."
    )
    format: FormatIn | None = Field(None, description="Found out when left out.")
    mapping: dict[Text, Name] = Field({}, description="Class names in the archive to names of the taxonomy.")
    context: dict[Name, Text] = Field(
        {},
        description="Of every image: line, station, part_number, batch, captured_at, mm_per_pixel, synthetic ...",
    )
    only_good: bool = Field(
        False, description="Import what is in order; else a problem anywhere imports nothing."
    )
    unmarked: Unmarked = Field("good", description="What an image is of which the archive says nothing.")
    imported_by: Name

    @field_validator("context")
    @classmethod
    def can_be_understood(cls, context: dict[str, str]) -> dict[str, str]:
        if "mm_per_pixel" in context:
            scale(context["mm_per_pixel"])
        if "captured_at" in context:
            moment(context["captured_at"])
        return context


class ImportObjectIn(ImportIn):
    """An import of an archive that lies in the object store already."""

    name: Name = Field("archive", description="What a person calls it; the suffix of a single file counts.")
    object: ObjectIn


class Import(Out):
    """An import, and how far it is."""

    import_id: str
    source: str
    format: str | None
    archive_name: str
    archive_sha256: str
    archive_bytes: int
    options: dict[str, Any]
    state: State = Field(
        description="`refused`: it has problems, and nothing was imported. `failed`: it could not be finished; send it"
        " again to go on."
    )
    total: int | None = Field(description="Images in order; null before all were looked at.")
    checked: int = Field(description="Images looked at.")
    done: int = Field(description="Images written.")
    added: int = Field(description="Of these, images that were not known before.")
    problems: int = Field(description="All of them; the first 10,000 can be read.")
    failure: str | None
    imported_by: str
    requested_at: datetime
    finished_at: datetime | None


class ImportProblem(Out):
    """Something that cannot be imported as it stands."""

    number: int
    file: str
    line: int | None
    where: str = Field(description="Inside the file, as its format names it.")
    reason: str
    advice: str


class Loss(Out):
    """Something that a format cannot hold."""

    what: str
    count: int
    meaning: str


class Losses(Out):
    """What an export leaves out, or writes simpler."""

    items: list[Loss]
