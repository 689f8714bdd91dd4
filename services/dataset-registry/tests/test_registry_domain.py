"""The registry's rules, without I/O."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dataset_registry.domain import actions, lines, reviews
from dataset_registry.domain.dispositions import Stand, stands
from dataset_registry.domain.manifests import manifest
from dataset_registry.domain.pages import read_cursor, write_cursor
from dataset_registry.domain.refusals import Because, Refused
from dataset_registry.domain.releases import Deployment, Place, WayBack, deciding, fallbacks, way_back
from dataset_registry.domain.reviews import Answer, adjudicate, answer, judged_class
from dataset_registry.domain.tallies import Tallies, latency_measure, latency_ms, parts, percentiles
from dataset_registry.domain.taxonomy import UNPUBLISHED, Taxonomy, model_verdict
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 1, 1, 12, 34, 56, tzinfo=UTC)
TAXONOMY = Taxonomy("t1", "good", ("crack", "scratch"))


def said(reviewer: str, verdict: str = "good", class_name: str | None = "good") -> Answer:
    return Answer(reviewer, verdict, class_name, None, NOW)


def refusal(call: Any, *args: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*args)
    return caught.value


class TestReviews:
    def test_one_wanted_answer_completes(self) -> None:
        standing = answer("open", [], 1, said("ada"))
        assert (standing.state, standing.agreed, standing.decided_by) == ("completed", True, "ada")

    def test_the_first_of_two_leaves_it_open(self) -> None:
        assert answer("open", [], 2, said("ada")).state == "open"

    def test_two_equal_answers_agree(self) -> None:
        standing = answer("open", [said("ada")], 2, said("ben"))
        assert (standing.state, standing.agreed) == ("completed", True)

    @pytest.mark.parametrize(
        "second", [said("ben", "defect", "crack"), said("ben", "unusable", None)], ids=["verdict", "unusable"]
    )
    def test_two_different_answers_dispute(self, second: Answer) -> None:
        standing = answer("open", [said("ada")], 2, second)
        assert (standing.state, standing.agreed, standing.decided_by) == ("disputed", False, None)

    def test_two_defects_of_different_classes_dispute(self) -> None:
        first, second = said("ada", "defect", "crack"), said("ben", "defect", "scratch")
        assert answer("open", [first], 2, second).state == "disputed"

    def test_nobody_answers_twice(self) -> None:
        assert refusal(answer, "open", [said("ada")], 2, said("ada")).reason == "already-answered"

    @pytest.mark.parametrize(
        ("state", "reason"), [("completed", "review-completed"), ("disputed", "review-disputed")]
    )
    def test_only_an_open_review_takes_answers(self, state: str, reason: str) -> None:
        assert refusal(answer, state, [], 1, said("ada")).reason == reason

    def test_the_qa_owner_ends_a_dispute(self) -> None:
        answers = [said("ada"), said("ben", "defect", "crack")]
        standing = adjudicate("disputed", answers, said("olga"), ["qa-owner"])
        assert (standing.state, standing.agreed, standing.decided_by) == ("completed", False, "olga")

    def test_only_a_qa_owner_adjudicates(self) -> None:
        assert refusal(adjudicate, "disputed", [], said("ben"), ["reviewer"]).because is Because.FORBIDDEN

    def test_a_qa_owner_who_answered_cannot_adjudicate(self) -> None:
        answers = [said("olga"), said("ben", "defect", "crack")]
        assert (
            refusal(adjudicate, "disputed", answers, said("olga"), ["qa-owner"]).reason == "already-answered"
        )

    @pytest.mark.parametrize("state", ["open", "completed"])
    def test_only_a_dispute_is_adjudicated(self, state: str) -> None:
        assert refusal(adjudicate, state, [], said("olga"), ["qa-owner"]).reason == "review-not-disputed"

    def test_verdicts_mean_classes(self) -> None:
        assert judged_class(reviews.GOOD, None, TAXONOMY) == "good"
        assert judged_class(reviews.UNUSABLE, "crack", TAXONOMY) is None
        assert judged_class(reviews.DEFECT, "scratch", TAXONOMY) == "scratch"
        assert judged_class(reviews.DEFECT, None, Taxonomy("t", "good", ("crack",))) == "crack"
        assert judged_class(reviews.DEFECT, None, UNPUBLISHED) == "defect"
        assert judged_class(reviews.DEFECT, "anything", UNPUBLISHED) == "anything"

    def test_a_defect_must_be_in_the_taxonomy(self) -> None:
        assert refusal(judged_class, reviews.DEFECT, "dent", TAXONOMY).reason == "unknown-class"
        assert refusal(judged_class, reviews.DEFECT, "good", TAXONOMY).reason == "unknown-class"
        assert refusal(judged_class, reviews.DEFECT, None, TAXONOMY).reason == "class-missing"

    def test_what_the_model_thought(self) -> None:
        assert model_verdict("good", 0.9, TAXONOMY) == "good"
        assert model_verdict("crack", 0.1, TAXONOMY) == "defect"
        assert model_verdict("unheard-of", 0.6, TAXONOMY) == "defect"
        assert model_verdict(None, 0.4, TAXONOMY) == "good"
        assert model_verdict(None, None, TAXONOMY) is None


class TestActions:
    @pytest.mark.parametrize(
        ("signal", "action"),
        [
            ("false-reject-spike", "add-good-examples"),
            ("missed-defect", "add-reviewed-examples"),
            ("reviewer-disagreement", "update-guide-and-relabel"),
            ("new-variant", "variant-evaluation-batch"),
            ("slow-decision", "adjust-deployment"),
            ("capture-drift", "restore-capture-standard"),
            ("something from next year", "investigate"),
        ],
    )
    def test_every_signal_becomes_work(self, signal: str, action: str) -> None:
        assert actions.rule_for(signal).action == action

    def test_every_kind_has_an_owner_and_a_due_date(self) -> None:
        assert all(rule.owner and rule.due > timedelta(0) for rule in actions.RULES.values())

    @pytest.mark.parametrize(
        "proof", [{"samples_added": "12"}, {"dataset_version": "abc"}, {"release": "r2"}]
    )
    def test_done_needs_proof(self, proof: dict[str, str]) -> None:
        actions.check_closing("open", "done", proof, "added")
        assert refusal(actions.check_closing, "open", "done", {}, "trust me").reason == "proof-missing"
        assert (
            refusal(actions.check_closing, "open", "done", {"mood": "good"}, "so").reason == "proof-missing"
        )

    @pytest.mark.parametrize("count", ["0", "-3", "many", " "])
    def test_samples_are_counted(self, count: str) -> None:
        refused = refusal(actions.check_closing, "open", "done", {"samples_added": count}, "added")
        assert refused.reason in {"samples-added-not-a-number", "proof-missing"}

    def test_no_action_needs_a_reason(self) -> None:
        actions.check_closing("open", "no-action", {}, "the lamp was being changed")
        assert refusal(actions.check_closing, "open", "no-action", {}, "  ").reason == "note-missing"

    def test_closed_stays_closed(self) -> None:
        assert refusal(actions.check_closing, "closed", "no-action", {}, "again").because is Because.CONFLICT

    def test_places_in_words(self) -> None:
        assert actions.place("l", "s", "mono", "crack") == "l / s, mono, crack"
        assert actions.place(None, None, None, None) == "all lines"


class TestTallies:
    def test_counts_grow_at_three_resolutions(self) -> None:
        tallies = Tallies()
        tallies.add("l", "s", "captured", 2)
        tallies.add("l", "s", "captured")
        tallies.add("l", None, "signal:new-variant")
        tallies.add("l", "s", "standing:pass")
        tallies.add("l", "s", "standing:pass", -1)
        rows = tallies.rows(NOW)
        assert rows == sorted(rows)
        assert {(row.resolution, row.period.isoformat()) for row in rows} == {
            ("total", "1970-01-01T00:00:00+00:00"),
            ("hour", "2026-01-01T12:00:00+00:00"),
            ("minute", "2026-01-01T12:34:00+00:00"),
        }
        total = [(r.line, r.station, r.measure, r.count) for r in rows if r.resolution == "total"]
        assert total == [("l", "", "signal:new-variant", 1), ("l", "s", "captured", 3)]

    @given(st.lists(st.floats(1.0, 100_000.0), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
    def test_percentiles_are_within_half_a_bucket(self, values: list[float], share: float) -> None:
        counts: dict[str, int] = {}
        for value in values:
            counts[latency_measure(value)] = counts.get(latency_measure(value), 0) + 1
        exact = sorted(values)[math.ceil(share * len(values)) - 1]
        (near,) = percentiles(counts, [share])
        assert near == pytest.approx(exact, rel=0.05, abs=0.01)

    def test_no_latency_no_percentile(self) -> None:
        assert percentiles({"captured": 4}, [0.5, 0.99]) == [None, None]

    def test_latency_starts_at_an_honest_clock(self) -> None:
        received, decided = NOW + timedelta(milliseconds=20), NOW + timedelta(milliseconds=100)
        assert latency_ms(NOW, received, decided) == pytest.approx(100)
        assert latency_ms(NOW + timedelta(hours=2), received, decided) == pytest.approx(80)
        assert latency_ms(NOW - timedelta(hours=2), received, decided) == pytest.approx(80)
        assert latency_ms(NOW, received, NOW - timedelta(seconds=1)) == 0.0

    def test_parts(self) -> None:
        assert parts({"signal:a": 2, "signal:b": 0, "signalled": 9}, "signal") == {"a": 2}


@given(st.permutations([1, 2, 3]))
def test_the_highest_revision_stands_in_whatever_order(order: list[int]) -> None:
    now = Stand(0, None)
    for revision in order:
        if stands(now, revision):
            now = Stand(revision, f"kind-{revision}")
    assert now == Stand(3, "kind-3")


class TestRollback:
    def history(self, *changes: str) -> list[Deployment]:
        """`b`: promoted; `<a`: rolled back to a; `^w`: rolled back, and follows the wider scope, where w decides."""
        return [
            Deployment(change.lstrip("<^"), change[0] in "<^", follows=change[0] == "^") for change in changes
        ]

    @pytest.mark.parametrize(
        ("changes", "withdrawn", "target"),
        [
            (["a", "b"], "b", "a"),
            (["a", "b", "<a", "c"], "c", "a"),
            (["a", "b", "c", "<b"], "b", "a"),
            (["a", "b", "a"], "a", "b"),
            (["a", "b", "a", "c", "<a"], "a", "b"),
            (["x", "a", "b", "a", "<b"], "b", "x"),
        ],
    )
    def test_the_one_before_comes_back(self, changes: list[str], withdrawn: str, target: str) -> None:
        assert way_back(self.history(*changes), withdrawn) == WayBack(target, follows=False)
        assert way_back(self.history(*changes), withdrawn, "wider") == WayBack(target, follows=False)

    def test_the_wider_scope_is_followed_when_nothing_came_before(self) -> None:
        assert way_back(self.history("b"), "b", "a") == WayBack("a", follows=True)
        assert way_back(self.history("x", "^w", "y"), "y", "v") == WayBack("v", follows=True)

    def test_only_what_decides_can_be_withdrawn(self) -> None:
        assert refusal(way_back, self.history("a", "b"), "a").reason == "release-not-active"
        assert refusal(way_back, self.history("a", "^w"), "w", "w").reason == "release-not-active"
        assert refusal(way_back, [], "a").reason == "release-not-active"
        assert refusal(way_back, self.history("a"), "a").reason == "nothing-to-roll-back-to"
        assert refusal(way_back, self.history("a"), "a", "a").reason == "nothing-to-roll-back-to"

    def test_what_was_withdrawn_stands_in_for_nobody(self) -> None:
        assert fallbacks(self.history("a", "b"), "c") == ["b", "a"]
        assert fallbacks(self.history("a", "b", "<a"), "c") == ["a"]
        assert fallbacks(self.history("a", "b"), "b") == ["a"]
        assert fallbacks(self.history(*"abcdefg"), "h") == ["g", "f", "e", "d", "c"]


def label(number: int, class_name: str = "good") -> dict[str, Any]:
    return {
        "capture_id": f"c{number}",
        "label_id": f"l{number}",
        "class_name": class_name,
        "is_defect": class_name != "good",
        "taxonomy_version": "t1",
        "image": {"width": 3},
        "context": {"line": "l"},
        "approved_at": NOW + timedelta(seconds=number),
    }


class TestManifest:
    @given(st.permutations(range(8)))
    def test_the_order_of_the_labels_does_not_matter(self, order: list[int]) -> None:
        assert manifest(map(label, order)) == manifest(map(label, range(8)))

    def test_another_class_is_another_version(self) -> None:
        assert manifest([label(1)]).hash != manifest([label(1, "crack")]).hash

    def test_it_counts(self) -> None:
        made = manifest([label(1), label(2), label(3, "crack")])
        assert (made.items, made.classes) == (3, {"crack": 1, "good": 2})


class TestCursor:
    @given(st.datetimes(timezones=st.just(UTC)), st.text(st.characters(exclude_characters="\0"), max_size=40))
    def test_round_trip(self, moment: datetime, identity: str) -> None:
        assert read_cursor(write_cursor(moment, identity)) == (moment, identity)

    @given(st.text(max_size=60))
    def test_what_was_not_made_here_is_refused(self, text: str) -> None:
        assert refusal(read_cursor, text).reason == "unreadable-cursor"


class TestLines:
    def test_a_line_is_the_sum_of_its_stations_and_its_own(self) -> None:
        total = [
            {"line": "l", "station": "s1", "measure": "captured", "count": 5},
            {"line": "l", "station": "s2", "measure": "captured", "count": 2},
            {"line": "l", "station": "s1", "measure": "standing:pass", "count": 4},
            {"line": "l", "station": "", "measure": "signal:new-variant", "count": 1},
        ]
        minute = NOW.replace(second=0)
        recent = [
            {"period": minute, "line": "l", "station": "s1", "measure": "captured", "count": 3},
            {
                "period": minute - timedelta(minutes=29),
                "line": "l",
                "station": "s2",
                "measure": "captured",
                "count": 2,
            },
            {
                "period": minute - timedelta(minutes=40),
                "line": "l",
                "station": "s2",
                "measure": "captured",
                "count": 9,
            },
            {"period": minute, "line": "l", "station": "s1", "measure": latency_measure(64), "count": 1},
        ]
        (line,) = lines.line_states(total, recent, [], [], [], NOW)
        assert (line["captured"], line["dispositions"], line["signals"]) == (
            7,
            {"pass": 4},
            {"new-variant": 1},
        )
        assert [s["captured"] for s in line["stations"]] == [5, 2]
        assert line["captured_per_minute"][-1] == 3
        assert line["captured_per_minute"][0] == 2
        assert sum(line["captured_per_minute"]) == 5
        assert line["recent_latency_ms"]["p50"] == pytest.approx(64, rel=0.05)

    def test_the_narrowest_scope_decides(self) -> None:
        def deployed(
            release: str, line: str | None, station: str | None, mode: str = "active"
        ) -> dict[str, Any]:
            return {"release": release, "line": line, "station": station, "mode": mode}

        everywhere, line, shadow = (
            deployed("a", None, None),
            deployed("b", "l", None),
            deployed("x", "l", "s", "shadow"),
        )
        assert deciding([everywhere, line, shadow], Place("l", "s")) == "b"
        assert deciding([everywhere, line, deployed("c", "l", "s")], Place("l", "s")) == "c"
        assert deciding([everywhere, line], Place("m", "s")) == "a"
        assert deciding([shadow], Place("l", "s")) is None

    def test_a_registered_station_shows_before_its_first_image(self) -> None:
        station = {"line": "l", "station": "s", "capture_standard_version": "1", "takt_ms": 900}
        (line,) = lines.line_states([], [], [station], [], [], NOW)
        assert (line["stations"][0]["registered"], line["stations"][0]["captured"]) == (True, 0)
