"""Taxonomies without I/O: what a change affects, what decisions it needs, what a document lacks, why it is severe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from dataset_registry.domain.refusals import Refused
from dataset_registry.domain.severity import Case, settle
from dataset_registry.domain.taxonomy_changes import Comparison, Decision, check_decisions, diff
from dataset_registry.domain.taxonomy_document import (
    ClassEntry,
    Document,
    SeverityRule,
    document_of,
    flaws,
    without_lineage,
)
from dataset_registry.domain.taxonomy_history import fate

GOOD_CLASS = ClassEntry("good", is_defect=False, severity="minor")
CRACK = ClassEntry("crack", "a dark line", severity="major", boundary_rule="to its end")
SCRATCH = ClassEntry("scratch", "a bright line", severity="minor")
OLD = Document((GOOD_CLASS, CRACK, SCRATCH))


def changed(*classes: ClassEntry, rules: tuple[SeverityRule, ...] = ()) -> Comparison:
    return diff(OLD, Document((GOOD_CLASS, *classes), rules))


def summary(comparison: Comparison) -> list[tuple[Any, ...]]:
    return [(c.kind, c.before, c.after, c.affected, c.suggested) for c in comparison.changes]


class TestDiff:
    def test_nothing(self) -> None:
        same = changed(CRACK, SCRATCH)
        assert same.changes == same.affected == ()
        assert [(p.before, p.after) for p in same.pairs] == [(c, c) for c in OLD.classes]

    def test_a_new_defect_puts_the_good_class_in_question(self) -> None:
        new = changed(CRACK, SCRATCH, ClassEntry("stain", "a spot", severity="minor"))
        assert summary(new) == [("added", (), ("stain",), ("good",), "relabel")]
        assert (new.pairs[-1].before, new.pairs[-1].kinds) == (None, ("added",))

    def test_removed(self) -> None:
        gone = changed(CRACK)
        assert summary(gone) == [("removed", ("scratch",), (), ("scratch",), "relabel")]
        assert (gone.pairs[-1].before, gone.pairs[-1].after) == (SCRATCH, None)

    def test_renamed_keeps_its_meaning(self) -> None:
        new = changed(CRACK, replace(SCRATCH, name="score", renamed_from="scratch"))
        assert summary(new) == [("renamed", ("scratch",), ("score",), ("scratch",), "none")]
        assert new.pairs[-1].before == SCRATCH

    def test_renamed_and_defined_anew_is_looked_at_again(self) -> None:
        new = changed(
            CRACK, replace(SCRATCH, name="score", renamed_from="scratch", definition="a deep bright line")
        )
        (affected,) = new.affected
        assert affected == ("scratch", ("renamed", "definition-changed"), "relabel")

    def test_split_into_others(self) -> None:
        parts = [replace(SCRATCH, name=name, split_from="scratch") for name in ("light", "deep")]
        new = changed(CRACK, *parts)
        assert summary(new) == [("split", ("scratch",), ("light", "deep"), ("scratch",), "relabel")]
        assert [(p.before and p.before.name, p.after and p.after.name, p.kinds) for p in new.pairs[2:]] == [
            (None, "light", ("split",)),
            (None, "deep", ("split",)),
            ("scratch", None, ("split",)),
        ]

    def test_split_off(self) -> None:
        new = changed(CRACK, SCRATCH, replace(SCRATCH, name="deep", split_from="scratch"))
        assert summary(new) == [("split", ("scratch",), ("scratch", "deep"), ("scratch",), "relabel")]
        assert new.pairs[2].kinds == ("split",)

    def test_merged(self) -> None:
        new = changed(ClassEntry("line", "a line", severity="major", merged_from=("crack", "scratch")))
        assert summary(new) == [("merged", ("crack", "scratch"), ("line",), ("crack", "scratch"), "none")]
        into = changed(replace(CRACK, merged_from=("scratch",)))
        assert summary(into) == [("merged", ("scratch",), ("crack",), ("scratch",), "none")]

    @pytest.mark.parametrize(
        ("field", "value", "kind", "affected", "suggested"),
        [
            ("severity", "critical", "severity-changed", ("crack",), "none"),
            ("definition", "another", "definition-changed", ("crack",), "relabel"),
            ("boundary_rule", "to half of it", "boundary-changed", ("crack",), "relabel"),
            ("acceptable_variation", "below 1 mm", "acceptable-variation-changed", ("crack",), "relabel"),
            ("region_rule", "segment", "region-rule-changed", ("crack",), "relabel"),
            ("ambiguous_rule", "ask", "ambiguous-rule-changed", ("crack",), "none"),
            ("escalation_path", "olga", "escalation-changed", (), "none"),
            ("colour", "#ff0000", "colour-changed", (), "none"),
        ],
    )
    def test_what_a_class_says(
        self, field: str, value: str, kind: str, affected: tuple[str, ...], suggested: str
    ) -> None:
        new = changed(replace(CRACK, **{field: value}), SCRATCH)
        assert summary(new) == [(kind, ("crack",), ("crack",), affected, suggested)]
        assert new.changes[0].now == value

    def test_rules(self) -> None:
        rule = SeverityRule(customer="ACME", class_name="crack", severity="critical")
        new = changed(CRACK, SCRATCH, rules=(rule,))
        assert summary(new) == [("rule-added", (), ("crack",), (), "none")]
        assert new.changes[0].now == "customer ACME, class crack: critical"
        stricter = diff(
            Document(OLD.classes, (rule,)), Document(OLD.classes, (replace(rule, disposition="hold"),))
        )
        assert [c.kind for c in stricter.changes] == ["rule-changed"]

    def test_the_first_taxonomy_affects_nothing(self) -> None:
        assert diff(Document(), OLD).affected == ()


class TestDecisions:
    NEW = changed(replace(CRACK, severity="critical"))

    @pytest.mark.parametrize(
        ("decisions", "reason"),
        [
            ([("crack", "none", "same cracks")], "relabel-decision-missing"),
            ([("crack", "none", " "), ("scratch", "relabel", "")], "relabel-reason-missing"),
            (
                [("crack", "none", "x"), ("scratch", "relabel", ""), ("good", "none", "x")],
                "class-not-affected",
            ),
            (
                [("crack", "none", "x"), ("crack", "none", "x"), ("scratch", "none", "x")],
                "relabel-decision-twice",
            ),
        ],
    )
    def test_each_affected_class_has_one(self, decisions: list[tuple[str, str, str]], reason: str) -> None:
        with pytest.raises(Refused) as refused:
            check_decisions(self.NEW, [Decision(*d) for d in decisions], {"scratch": 7})
        assert refused.value.reason == reason

    def test_what_is_missing_is_named_with_its_labels(self) -> None:
        with pytest.raises(Refused, match=r"scratch \(7 labels; removed\)"):
            check_decisions(self.NEW, [], {"scratch": 7})

    def test_those_to_relabel(self) -> None:
        decisions = [Decision("crack", "none", "same cracks"), Decision("scratch", "relabel", "")]
        assert check_decisions(self.NEW, decisions, {}) == ["scratch"]


class TestFlaws:
    def codes(self, document: Document, *, blocking: bool = True) -> set[str]:
        return {flaw.code for flaw in flaws(document, OLD) if flaw.blocking == blocking}

    def test_a_sound_one(self) -> None:
        assert self.codes(OLD) == set()
        assert "gold-missing" in self.codes(OLD, blocking=False)

    @pytest.mark.parametrize(
        ("document", "code"),
        [
            (Document(), "good-class-missing"),
            (Document((GOOD_CLASS, replace(GOOD_CLASS, name="fine"))), "good-class-twice"),
            (Document((GOOD_CLASS, CRACK, CRACK)), "name-taken"),
            (Document((GOOD_CLASS, replace(CRACK, name=""))), "name-missing"),
            (Document((GOOD_CLASS, replace(CRACK, severity=None))), "severity-missing"),
            (Document((GOOD_CLASS, replace(CRACK, definition=" "))), "definition-missing"),
            (Document((GOOD_CLASS, replace(CRACK, renamed_from="dent"))), "lineage-unknown"),
            (Document((*OLD.classes, replace(CRACK, name="c", renamed_from="crack"))), "lineage-unclear"),
            (Document((GOOD_CLASS, replace(CRACK, name="c", merged_from=("crack",)))), "lineage-unclear"),
            (
                Document((GOOD_CLASS, replace(CRACK, name="c", split_from="crack", renamed_from="crack"))),
                "lineage-unclear",
            ),
            (
                Document(OLD.classes, (SeverityRule(class_name="dent", severity="major"),)),
                "rule-class-unknown",
            ),
            (Document(OLD.classes, (SeverityRule(severity="major"),)), "rule-names-nothing"),
            (Document(OLD.classes, (SeverityRule(product="p"),)), "rule-says-nothing"),
            (
                Document(
                    OLD.classes,
                    (
                        SeverityRule(product="p", severity="major"),
                        SeverityRule(product="p", severity="minor"),
                    ),
                ),
                "rule-twice",
            ),
        ],
    )
    def test_what_blocks(self, document: Document, code: str) -> None:
        assert code in self.codes(document)

    @pytest.mark.parametrize(
        ("rule", "code"),
        [
            (SeverityRule(product="p", disposition="pass"), "rule-passes-unnamed"),
            (
                SeverityRule(product="p", class_name="crack", severity="critical", disposition="pass"),
                "rule-passes-critical",
            ),
        ],
    )
    def test_what_passes_a_critical_class_is_said_and_does_not_block(
        self, rule: SeverityRule, code: str
    ) -> None:
        (flaw,) = [one for one in flaws(Document(OLD.classes, (rule,)), OLD) if one.code == code]
        assert not flaw.blocking

    def test_a_document_of_an_earlier_release_takes_defaults(self) -> None:
        raw = {"classes": [{"name": "good", "severity": "minor", "definition": "", "is_defect": False}]}
        assert document_of(raw) == Document((GOOD_CLASS,))
        assert without_lineage({"classes": [{"name": "a", "split_from": "b"}]}) == {
            "classes": [{"name": "a"}]
        }


class TestSeverity:
    RULES = (
        SeverityRule(class_name="crack", severity="minor"),
        SeverityRule(product="P", class_name="crack", severity="major", disposition="rework"),
        SeverityRule(station="S", class_name="crack", severity="monitor-only"),
        SeverityRule(customer="C", class_name="crack", severity="critical"),
        SeverityRule(customer="C", disposition="hold"),
    )

    def value(self, **case: str) -> tuple[str | None, str | None]:
        severity, disposition = settle(Document(OLD.classes, self.RULES), CRACK, Case("crack", **case))
        return severity.value, disposition.value

    @pytest.mark.parametrize(
        ("case", "severity", "disposition"),
        [
            ({}, "minor", None),
            ({"product": "P"}, "major", "rework"),
            ({"product": "P", "station": "S"}, "monitor-only", "rework"),
            ({"product": "P", "station": "S", "customer": "C"}, "critical", "rework"),
            ({"customer": "C"}, "critical", "hold"),
            ({"customer": "D", "product": "Q"}, "minor", None),
        ],
    )
    def test_the_most_specific_rule_wins(
        self, case: dict[str, str], severity: str, disposition: str | None
    ) -> None:
        assert self.value(**case) == (severity, disposition)

    def test_it_says_what_it_beat_and_why(self) -> None:
        document = Document(OLD.classes, self.RULES)
        severity, _ = settle(document, CRACK, Case("crack", product="P", customer="C"))
        assert severity.rule == self.RULES[3]
        assert [(lost.rule, lost.why) for lost in severity.beat] == [
            (self.RULES[1], "it names as many, but not the customer"),
            (self.RULES[0], "it names 1, the winner 2"),
        ]
        assert severity.why.startswith("the rule for customer C, class crack: critical names 2 of")

    def test_without_a_rule_the_class_decides(self) -> None:
        severity, disposition = settle(OLD, SCRATCH, Case("scratch"))
        assert (severity.value, severity.rule, severity.beat) == ("minor", None, ())
        assert "policy" in disposition.why

    def test_a_rule_without_a_class_never_makes_a_critical_one_milder_and_the_answer_says_so(self) -> None:
        grave = ClassEntry("crack", severity="critical")
        lenient = SeverityRule(customer="C", severity="minor", disposition="pass")
        severity, disposition = settle(Document((grave,), (lenient,)), grave, Case("crack", customer="C"))
        assert (severity.value, severity.rule, disposition.value) == ("critical", None, None)
        assert [lost.rule for lost in (*severity.beat, *disposition.beat)] == [lenient, lenient]
        assert "it names no class, and crack is critical" in severity.why
        scratch, passes = settle(Document((SCRATCH,), (lenient,)), SCRATCH, Case("scratch", customer="C"))
        assert (scratch.value, passes.value) == ("minor", "pass")

    def test_a_rule_with_the_line_beats_one_for_the_station_alone(self) -> None:
        here = SeverityRule(station="line-a/cell-1", severity="critical")
        anywhere = SeverityRule(station="cell-1", severity="major")
        document = Document(OLD.classes, (anywhere, here))
        severity, _ = settle(document, SCRATCH, Case("scratch", station="line-a/cell-1"))
        assert (severity.value, severity.beat[0].why) == ("critical", "it names as many, but not the line")
        assert settle(document, SCRATCH, Case("scratch", station="line-b/cell-1"))[0].value == "major"
        assert settle(document, SCRATCH, Case("scratch", station="cell-1"))[0].value == "major"

    def test_the_good_class_is_never_made_severe(self) -> None:
        document = Document(OLD.classes, (SeverityRule(customer="C", severity="critical"),))
        assert settle(document, GOOD_CLASS, Case("good", customer="C"))[0].value == "minor"


class TestFate:
    SPLIT = Document((GOOD_CLASS, CRACK, *(ClassEntry(n, split_from="scratch") for n in ("light", "deep"))))
    RENAMED = Document((GOOD_CLASS, CRACK, ClassEntry("light"), ClassEntry("gouge", renamed_from="deep")))
    MERGED = Document((GOOD_CLASS, replace(CRACK, merged_from=("gouge",))))

    def test_a_class_is_followed_to_the_names_it_has_today(self) -> None:
        versions = [("t1", OLD), ("t2", self.SPLIT), ("t3", self.RENAMED), ("t4", self.MERGED)]
        found = fate(["scratch"], versions)
        assert [(s.version, s.kind, s.before, s.after) for s in found.steps] == [
            ("t2", "split", ("scratch",), ("light", "deep")),
            ("t3", "renamed", ("deep",), ("gouge",)),
            ("t4", "merged", ("gouge",), ("crack",)),
            ("t4", "removed", ("light",), ()),
        ]
        assert found.today == ("crack",)

    def test_what_stays_stays(self) -> None:
        assert fate(["crack"], [("t1", OLD), ("t2", self.SPLIT)]) == ((), ("crack",))
        assert fate(["crack"], []) == ((), ("crack",))
