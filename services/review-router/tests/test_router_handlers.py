"""What news and deadlines do to a case, on the in-memory twin."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from andon_chassis.events import Event, Rejected, deterministic_id
from andon_chassis.testing import TRACEPARENT, recorded_spans
from andon_events import records
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from review_router.adapters.memory import MemoryCases
from review_router.handlers import NOBODY, Router
from review_router.replay import replay


@pytest.fixture
def cases() -> MemoryCases:
    return MemoryCases()


def tell(world: Any, cases: MemoryCases, *events: Event[Any]) -> list[Any]:
    """Hand the events over as one batch; gives the records that follow."""
    outcomes = world.router.handle(events, cases)
    assert len(outcomes) == len(events)
    return [made.data for outcome in outcomes if not isinstance(outcome, Rejected) for made in outcome]


def pass_time(world: Any, cases: MemoryCases, seconds: float) -> list[Any]:
    world.clock.advance(seconds)
    return [made.data for made in world.router.sweep(cases)]


def remarks(cases: MemoryCases) -> list[str]:
    return [remark.remark for remark in cases.remarks]


def kinds(made: Sequence[Any]) -> list[tuple[int, str]]:
    return [(d.revision, d.kind) for d in made if isinstance(d, records.DispositionDecided)]


@pytest.mark.parametrize("model_first", [False, True])
@pytest.mark.parametrize("one_batch", [False, True])
def test_audit_and_model_together_decide_in_any_order(
    world: Any, cases: MemoryCases, model_first: bool, one_batch: bool
) -> None:
    news = [world.audited(1), world.scored(1, 0.8)]
    if model_first:
        news.reverse()
    made = tell(world, cases, *news) if one_batch else [d for e in news for d in tell(world, cases, e)]
    (decided,) = made
    assert (decided.kind, decided.revision, decided.corrects, decided.decided_by) == (
        "reject",
        1,
        None,
        "policy",
    )
    assert decided.disposition_id == deterministic_id("disposition", world.capture(1), "1")
    assert decided.class_name == "crack"
    assert decided.evidence.policy_version == "p1"
    assert decided.evidence.model_release == "release-1"
    assert decided.evidence.heat_map is not None
    assert decided.evidence.regions == news[1 - model_first].data.regions
    assert decided.evidence.causes == [e.id for e in (reversed(news) if model_first else news)]
    assert decided.captured_at == news[0].data.captured_at
    assert cases.cases[world.capture(1)].due_at is None


def test_an_image_that_failed_the_audit_is_decided_at_once(world: Any, cases: MemoryCases) -> None:
    (decided,) = tell(world, cases, world.audited(1, "rejected", "blurred"))
    assert (decided.kind, decided.reasons) == ("hold", ["audit-rejected", "blurred"])
    assert tell(world, cases, world.scored(1)) == []
    assert remarks(cases) == ["result-not-asked-for"]


def test_a_shadow_result_decides_nothing_and_opens_nothing(world: Any, cases: MemoryCases) -> None:
    assert tell(world, cases, world.scored(1, 0.9, shadow=True)) == []
    assert cases.cases == {}
    assert kinds(tell(world, cases, world.audited(1), world.scored(1, 0.1))) == [(1, "pass")]


def test_a_review_is_requested_with_its_deadline(world: Any, cases: MemoryCases) -> None:
    world.publish_policy("p2", second_answer_share=1.0)
    decided, request = tell(world, cases, world.audited(1), world.scored(1, 0.5))
    assert decided.kind == "route-to-reviewer"
    assert request.review_id == deterministic_id("review", world.capture(1))
    assert request.disposition_id == decided.disposition_id
    assert (request.due_at - request.requested_at).total_seconds() == 600
    assert (request.answers_wanted, request.proposed_class, request.defect_score) == (2, "crack", 0.5)
    assert request.heat_map == decided.evidence.heat_map
    assert request.regions == decided.evidence.regions
    assert request.regions[0].measurements == {"length_mm": 4.2}


def test_a_region_that_lies_nowhere_is_left_out(world: Any, cases: MemoryCases) -> None:
    scored = world.scored(1, 0.5)
    (sound,) = scored.data.regions
    nowhere = [replace(sound, x=math.nan), replace(sound, outline=[0.0, math.inf])]
    scored = replace(scored, data=replace(scored.data, regions=[nowhere[0], sound, nowhere[1]]))
    decided, _ = tell(world, cases, world.audited(1), scored)
    assert decided.evidence.regions == [sound]


@pytest.mark.parametrize(
    ("verdict", "class_name", "kind"),
    [("good", None, "pass"), ("defect", "crack", "reject"), ("unusable", None, "hold")],
)
def test_a_completed_review_corrects_the_decision(
    world: Any, cases: MemoryCases, verdict: str, class_name: str | None, kind: str
) -> None:
    first = tell(world, cases, world.audited(1), world.scored(1, 0.5))[0]
    (corrected,) = tell(world, cases, world.reviewed(1, verdict, class_name))
    assert (corrected.revision, corrected.corrects, corrected.kind) == (2, first.disposition_id, kind)
    assert corrected.decided_by == "person:ada"
    assert corrected.evidence.review_id == deterministic_id("review", world.capture(1))
    assert pass_time(world, cases, 1000) == []


def test_a_second_completion_of_a_review_is_recorded_and_changes_nothing(
    world: Any, cases: MemoryCases
) -> None:
    tell(world, cases, world.audited(1), world.scored(1, 0.5), world.reviewed(1))
    assert tell(world, cases, world.reviewed(1, "defect", "crack", kind="again")) == []
    assert remarks(cases) == ["repeated-review"]


def test_an_overdue_review_is_decided_by_policy_and_the_late_answer_still_counts(
    world: Any, cases: MemoryCases
) -> None:
    tell(world, cases, world.audited(1), world.scored(1, 0.5))
    assert pass_time(world, cases, 599) == []
    (overdue,) = pass_time(world, cases, 1)
    assert (overdue.revision, overdue.kind, overdue.decided_by) == (2, "escalate-to-engineering", "deadline")
    assert overdue.reasons == ["review-overdue"]
    (late,) = tell(world, cases, world.reviewed(1, "good"))
    assert (late.revision, late.kind, late.corrects) == (3, "pass", overdue.disposition_id)
    assert late.reasons == ["reviewed-good", "review-after-deadline"]


def test_when_the_model_is_late_the_deadline_decides_and_the_result_corrects(
    world: Any, cases: MemoryCases
) -> None:
    assert tell(world, cases, world.audited(1)) == []
    assert pass_time(world, cases, 29.9) == []
    (first,) = pass_time(world, cases, 0.1)
    assert (first.kind, first.reasons, first.decided_by) == ("hold", ["model-timeout"], "deadline")
    assert first.evidence.model_release is None
    assert pass_time(world, cases, 100) == []
    (second,) = tell(world, cases, world.scored(1, 0.1))
    assert (second.revision, second.kind, second.corrects) == (2, "pass", first.disposition_id)
    assert second.reasons == ["confident-good", "late-result"]


@pytest.mark.parametrize(
    ("changes", "score", "remark"),
    [
        ({"on_late_result": "ignore"}, 0.1, "late-result-ignored:policy"),
        ({"on_model_timeout": "reject"}, 0.9, "late-result-ignored:same-disposition"),
    ],
)
def test_a_late_result_that_corrects_nothing_is_recorded(
    world: Any, cases: MemoryCases, changes: dict[str, str], score: float, remark: str
) -> None:
    world.publish_policy("p2", **changes)
    tell(world, cases, world.audited(1))
    assert len(pass_time(world, cases, 30)) == 1
    assert tell(world, cases, world.scored(1, score)) == []
    assert remarks(cases) == [remark]


def test_a_late_result_never_overrules_a_person(world: Any, cases: MemoryCases) -> None:
    world.publish_policy("p2", on_model_timeout="route-to-reviewer")
    tell(world, cases, world.audited(1))
    assert len(pass_time(world, cases, 30)) == 2
    assert kinds(tell(world, cases, world.reviewed(1, "defect", "crack"))) == [(2, "reject")]
    assert tell(world, cases, world.scored(1, 0.01)) == []
    assert remarks(cases) == ["late-result-ignored:person-decided"]


def test_a_late_result_decides_for_an_open_review_whose_deadline_is_then_moot(
    world: Any, cases: MemoryCases
) -> None:
    world.publish_policy("p2", on_model_timeout="route-to-reviewer")
    tell(world, cases, world.audited(1))
    pass_time(world, cases, 30)
    assert kinds(tell(world, cases, world.scored(1, 0.01))) == [(2, "pass")]
    assert pass_time(world, cases, 600) == []
    assert remarks(cases) == ["review-overdue-but-decided"]
    assert kinds(tell(world, cases, world.reviewed(1, "defect", "crack"))) == [(3, "reject")]


def test_a_late_result_that_needs_a_person_opens_the_review(world: Any, cases: MemoryCases) -> None:
    tell(world, cases, world.audited(1))
    pass_time(world, cases, 30)
    decided, request = tell(world, cases, world.scored(1, 0.5))
    assert (decided.revision, decided.kind) == (2, "route-to-reviewer")
    assert request.disposition_id == decided.disposition_id


def test_a_model_result_whose_audit_never_comes_is_held_and_then_corrected(
    world: Any, cases: MemoryCases
) -> None:
    assert tell(world, cases, world.scored(1, 0.1)) == []
    (blind,) = pass_time(world, cases, 30)
    assert (blind.kind, blind.reasons, blind.evidence.audit_verdict) == ("hold", ["audit-missing"], "missing")
    assert kinds(tell(world, cases, world.audited(1))) == [(2, "pass")]


def test_no_deadline_is_enforced_right_after_a_start_or_a_pause(world: Any, cases: MemoryCases) -> None:
    router = Router(world.rulebook, world.clock, quiet_s=15)
    router.handle([world.audited(1)], cases)
    assert list(router.sweep(cases)) == []
    world.clock.advance(100)  # a pause: the database was away
    assert list(router.sweep(cases)) == []
    for _ in range(3):
        world.clock.advance(4.9)
        assert list(router.sweep(cases)) == []
    world.clock.advance(4.9)
    assert [e.data.reasons for e in router.sweep(cases)] == [["model-timeout"]]


def test_what_a_deadline_decides_stays_in_the_trace_of_its_capture(world: Any, cases: MemoryCases) -> None:
    world.router.handle([replace(world.audited(1), traceparent=TRACEPARENT)], cases)
    world.clock.advance(30)
    with recorded_spans() as spans:
        made = list(world.router.sweep(cases))
    (span,) = spans.named("review-router deadline")
    assert span.parent is not None and f"{span.parent.span_id:016x}" in TRACEPARENT
    assert [one.traceparent for one in made] == spans.traceparents("review-router deadline")


def test_an_unregistered_station_is_held(world: Any, cases: MemoryCases) -> None:
    audit = world.audited(1, "rejected", "unregistered-station", station="nowhere")
    assert kinds(tell(world, cases, audit)) == [(1, "hold")]


def test_a_station_that_the_audit_knew_already_is_waited_for(world: Any, cases: MemoryCases) -> None:
    """Stations, audits and results travel on topics of their own."""
    assert tell(world, cases, world.scored(1, station="new"), world.audited(1, station="new")) == []
    assert pass_time(world, cases, 1) == []
    world.publish_station(station="new")
    assert kinds(pass_time(world, cases, 1)) == [(1, "pass")]
    assert tell(world, cases, world.audited(2, station="newer"), world.scored(2, station="newer")) == []
    assert kinds(pass_time(world, cases, 2)) == [(1, "hold")]


def test_what_is_invalid_is_rejected_alone(world: Any, cases: MemoryCases) -> None:
    good = [world.audited(1), world.scored(1)]
    strange = world.event(records_with(world.audited(2), capture_id="42"), "a")
    upper = world.event(records_with(world.audited(2), capture_id=world.capture(2).upper()), "b")
    unknown = world.reviewed(7)
    verdict = world.audited(3, "perhaps")
    nul = world.audited(4, "rejected", "bl\0urred")
    outcomes = world.router.handle([strange, good[0], unknown, verdict, good[1], nul, upper], cases)
    assert [o.reason if isinstance(o, Rejected) else len(o) for o in outcomes] == [
        "malformed-capture-id",
        0,
        "unknown-capture",
        "unknown-audit-verdict",
        1,
        "nul-character",
        "malformed-capture-id",
    ]


def records_with(event: Event[Any], **changes: Any) -> Any:
    return replace(event.data, **changes)


def test_scores_that_are_no_numbers_go_to_a_person(world: Any, cases: MemoryCases) -> None:
    made = tell(world, cases, world.audited(1), world.scored(1, math.nan, scores={"crack": math.inf}))
    assert made[0].reasons == ["unscorable", "score-out-of-range"]
    assert made[0].evidence.scores == {}


def test_another_instance_that_was_faster_is_read_again(world: Any, cases: MemoryCases) -> None:
    class Raced(MemoryCases):
        raced = False

        def load(self, capture_ids: Sequence[str]) -> Any:
            found = super().load(capture_ids)
            if not self.raced:
                self.raced = True
                world.router.handle([world.audited(1)], self)
            return found

    raced = Raced()
    assert kinds(tell(world, raced, world.scored(1, 0.9), world.audited(2))) == [(1, "reject")]
    assert len(raced.rulings) == 1


MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("audited"), st.sampled_from(["accepted", "rejected", "ambiguous"]), st.booleans()),
        st.tuples(st.just("scored"), st.sampled_from([0.1, 0.5, 0.9, math.nan]), st.booleans()),
        st.tuples(st.just("reviewed"), st.sampled_from(["good", "defect", "unusable"]), st.booleans()),
        st.tuples(st.just("wait"), st.sampled_from([1.0, 31.0, 601.0]), st.just(False)),
        st.tuples(
            st.just("policy"),
            st.sampled_from(
                [("hold", "correct"), ("route-to-reviewer", "correct"), ("route-to-reviewer", "ignore")]
            ),
            st.just(False),
        ),
    ),
    max_size=14,
)


@settings(max_examples=400, deadline=None)
@given(moves=MOVES, batch=st.integers(1, 5))
def test_any_interleaving_gives_one_decision_and_a_chain_of_corrections(
    new_world: Callable[[], Any], moves: list[Any], batch: int
) -> None:
    world, cases = new_world(), MemoryCases()
    decisions: list[records.DispositionDecided] = []
    requests: list[records.ReviewRequested] = []
    waiting: list[Event[Any]] = []

    def take(made: Sequence[Any]) -> None:
        decisions.extend(d for d in made if isinstance(d, records.DispositionDecided))
        requests.extend(d for d in made if isinstance(d, records.ReviewRequested))

    def flush() -> None:
        while waiting:
            take(tell(world, cases, *waiting[:batch]))
            del waiting[:batch]

    for n, (move, how, again) in enumerate(moves):
        if move == "wait":
            flush()
            take(pass_time(world, cases, how))
        elif move == "policy":
            flush()
            world.publish_policy(f"p{n}", on_model_timeout=how[0], on_late_result=how[1])
        else:
            waiting.append(getattr(world, move)(1, how, kind=str(n) if again else ""))
    flush()

    audits = {how for move, how, _ in moves if move == "audited"}
    scored = any(move == "scored" for move, _, _ in moves)
    assert [d.revision for d in decisions] == list(range(1, len(decisions) + 1))
    assert [d.corrects for d in decisions] == [None, *(d.disposition_id for d in decisions)][: len(decisions)]
    assert len(requests) <= 1
    if audits and scored:
        assert decisions, "with all its evidence a capture has its disposition at once"
    if audits or scored:
        take(pass_time(world, cases, 31))
        take(pass_time(world, cases, 601))
        assert [d.revision for d in decisions] == list(range(1, len(decisions) + 1))
        assert decisions, "after its deadline every capture has its disposition"
        assert decisions[-1].kind != "route-to-reviewer", "after its deadline no capture waits for a person"
    for ruling in cases.rulings.values():
        assert replay(cases.cases[ruling.capture_id], ruling).same


def decisions_counted(line: str, station: str) -> float:
    labels = {"line": line, "station": station, "kind": "hold"}
    return REGISTRY.get_sample_value("andon_dispositions_total", labels) or 0.0


def deadlines_counted(line: str, station: str) -> float:
    labels = {"line": line, "station": station}
    return REGISTRY.get_sample_value("andon_deadlines_passed_total", labels) or 0.0


def test_names_nobody_registered_share_a_label(world: Any, cases: MemoryCases) -> None:
    held, overdue = decisions_counted(NOBODY, NOBODY), deadlines_counted(NOBODY, NOBODY)
    tell(
        world,
        cases,
        *(world.audited(n, "rejected", "unregistered-station", station=f"x{n}") for n in range(3)),
    )
    tell(world, cases, world.audited(4, station="x4"))
    assert kinds(pass_time(world, cases, 30)) == [(1, "hold")]
    assert decisions_counted(NOBODY, NOBODY) == held + 4
    assert deadlines_counted(NOBODY, NOBODY) == overdue + 1
    assert decisions_counted("line-a", "x0") == deadlines_counted("line-a", "x4") == 0


def test_serial_numbers_in_the_wrong_field_do_not_fill_the_memory(world: Any) -> None:
    found = {
        world.rulebook.rules_for("line-a", station, f"serial-{n}", f"serial-{n}").digest
        for n in range(50)
        for station in ("cell-1", f"invented-{n}")
    }
    assert len(found) == 2
    assert len(world.rulebook._snapshot.found) == 2


SCOPE_FIELDS = ("line", "station", "part_number", "product_variant")
SCOPE_PARTS = st.sampled_from([None, "a", "b"])
SCOPES = st.tuples(SCOPE_PARTS, SCOPE_PARTS, SCOPE_PARTS, SCOPE_PARTS)


@given(
    published=st.sets(SCOPES, max_size=12), place=st.tuples(*[st.sampled_from("ab")] * 2, *[SCOPE_PARTS] * 2)
)
def test_the_most_specific_policy_that_fits_is_found(
    new_world: Callable[[], Any], published: set[Any], place: Any
) -> None:
    world = new_world()
    for scope in published:
        world.publish_policy(repr(scope), records.Scope(**dict(zip(SCOPE_FIELDS, scope, strict=True))))
    fitting = [
        s for s in published if all(want in (None, given) for want, given in zip(s, place, strict=True))
    ]
    line, station, part, variant = range(4)
    best = max(
        fitting, key=lambda s: [s[i] is not None for i in (station, line, part, variant)], default=None
    )
    expected = "p1" if best is None else repr(best)
    assert world.rulebook.rules_for(*place).policy.version == expected
