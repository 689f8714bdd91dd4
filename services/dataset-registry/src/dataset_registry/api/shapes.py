"""The shapes of the HTTP API: what goes in is checked here, what comes out is promised here.

Names are those of the events. Times are ISO 8601, UTC. Lists are pages: `items` and `next_cursor`.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

Name = Annotated[
    str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f/*]+$", strip_whitespace=True)
]
Text = Annotated[str, StringConstraints(max_length=4000, pattern=r"^[^\x00]*$")]


def _writable(value: dict[str, Any]) -> dict[str, Any]:
    """Names and texts are checked where they have a type; here half of a surrogate pair would end in an error."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text in it holds half of a surrogate pair, which is no character") from error
    return value


def _written_out(value: object) -> object:
    """A number would be read as seconds since 1970."""
    if isinstance(value, str) and "-" in value[1:5]:
        return value
    raise ValueError("a moment is written as 2026-05-04T08:15:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
Described = Annotated[dict[str, Any], AfterValidator(_writable)]
Verdict = Literal["good", "defect", "unusable"]
DispositionKind = Literal["pass", "reject", "rework", "hold", "route-to-reviewer", "escalate-to-engineering"]
Severity = Literal["critical", "major", "minor", "monitor-only"]

T = TypeVar("T")


def _typed(schema: Any) -> Any:
    """A schema that takes numbers as numbers and booleans as booleans, as the contract says, and no texts like them."""
    if isinstance(schema, list):
        return [_typed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: value if name in ("default", "metadata") else _typed(value) for name, value in schema.items()
    }
    if kept.get("type") in ("bool", "float"):
        return kept | {"strict": True}
    if kept.get("type") == "int":  # 5.0 is one in JSON
        return core_schema.no_info_before_validator_function(_number, kept)
    return kept


def _number(value: object) -> object:
    if isinstance(value, (bool, str)):
        raise ValueError("Input should be a number")
    return value


class In(BaseModel):
    """What a caller sends. Unknown fields are refused: a typing error must not look like a setting."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        made: CoreSchema = _typed(handler(source))
        return made


class Out(BaseModel):
    """What a caller gets. New fields may come; readers pass over what they do not know."""

    model_config = ConfigDict(extra="ignore")


class Page(Out, Generic[T]):
    """Part of a list; ask for the next one with `cursor=<next_cursor>`."""

    items: list[T]
    next_cursor: str | None = None


class WrongField(Out):
    """A field of the request that is missing or wrong."""

    where: str
    what: str


class WrongMark(Out):
    """Something that is wrong with an annotation; `shape_id` is null where it is about the whole."""

    reason: str
    advice: str
    shape_id: str | None


class Problem(Out):
    """RFC 9457 problem: what went wrong, and what to do."""

    type: str
    title: str = Field(description="Stable code, lower-case with dashes.")
    status: int
    detail: str = Field(description="What to do.")
    errors: list[WrongField] = Field([], description="Of `invalid-request`: all fields that are wrong.")
    problems: list[WrongMark] = Field([], description="Of an annotation: all that is wrong with it.")
    current: dict[str, Any] | None = Field(
        None, description="Of a draft that another window saved since: that one."
    )


# --- what comes in


class AnswerIn(In):
    """What one person says about one image."""

    reviewer: Name
    verdict: Verdict
    class_name: Name | None = Field(
        None, description="Defect class; needed for `defect` when there is more than one."
    )
    note: Text | None = None


class ClosingIn(In):
    """How an action ended."""

    outcome: Literal["done", "no-action"]
    proof: dict[Name, Text] = Field(
        default_factory=dict,
        description="For `done` at least one of samples_added, dataset_version, release,"
        " taxonomy_version, policy_version,"
        " capture_standard_version, deployment_change; versions and releases must exist.",
    )
    note: Text
    closed_by: Name


class ScopeIn(In):
    """What it is about; null means any."""

    line: Name | None = None
    station: Name | None = None
    part_number: Name | None = None
    product_variant: Name | None = None
    class_name: Name | None = None

    @model_validator(mode="after")
    def station_needs_line(self) -> ScopeIn:
        if self.station and not self.line:
            raise ValueError("a station is named together with its line")
        return self


class BandIn(In):
    """Thresholds of one severity: below pass_below pass, from reject_from on reject, between them a
    person."""

    severity: Severity
    pass_below: float = Field(ge=0, le=1)
    reject_from: float = Field(ge=0)
    reject_as: Literal["reject", "rework", "hold", "escalate-to-engineering"] = "reject"

    @model_validator(mode="after")
    def in_order(self) -> BandIn:
        if self.pass_below > self.reject_from:
            raise ValueError("pass_below must not lie above reject_from")
        return self


class PolicyIn(In):
    """How scores become dispositions in a scope."""

    scope: ScopeIn = ScopeIn()
    bands: list[BandIn] = Field(min_length=1)
    on_audit_reject: Literal["hold", "route-to-reviewer"] = "route-to-reviewer"
    on_unvalidated_variant: Literal["hold", "route-to-reviewer"] = "route-to-reviewer"
    model_timeout_ms: int = Field(30_000, ge=1, lt=2**31)
    on_model_timeout: Literal["hold", "route-to-reviewer"] = "route-to-reviewer"
    on_late_result: Literal["correct", "ignore"] = "ignore"
    review_due_s: int = Field(3600, ge=1, lt=2**31)
    on_review_overdue: Literal["hold", "escalate-to-engineering"] = "hold"
    second_answer_share: float = Field(0.1, ge=0, le=1)
    published_by: Name = "unnamed"


class PromotionIn(In):
    """Where a release decides, decides a share of the captures, or watches, from now on."""

    scope: ScopeIn = ScopeIn()
    mode: Literal["active", "canary", "shadow"] = "active"
    share: float | None = Field(
        None, gt=0, lt=1, description="Canary: the share of captures that it decides."
    )
    released_by: Name = "unnamed"

    @model_validator(mode="after")
    def only_a_canary_has_a_share(self) -> PromotionIn:
        if (self.mode == "canary") != (self.share is not None):
            raise ValueError("a canary needs a share between 0 and 1; active and shadow have none")
        return self


class RollbackIn(In):
    """Where a release is withdrawn."""

    scope: ScopeIn = ScopeIn()
    reason: Text = "no reason given"
    rolled_back_by: Name = "unnamed"


class LabelIn(In):
    """A label that somebody made elsewhere. Context and image are needed only for captures that were never
    recorded."""

    capture_id: UUID
    class_name: Name
    context: Described | None = None
    image: Described | None = None


class LabelsIn(In):
    """Labels by one person; a capture may stand in it once."""

    approved_by: Name
    labels: list[LabelIn] = Field(min_length=1, max_length=5000)


# --- what comes out


class Image(Out):
    """An image and where to get it."""

    url: str
    sha256: str
    media_type: str
    size_bytes: int
    width: int
    height: int
    channels: int
    bit_depth: int


class Disposition(Out):
    """A decision about a capture, with what it rests on."""

    disposition_id: str
    revision: int
    corrects: str | None
    kind: str
    reasons: list[str]
    severity: str | None
    class_name: str | None
    decided_by: str
    decided_at: datetime
    latency_ms: float = Field(
        description="From the trigger; from the arrival where the station's clock cannot be trusted."
    )
    evidence: dict[str, Any]


class Region(Out):
    """What the model points at, in pixels of the image, origin top left."""

    class_name: str
    x: float
    y: float
    width: float
    height: float
    score: float
    outline: list[float] = Field(
        default_factory=list, description="Outer ring as x, y, x, y, ...; empty for a plain rectangle."
    )
    measurements: dict[str, float] = Field(
        default_factory=dict, description="By name, with the unit at the name's end."
    )
    key_points: dict[str, list[float]] = Field(default_factory=dict, description="By name: x and y.")


class Capture(Out):
    """An image of the line, with the disposition that stands."""

    capture_id: str
    line: str
    station: str
    context: dict[str, Any]
    missing: list[str]
    captured_at: datetime
    received_at: datetime
    image: Image
    heat_map_url: str | None
    disposition: Disposition | None
    model_release: str | None
    predicted_class: str | None
    defect_score: float | None
    scores: dict[str, float]


class Answer(Out):
    """What one person said."""

    reviewer: str
    verdict: str
    class_name: str | None
    note: str | None
    answered_at: datetime
    adjudication: bool


class Review(Out):
    """Work for a person. Answers are shown once the review is no longer open: nobody answers having seen
    another's."""

    review_id: str
    disposition_id: str
    capture_id: str
    line: str
    station: str
    context: dict[str, Any]
    image_url: str
    heat_map_url: str | None
    regions: list[Region]
    reasons: list[str]
    proposed_class: str | None
    defect_score: float | None
    answers_wanted: int
    answers_given: int
    state: Literal["open", "disputed", "completed"]
    due_at: datetime
    requested_at: datetime
    captured_at: datetime
    verdict: str | None
    class_name: str | None
    agreed: bool | None
    decided_by: str | None
    completed_at: datetime | None
    answers: list[Answer]


class Label(Out):
    """An approved label."""

    label_id: str
    capture_id: str
    line: str
    station: str
    class_name: str
    is_defect: bool
    approved_by: str
    source: str
    taxonomy_version: str | None
    review_id: str | None
    approved_at: datetime


class Finding(Out):
    """What the plant found out later."""

    finding_id: str
    kind: str
    class_name: str | None
    disposition_kind: str | None
    reported_by: str
    note: str | None
    found_at: datetime
    received_at: datetime


class CaptureDetail(Capture):
    """A capture with all that happened to it."""

    regions: list[Region] = Field(description="Of the release that decided; a shadow's are not among them.")
    history: list[Disposition]
    reviews: list[Review]
    labels: list[Label]
    findings: list[Finding]


class Signal(Out):
    """What production told us."""

    signal_id: str
    kind: str
    scope: dict[str, str | None]
    window_start: datetime
    window_end: datetime
    measured: float
    expected: float
    threshold: float
    unit: str
    sample_size: int
    evidence: list[str]
    suspected_cause: str
    explanation: str
    raised_at: datetime


class Action(Out):
    """The work that follows from a signal."""

    action_id: str
    kind: str
    title: str
    owner: str
    due_at: datetime
    opened_at: datetime
    state: Literal["open", "closed"]
    outcome: str | None
    proof: dict[str, str]
    note: str | None
    closed_by: str | None
    closed_at: datetime | None
    signal: Signal


class Latency(Out):
    """Milliseconds from trigger to disposition; null while there is none. Within 5 % of the true value."""

    p50: float | None
    p95: float | None
    p99: float | None


class Counts(Out):
    """What happened at a station or on a line, since the beginning unless said otherwise."""

    captured: int
    decided: int
    dispositions: dict[str, int] = Field(description="Captures by the disposition that stands now.")
    corrected: int
    in_review: int = Field(description="Waiting for a person now, disputed ones included.")
    disputed: int
    reviews_requested: int
    reviews_completed: int
    labelled: int
    signals: dict[str, int]
    open_actions: int
    actions_opened: dict[str, int]
    actions_closed: dict[str, int]
    mes_delivered: int
    findings: dict[str, int]
    missing_metadata: dict[str, int]
    latency_ms: Latency
    recent_latency_ms: Latency = Field(description="Of the last 15 minutes.")
    captured_per_minute: list[int] = Field(description="The last 30 minutes, the current one last.")


class StationState(Counts):
    """A station now."""

    station: str
    registered: bool
    capture_standard_version: str | None
    takt_ms: int | None
    active_release: str | None
    last_capture_id: str | None
    last_capture_at: datetime | None


class LineState(Counts):
    """A line now; its counts are the sums of its stations and what concerns the line as a whole."""

    line: str
    stations: list[StationState]


class Policy(Out):
    """A published policy."""

    version: str
    scope: dict[str, str | None]
    bands: list[dict[str, Any]]
    on_audit_reject: str
    on_unvalidated_variant: str
    model_timeout_ms: int
    on_model_timeout: str
    on_late_result: str
    review_due_s: int
    on_review_overdue: str
    second_answer_share: float
    published_by: str
    published_at: datetime


class ReleaseReport(Out):
    """A page about a release. It is a stranger's: show it in a sandbox."""

    name: str
    url: str
    size_bytes: int


class Release(Out):
    """A trained release bundle."""

    release: str
    bundle: dict[str, Any]
    task: str
    classes: list[str]
    dataset_hash: str
    metrics: dict[str, float]
    pass_below: float
    reject_from: float
    trained_at: datetime
    card_url: str | None = Field(description="The bundle's description, as JSON.")
    reports: list[ReleaseReport]


class Deployment(Out):
    """A release in force in a scope: it decides, decides a share of the captures (canary), or watches (shadow)."""

    mode: str
    line: str | None
    station: str | None
    release: str
    share: float
    from_release: str | None
    rolled_back: bool
    reason: str | None
    ordered_by: str
    ordered_at: datetime


class Person(Out):
    """Somebody who answers for something."""

    name: str
    roles: list[str]


class Published(Out):
    """Whether publishing changed anything."""

    published: bool


class Imported(Out):
    """What an import of labels did."""

    added: int
    known: int


class Deployed(Out):
    """What decides now."""

    release: str
    changed: bool
