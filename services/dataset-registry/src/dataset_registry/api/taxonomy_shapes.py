"""The shapes of taxonomies, their drafts and what they change."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints, model_validator

from dataset_registry.api.shapes import DispositionKind, In, Name, Out, Severity, Text

MaybeName = Annotated[
    str, StringConstraints(max_length=120, pattern=r"^[^\x00-\x1f/*]*$", strip_whitespace=True)
]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$")]
RegionRule = Literal["classify", "box", "segment", "zone"]
Relabel = Literal["none", "relabel"]


class ExampleIn(In):
    """An image that shows a class, or one that looks like it and is none."""

    image_id: UUID
    kind: Literal["gold", "hard-negative"]
    severity: Severity | None = None
    note: Text = ""


class ClassDraft(In):
    """One class, as far as it has been written."""

    name: MaybeName = ""
    definition: Text = Field("", description="What one sees.")
    is_defect: bool = True
    severity: Severity | None = None
    region_rule: RegionRule | None = Field(None, description="How it is marked; null where any mark will do.")
    boundary_rule: Text = Field("", description="Where it ends.")
    acceptable_variation: Text = Field("", description="What looks like it and is allowed.")
    ambiguous_rule: Text = Field("", description="What to do where the rules do not decide.")
    escalation_path: Text = Field("", description="Who decides then.")
    colour: Colour | None = None
    examples: list[ExampleIn] = Field([], max_length=200)
    renamed_from: Name | None = Field(
        None, description="The class of the version before that had this meaning."
    )
    split_from: Name | None = Field(
        None, description="The class of the version before that this is a part of."
    )
    merged_from: list[Name] = Field(
        [], max_length=100, description="Classes of the version before that it holds."
    )


class ClassIn(ClassDraft):
    """One class of a taxonomy."""

    name: Name
    severity: Severity
    is_defect: bool


StationOrPlace = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=241,
        pattern=r"^[^\x00-\x1f/*]+(/[^\x00-\x1f/*]+)?$",
        strip_whitespace=True,
    ),
]


class SeverityRuleIn(In):
    """Severity and disposition where its named fields hold; null is any. More named fields beat fewer; of as many, the
    customer beats the station, the station the product, the product the class."""

    product: Name | None = Field(None, description="Part number.")
    station: StationOrPlace | None = Field(None, description="`station`, or `line/station`, which beats it.")
    customer: Name | None = Field(None, description="As captures name it in their context.")
    class_name: Name | None = Field(
        None,
        description="Null is every defect; but no critical class is made milder, or passes, without its name.",
    )
    severity: Severity | None = None
    disposition: DispositionKind | None = None


class DraftDocument(In):
    """A taxonomy as far as it has been written."""

    classes: list[ClassDraft] = Field([], max_length=500)
    rules: list[SeverityRuleIn] = Field([], max_length=1000)


class TaxonomyIn(In):
    """The classes, and severities that differ by place."""

    classes: list[ClassIn] = Field(min_length=1, max_length=500)
    rules: list[SeverityRuleIn] = Field([], max_length=1000)
    published_by: Name = "unnamed"

    @model_validator(mode="after")
    def named_once(self) -> TaxonomyIn:
        names = [c.name for c in self.classes]
        if len(set(names)) < len(names):
            raise ValueError("each class has a name of its own")
        if sum(not c.is_defect for c in self.classes) != 1:
            raise ValueError("exactly one class is the good one (is_defect false)")
        return self


class DraftBegin(In):
    """A new draft; without a document it starts as the version in force."""

    title: Text = ""
    document: DraftDocument | None = None
    created_by: Name


class DraftSave(In):
    """A draft as it is from now on."""

    document: DraftDocument
    title: Text | None = None
    based_on: Name | None = Field(None, description="The version in force that it was compared with last.")
    saved_by: Name


class DraftEnd(In):
    """Who puts a draft away."""

    discarded_by: Name


class RelabelDecision(In):
    """What becomes of the labels of an affected class."""

    class_name: Name
    relabel: Relabel
    reason: Text = Field("", description="Needed where nothing is done.")


class PublicationIn(In):
    """How a draft is published: under which name, and what becomes of the labels of each affected class."""

    version: Name
    decisions: list[RelabelDecision] = Field([], max_length=500)
    note: Text = ""
    published_by: Name


class RelabelIn(In):
    """Who queues what came in since."""

    queued_by: Name


class Taxonomy(Out):
    """A published taxonomy."""

    version: str
    classes: list[ClassIn]
    rules: list[SeverityRuleIn] = Field([])
    published_by: str
    published_at: datetime


class AffectedClass(Out):
    """A class of the version before whose labels are in question."""

    class_name: str
    kinds: list[str]
    suggested: Relabel


class TaxonomyPublication(Out):
    """What a draft changed when it was published, and what was decided about old labels."""

    previous: str | None
    draft_id: str
    affected: list[AffectedClass]
    decisions: list[RelabelDecision]
    batch_id: str | None
    images: int
    note: str


class TaxonomyDetail(Taxonomy):
    """A published taxonomy with its place in history."""

    previous: str | None
    replaced_at: datetime | None = Field(description="Null while it is in force.")
    publication: TaxonomyPublication | None = Field(description="Null where it was put as a whole.")


class DraftFlaw(Out):
    """Something that a draft lacks or says wrongly; what is blocking keeps it from being published."""

    where: str
    code: str
    what: str
    blocking: bool


class TaxonomyDraft(Out):
    """A taxonomy that is being written. Its version is its ETag."""

    draft_id: str
    title: str
    based_on: str | None
    version: int
    authors: list[str]
    state: Literal["open", "published", "discarded"]
    published_version: str | None
    created_at: datetime
    updated_at: datetime


class TaxonomyDraftDetail(TaxonomyDraft):
    """A draft with what it says and what is wrong with it."""

    document: DraftDocument
    problems: list[DraftFlaw]


class ClassPair(Out):
    """A class in the old version and in the new one."""

    before: ClassDraft | None
    after: ClassDraft | None
    kinds: list[str]


class TaxonomyChange(Out):
    """One difference between two versions."""

    kind: str = Field(
        description="added, removed, renamed, split, merged, severity-changed, definition-changed ..."
    )
    before: list[str]
    after: list[str]
    affected: list[str] = Field(description="Classes of the old version whose labels it puts in question.")
    suggested: Relabel
    was: str | None
    now: str | None


class AffectedLabels(AffectedClass):
    """A class of the version before whose labels are in question, and how many there are."""

    labels: int


class TaxonomyComparison(Out):
    """Two versions side by side."""

    old_version: str | None
    new_version: str | None = Field(description="Null for a draft.")
    pairs: list[ClassPair]
    changes: list[TaxonomyChange]
    affected: list[AffectedLabels]


class TaxonomyPublished(Out):
    """A draft in force, and the relabel work that was opened."""

    version: str
    batch_id: str | None
    images: int = Field(description="That were put into the batch now.")


class BeatenRule(Out):
    """A rule that holds as well and does not decide."""

    rule: SeverityRuleIn
    why: str


class Settled(Out):
    """A value, the rule that it comes from (null: the class itself), and what that rule beat."""

    value: str | None
    rule: SeverityRuleIn | None
    beat: list[BeatenRule]
    why: str


class SeverityAnswer(Out):
    """How severe a class is in a case, what happens to the part, and why."""

    version: str
    class_name: str
    severity: Settled
    disposition: Settled


class ClassStep(Out):
    """A version in which a class got other names, or none."""

    version: str
    kind: Literal["renamed", "split", "merged", "removed"]
    before: list[str]
    after: list[str]


class EffectiveTaxonomy(Out):
    """What a label meant when it was made: the version it names, or the one in force at its time."""

    label_id: str
    classes: list[str]
    made_at: datetime
    taxonomy_version: str | None = Field(description="Null before the first was published.")
    entries: list[ClassIn] = Field(description="What that version says of the label's classes.")
    since: list[ClassStep] = Field(description="What happened to the classes later.")
    today: list[str] = Field(
        description="What they are called now; a class that was split has several names."
    )
