"""What imports and exports need of the world outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from andon_events.records import ObjectRef

from dataset_registry.domain.annotations import Shape
from dataset_registry.domain.interchange import LabelledImage, Losses, Problem, Read, Vocabulary

if TYPE_CHECKING:
    from dataset_registry.ports import Page, Row


class Job(NamedTuple):
    """An import that somebody works on.

    Attributes:
        source: Names the images together with their own names: the same two are the same image.
        format: None is found out.
        archive: name, sha256, size_bytes, parts (claim checks).
        mapping: Class names of the file to names here.
        context: Of every image, by the names of the capture context.
        taxonomy_version: The one in force when it was asked for; None before one was published.
        done: Images that are written already.
        attempts: How often it was begun since it last got on.
    """

    import_id: str
    source: str
    format: str | None
    archive: Row
    mapping: Mapping[str, str]
    context: Mapping[str, str]
    only_good: bool
    unmarked_is_good: bool
    taxonomy_version: str | None
    by: str
    requested_at: datetime
    done: int
    attempts: int


class Known(NamedTuple):
    """An image that the registry knows.

    Attributes:
        registered: False for a capture that is no image yet.
    """

    image_id: str
    width: int
    height: int
    capture: bool
    registered: bool


class Picture(NamedTuple):
    """What a picture in an archive is.

    Attributes:
        perceptual_hash: 64 bits, unsigned.
    """

    ref: ObjectRef
    width: int
    height: int
    perceptual_hash: int


class NewImage(NamedTuple):
    """An image that the registry does not know yet.

    Attributes:
        path: Of its picture in the archive.
    """

    name: str
    path: str
    picture: Picture
    context: dict[str, str]
    part_id: str | None
    mm_per_pixel: float | None
    captured_at: datetime
    synthetic: bool
    segment: str | None


class Label(NamedTuple):
    """What is said of an image, as it is written.

    Attributes:
        shapes: As the store keeps them.
        image_class: For a capture the most severe class, or the good one.
    """

    annotation_id: str
    classes: tuple[str, ...]
    shapes: str
    image_class: str | None


class Prepared(NamedTuple):
    """An image and its label on their way in.

    Attributes:
        image: None for one that is known.
        new_capture: Whether it is a capture that is no image yet.
        label: None where nothing is said of the image.
    """

    image_id: str
    image: NewImage | None
    new_capture: bool
    label: Label | None


class Archive(Protocol):
    """An archive that was handed in, open."""

    def images(self, format_name: str | None) -> Read:
        """All that is in it; what cannot be read on ends with a problem."""

    def picture(self, name: str) -> str | None:
        """Path of the picture that a label names."""

    def look(self, path: str) -> Picture | tuple[str, str]:
        """What it is; or reason and advice where it is no usable picture."""

    def read(self, path: str) -> bytes: ...


OpenArchive = Callable[[Path, str], AbstractContextManager[Archive]]
"""Opens the archive in a file, under the name that its person gave it."""


Document = Callable[[Sequence[Shape]], str]
"""Shapes as the store keeps them."""


class Imports(Protocol):
    """Imports, inside one transaction."""

    def add(self, row: Row) -> bool:
        """False when the same import is there already; one that failed is tried again."""

    def lease(self, import_id: str, now: datetime, until: datetime) -> Job | None:
        """The import, if it is not finished and nobody works on it."""

    def renew(self, import_id: str, until: datetime) -> None: ...

    def unfinished(self, now: datetime) -> list[str]:
        """Those on which nobody works, the oldest first."""

    def begin_checking(self, import_id: str) -> None:
        """Forget what an earlier check found."""

    def checked(
        self, import_id: str, images: int, first: int, problems: Sequence[Problem], until: datetime
    ) -> None:
        """Keep how many images were looked at, and problems from number `first` on."""

    def begin_importing(self, import_id: str, total: int) -> None: ...

    def known_images(self, image_ids: Sequence[str]) -> dict[str, Known]:
        """Images, and captures that are none yet, by id."""

    def annotated(self, annotation_ids: Sequence[str]) -> set[str]:
        """Those of the annotations that are there."""

    def known_contents(self, hashes: Sequence[str]) -> dict[str, Known]:
        """Images by the SHA-256 of their picture; the oldest where there are several."""

    def write(self, job: Job, prepared: Sequence[Prepared], done: int, now: datetime) -> None:
        """Images, annotations and decisions of a portion, and how far the import is after it."""

    def end(self, import_id: str, state: str, failure: str | None, now: datetime) -> None: ...

    def give_back(self, import_id: str, failure: str, attempts: int) -> None:
        """Let it be tried again, after so many attempts that count."""

    def imports(self, limit: int, cursor: str | None) -> Page: ...

    def read(self, import_id: str) -> Row | None: ...

    def problems(self, import_id: str, limit: int, cursor: str | None) -> Page: ...

    # --- out

    def in_force(self, chosen: Chosen) -> Selection:
        """Labels in force, by name, a portion at a time from the server and of one moment; the first thing that a
        transaction asks, and it ends with it."""

    def of_version(self, items: Sequence[Row], opened: Sequence[str]) -> Selection:
        """Labels as the items of a dataset version's manifest have them, but for those in a holdout that is not
        opened."""

    def holdouts_with(self, chosen: Chosen) -> list[str]:
        """Versions in whose holdout some of these images are, sorted."""


class Chosen(NamedTuple):
    """Which images are exported; None leaves the choice open.

    Attributes:
        as_of: Labels that were in force then; None is now.
        opened: Versions whose holdout may go out, because its reading is written down.
    """

    batch_id: str | None = None
    line: str | None = None
    station: str | None = None
    as_of: datetime | None = None
    opened: Sequence[str] = ()


class Selection(NamedTuple):
    """Images on their way out.

    Attributes:
        images: Gives all of them, each time in the same order.
        held: How many are left out, as they are in a holdout.
    """

    words: Vocabulary
    images: Callable[[], Iterable[Exported]]
    held: int


class Exported(NamedTuple):
    """An image on its way out, with where its picture lies."""

    image: LabelledImage
    picture: ObjectRef
    image_id: str


WriteFormat = Callable[[str, Iterable[LabelledImage], Vocabulary, Losses], Iterator[tuple[str, bytes]]]
"""Writes a format by its name: pieces of files."""
