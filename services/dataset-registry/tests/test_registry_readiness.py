"""The readiness package: verdicts follow from figures, and a set of pictures from elsewhere is told what it lacks."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np
import pytest
from dataset_registry.domain import readiness_labels, readiness_launch
from dataset_registry.domain.agreement import Figure
from dataset_registry.domain.agreement_answers import Agreement
from dataset_registry.domain.readiness import NOT_PROVEN, NOT_READY, READY, Answer, Missing, share, whole
from dataset_registry.domain.taxonomy_document import ClassEntry, Document, Example

from .conftest import Registry
from .dataset_room import cut, evaluate, label
from .labeling_room import Room, box, marked

NOTHING = Figure(None, None, None, 0)
CRACK = ClassEntry(
    "crack",
    definition="A dark line.",
    severity="major",
    region_rule="segment",
    boundary_rule="Its dark edge.",
    acceptable_variation="Grinding marks.",
    ambiguous_rule="Ask.",
    escalation_path="olga",
    examples=(Example("1", "gold"), Example("2", "hard-negative")),
)
GOOD = ClassEntry("good", is_defect=False, severity="minor")


def codes(answer: Answer) -> list[str]:
    return [lack.code for lack in answer.missing]


def agreement(alpha: Figure) -> readiness_labels.Reviews:
    found = Agreement(40, ("ada", "ben"), NOTHING, NOTHING, alpha, (), None)
    return readiness_labels.Reviews(found, labels=40, second=40, own=0)


class TestVerdicts:
    def test_what_is_shown_to_be_wrong_outweighs_what_is_not_known(self) -> None:
        wrong, unknown = Missing("a", "", ""), Missing("b", "", "", shown=False)
        answers = [Answer("", "", (), (), missing) for missing in ((wrong, unknown), (unknown,), ())]
        assert [answer.verdict for answer in answers] == [NOT_READY, NOT_PROVEN, READY]
        assert [whole(answers), whole(answers[1:]), whole(answers[2:])] == [NOT_READY, NOT_PROVEN, READY]

    def test_a_share_has_the_wilson_interval(self) -> None:
        found = share("x", 8, 10)  # Newcombe 1998: 0.4902 to 0.9433
        assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
        assert share("x", 0, 0).value is None

    @pytest.mark.parametrize(
        ("low", "high", "verdict"), [(0.7, 0.9, READY), (0.5, 0.9, NOT_PROVEN), (0.2, 0.6, NOT_READY)]
    )
    def test_agreement_is_judged_by_its_interval(self, low: float, high: float, verdict: str) -> None:
        assert readiness_labels.reviewers(agreement(Figure(0.8, low, high, 40))).verdict == verdict

    def test_agreement_that_is_undefined_proves_nothing(self) -> None:
        answer = readiness_labels.reviewers(agreement(NOTHING))
        assert (answer.verdict, codes(answer)) == (NOT_PROVEN, ["agreement-undefined"])

    def test_one_second_look_does_not_vouch_for_all(self) -> None:
        known = replace(agreement(Figure(0.8, 0.7, 0.9, 40)), second=3)
        assert codes(readiness_labels.reviewers(known)) == ["few-second-looks"]

    def test_a_few_images_prove_no_agreement_however_well_people_agree(self) -> None:
        known = agreement(Figure(1.0, 1.0, 1.0, 29))
        known = replace(known, agreement=replace(known.agreement, images=29))
        assert codes(readiness_labels.reviewers(known)) == ["shared-sample-small"]

    def test_a_label_that_its_author_approved_is_no_review(self) -> None:
        known = replace(agreement(Figure(0.8, 0.7, 0.9, 40)), own=1)
        assert codes(readiness_labels.reviewers(known)) == ["own-review"]

    def test_a_taxonomy_is_operational_when_every_defect_has_all_its_rules(self) -> None:
        known = readiness_labels.Labels(
            "t1", Document((GOOD, CRACK)), {"crack": 3}, {"t1": 3}, {"person": 3}, 0, settled=3, ambiguous=0
        )
        assert readiness_labels.labels(known).verdict == READY
        vague = replace(known, document=Document((GOOD, replace(CRACK, boundary_rule=" ", examples=()))))
        assert codes(readiness_labels.labels(vague)) == [
            "boundary-rule-missing",
            "gold-example-missing",
            "hard-negative-missing",
        ]
        assert codes(readiness_labels.labels(replace(known, used={"burr": 1}))) == ["class-unknown"]
        assert readiness_labels.labels(replace(known, versions={"t0": 3})).verdict == NOT_PROVEN

    def test_pictures_of_one_part_do_not_make_a_class_less_rare(self) -> None:
        known = readiness_launch.Splits(
            100,
            {"train": 70, "holdout": 30},
            "clean",
            "",
            alike=90,
            unseen=0,
            independent={"crack": 9, "fray": 29, "break": 30, "good": 3},
            defects=frozenset({"crack", "fray", "break"}),
            warnings=(),
            holdout=30,
            readings=0,
        )
        assert codes(readiness_launch.splits(known, "0" * 64)) == ["class-rare", "class-thin"]
        assert codes(readiness_launch.splits(replace(known, independent={}, leakage="leaks"), "0" * 64)) == [
            "leaks"
        ]

    def test_launch_evidence_is_complete_with_every_figure_on_the_holdout(self) -> None:
        figures = dict.fromkeys(readiness_launch.FIGURES, 0.9)
        known = readiness_launch.Launch({"r1": figures}, ["r1"], 1, 1, 50, 1, 80.0)
        assert readiness_launch.launch(known).verdict == READY
        assert codes(readiness_launch.launch(replace(known, evaluated=[]))) == ["not-evaluated"]
        assert codes(readiness_launch.launch(replace(known, releases={"r1": {"recall": 0.9}}))) == [
            "figures-missing"
        ]
        assert readiness_launch.launch(replace(known, decided=0, overridden=0)).verdict == NOT_PROVEN


def tiles() -> bytes:
    """Like the magnetic tiles: folders by class, a mask beside each picture, each tile under three exposures."""
    made = io.BytesIO()
    chance = np.random.default_rng(5)
    with zipfile.ZipFile(made, "w") as archive:
        for name, count in (("free", 4), ("crack", 2), ("fray", 1)):
            for number in range(count):
                tile = cv2.resize(chance.integers(40, 160, (6, 6), np.uint8), (64, 48))
                mask = np.zeros((48, 64), np.uint8)
                if name != "free":
                    mask[10:20, 10:40] = 255
                for exposure in range(3):
                    lit = (tile + 15 * exposure).astype(np.uint8)
                    stem = f"{name}/tile{number}_{exposure}"
                    archive.writestr(f"{stem}.bmp", bytes(cv2.imencode(".bmp", lit)[1]))
                    archive.writestr(f"{stem}.png", bytes(cv2.imencode(".png", mask)[1]))
    return made.getvalue()


def imported(registry: Registry) -> None:
    classes = [
        {"name": name, "severity": "minor", "is_defect": name != "free"} for name in ("free", "crack", "fray")
    ]
    body = {"classes": classes, "published_by": "olga"}
    assert registry.http.put("/v1/taxonomies/t1", json=body).status_code == 201
    form = {"source": "magnetic-tile", "imported_by": "olga", "format": "masks-beside"}
    sent = registry.http.post("/v1/imports", data=form, files={"archive": ("tiles.zip", tiles())})
    assert sent.status_code == 202, sent.text
    done = registry.get(f"/v1/imports/{sent.json()['import_id']}")
    assert (done["state"], done["added"]) == ("done", 21), done


def answers(registry: Registry, hash_: str) -> dict[str, Any]:
    found = registry.get(f"/v1/datasets/{hash_}/readiness")
    return {answer["key"]: answer for answer in found["answers"]}


def lacks(answer: Any) -> set[str]:
    return {lack["code"] for lack in answer["missing"]}


def figure(answer: Any, name: str) -> Any:
    (found,) = [one for one in answer["figures"] if one["name"] == name]
    return found


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.names.append(tag)


class TestPackage:
    def test_pictures_from_elsewhere_are_told_what_they_lack(self, registry: Registry) -> None:
        imported(registry)
        version = cut(registry, shapes=True)
        package = registry.get(f"/v1/datasets/{version['hash']}/readiness")
        assert (package["verdict"], package["images"]) == (NOT_READY, 21)
        found = answers(registry, version["hash"])
        assert list(found) == [
            "capture-repeatable",
            "labels-operational",
            "reviewers-aligned",
            "splits-protected",
            "launch-evidence",
        ]
        assert {"no-station", "context-missing", "no-captures"} <= lacks(found["capture-repeatable"])
        assert {"boundary-rule-missing", "gold-example-missing"} <= lacks(found["labels-operational"])
        assert lacks(found["reviewers-aligned"]) == {"no-second-reviewer", "no-shared-sample"}
        assert lacks(found["splits-protected"]) == {"not-divided", "shown-several-times", "class-rare"}
        assert figure(found["splits-protected"], "independent of class fray")["value"] == 1
        assert figure(found["splits-protected"], "look like another image of the version")["value"] == 1
        assert lacks(found["launch-evidence"]) == {"no-release", "no-evaluation-batch", "no-decisions"}
        assert found["launch-evidence"]["verdict"] == NOT_PROVEN

    def test_the_same_records_give_the_same_bytes(self, registry: Registry) -> None:
        imported(registry)
        at = f"/v1/datasets/{cut(registry, shapes=True)['hash']}/readiness"
        registry.clock.advance(3600)
        for query in ({}, {"as": "html"}):
            assert registry.http.get(at, params=query).content == registry.http.get(at, params=query).content

    def test_a_page_without_scripts_for_whoever_asks_for_html(self, registry: Registry) -> None:
        imported(registry)
        at = f"/v1/datasets/{cut(registry, shapes=True, purpose='<script>alert(1)</script>')['hash']}/readiness"
        shown = registry.http.get(at, headers={"Accept": "text/html,*/*;q=0.8"})
        assert shown.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in shown.headers["content-security-policy"]
        assert shown.text == registry.http.get(at, params={"as": "html"}).text
        tags = Tags(shown.text).names
        assert tags.count("section") == 5
        assert not {"script", "img", "link", "iframe"} & set(tags)
        assert "21 of 21 images name no station" in shown.text
        assert f'href="{registry.http.base_url}/v1/stations"' in shown.text, "also where the page was saved"
        forced = registry.http.get(at, params={"as": "json"}, headers={"Accept": "text/html"})
        assert forced.headers["content-type"] == "application/json"

    def test_a_divided_version_its_holdout_and_what_learned_from_it(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        label(registry, 0, 80)
        version = cut(registry, split={"keys": ["part"]})
        before = answers(registry, version["hash"])["splits-protected"]
        assert "not-divided" not in lacks(before)
        assert "leakage-unproven" in lacks(before)  # nobody has computed the looks of these
        assert figure(before, "readings of the holdout")["value"] == 0
        figures = dict.fromkeys(readiness_launch.FIGURES, 0.9)
        registry.take(registry.trained("r1", dataset_hash=version["hash"], metrics=figures))
        assert "not-evaluated" in lacks(answers(registry, version["hash"])["launch-evidence"])
        assert evaluate(registry, version).status_code == 200
        registry.take(registry.captured("900"), registry.decided("900"))
        registry.take(registry.decided("900", kind="reject", revision=2))
        found = answers(registry, version["hash"])
        assert figure(found["splits-protected"], "readings of the holdout")["value"] == 1
        launch = found["launch-evidence"]
        assert lacks(launch) == {"no-evaluation-batch"}
        assert figure(launch, "95 % of its decisions take at most")["value"] == 80
        assert figure(launch, "of these, decided otherwise later")["value"] == 1

    def test_people_who_answered_blind_count_as_a_second_look(self, registry: Registry) -> None:
        room = Room(registry)
        room.batch(room.captured(6), mode="consensus", answers_wanted=2)
        for person in ("ada", "ben"):
            for turn in range(6):
                said = marked(box("crack")) if turn % 2 else {"verdict": "labeled", "classes": ["good"]}
                room.said(room.next(person), person, said)
        for asked in ({"shapes": True}, {}):
            found = answers(registry, cut(registry, **asked)["hash"])
            reviewed = found["reviewers-aligned"]
            assert (reviewed["verdict"], lacks(reviewed)) == (NOT_PROVEN, {"shared-sample-small"})
            assert figure(reviewed, "labels that a second person approved")["of"] == 6
            assert figure(reviewed, "labels that a second person approved")["value"] == 1
            assert figure(found["labels-operational"], "labels from person")["value"] == 6
            capture = found["capture-repeatable"]
            assert "no-standard" in lacks(capture)
            assert figure(capture, "of these captured on the line")["value"] == 6

    def test_what_a_sampling_plan_lets_through_is_no_second_look(self, registry: Registry) -> None:
        room = Room(registry)
        room.batch(room.captured(1), review={"plan": "fraction", "fraction": 0.0})
        room.said(room.next("ada"), "ada", {"verdict": "labeled", "classes": ["good"]})
        found = answers(registry, cut(registry)["hash"])["reviewers-aligned"]
        assert "no-second-reviewer" in lacks(found)

    def test_an_unknown_version(self, registry: Registry) -> None:
        assert registry.http.get(f"/v1/datasets/{'0' * 64}/readiness").status_code == 404
