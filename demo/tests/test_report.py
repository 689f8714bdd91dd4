"""Both reports from a synthetic run: the JSON keeps its contract, the page needs nothing but itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from andon_demo.books import balance
from andon_demo.cameras import Answer
from andon_demo.ledger import Ledger
from andon_demo.rehearsal import Factory
from andon_demo.report import analysis
from andon_demo.report.check import problems_of
from andon_demo.report.figures import report_json
from andon_demo.report.page import render
from andon_demo.run import facts_of, shots_of
from andon_demo.scenario import Play


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    return Factory(tmp_path_factory.mktemp("parts"), images=240)


@pytest.fixture(scope="module")
def page(factory: Factory) -> str:
    return render(factory.run(), factory.fetch)


def test_a_synthetic_run_balances(factory: Factory) -> None:
    run = factory.run()
    assert [line.title for line in run.books.lines if not line.balanced] == []


def test_the_json_keeps_its_contract(factory: Factory) -> None:
    report = json.loads(json.dumps(report_json(factory.run())))
    assert problems_of(report) == []
    assert report["images_sent"] == report["captures_recorded"] + sum(report["refused"].values()) == 240
    assert sum(report["dispositions"].values()) == report["captures_recorded"]
    assert (
        report["audit"]["accepted"] + sum(report["audit"]["rejected"].values()) == report["captures_recorded"]
    )
    assert report["refused"] == {"not-an-image": 1, "trigger-conflict": 1, "truncated": 2}
    assert report["actions"]["restore-capture-standard"] == {"opened": 1, "closed": 1}
    assert 0.8 < report["model"]["auroc"] <= 1.0


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda r: r.pop("lost"), "lost"),
        (lambda r: r.update(extra=1), "extra"),
        (lambda r: r["model"].update(auroc=1.2), "auroc"),
        (lambda r: r["mes"].update(retries=-1), "retries"),
        (lambda r: r["latency_ms"].update(p99=1.0), "latency"),
        (lambda r: r.update(played=[]), "played"),
        (lambda r: r["dispositions"].update({"pass": 0}), "dispositions"),
        (lambda r: r["audit"].update(accepted=r["audit"]["accepted"] + 1), "audit"),
        (lambda r: r["audit"]["rejected"].update(ambiguous=3), "audit"),
        (lambda r: r["audit"].update(accepted=None), "audit.accepted"),
        (lambda r: r.update(components={}), "components"),
        (lambda r: r["components"].update(kafka=""), "components.kafka"),
        (lambda r: r["actions"]["restore-capture-standard"].pop("closed"), "restore-capture-standard"),
        (lambda r: r["actions"]["restore-capture-standard"].update(late=1), "restore-capture-standard"),
        (lambda r: r["actions"]["restore-capture-standard"].update(closed=-1), "closed"),
    ],
)
def test_the_check_finds_what_breaks_the_contract(factory: Factory, damage: object, problem: str) -> None:
    report = json.loads(json.dumps(report_json(factory.run())))
    damage(report)  # type: ignore[operator]
    assert any(problem in found for found in problems_of(report))


def test_a_lost_201_that_became_a_200_is_an_accepted_image(factory: Factory) -> None:
    """The answer never arrived, the camera asked again: nothing is lost and nothing comes twice."""
    retried = {a.capture_id for a in factory.answers if a.status == 200}
    once = next(a for a in factory.answers if a.status == 201 and a.capture_id not in retried)
    twice = next(a for a in factory.answers if a.status == 201 and a.capture_id in retried)
    answers = [replace(a, status=200) if a in (once, twice) else a for a in factory.answers]
    run = factory.run()
    facts = facts_of(run.plan, answers, run.ledger, run.mes, run.expected, run.left_open)
    assert balance(facts) == run.books
    assert facts.sent == run.plan.images
    assert shots_of(answers) == run.shots()


def test_what_is_said_to_be_new_twice_still_shows(factory: Factory) -> None:
    run = factory.run()
    answers = [replace(a, status=201) if a.status == 200 else a for a in factory.answers]
    books = balance(facts_of(run.plan, answers, run.ledger, run.mes, run.expected, run.left_open))
    assert not books.balanced and books.duplicated == run.plan.count(Play.RETRY)


def test_what_is_said_to_be_recorded_but_is_not_still_shows(factory: Factory) -> None:
    run = factory.run()
    shot = factory.answers[0].shot
    answers = [*factory.answers, Answer(shot, 200, "nobody-recorded-this", None, 0.01)]
    books = balance(facts_of(run.plan, answers, run.ledger, run.mes, run.expected, run.left_open))
    assert not books.balanced and books.lost == 1


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href") and value and not value.startswith(("data:", "#")):
                self.outside.append(value)


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    links = _Links()
    links.feed(page)
    assert links.outside == []
    assert "<script" not in page
    assert "@import" not in page
    assert len(page) < 6_000_000


def test_the_page_has_every_part(page: str) -> None:
    for words in (
        "The books balance.",
        "Trigger to first disposition",
        "Scores by what the experts say",
        "ROC on the stream",
        "Calibration",
        "capture-drift",
        "restore-capture-standard",
        "Escapes",
        "False rejects",
        "Most uncertain",
        "Refused at the door",
        "What was played",
    ):
        assert words in page, words
    assert page.count("data:image/jpeg;base64,") > 20


def test_ids_of_the_plots_do_not_clash(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_lost_capture_makes_the_page_red_and_names_it(tmp_path: Path) -> None:
    factory = Factory(tmp_path, images=60)
    victim = ""

    def lose(ledger: Ledger) -> None:
        nonlocal victim
        victim = next(i for i, c in ledger.captures.items() if c.first)
        ledger.captures[victim].decisions.clear()
        ledger.captures[victim].first_decisions = 0

    page = render(factory.run(lose), factory.fetch)
    assert "The books do not balance." in page
    assert victim in page


def test_auroc_is_the_share_of_pairs_in_the_right_order() -> None:
    scores = np.array([0.1, 0.4, 0.35, 0.8])
    assert analysis.auroc(scores, np.array([False, False, True, True])) == 0.75
    assert analysis.auroc(np.full(4, 0.5), np.array([False, False, True, True])) == 0.5
    assert analysis.auroc(scores, np.zeros(4, bool)) is None


def test_the_area_under_the_roc_curve_is_the_auroc() -> None:
    rng = np.random.default_rng(4)
    truth = rng.random(500) < 0.3
    scores = np.round(np.clip(rng.normal(0.4 + 0.3 * truth, 0.2), 0, 1), 2)
    x, y = analysis.roc_curve(scores, truth)
    assert np.trapezoid(y, x) == pytest.approx(analysis.auroc(scores, truth))


def test_calibration_bins_cover_all_and_bracket_the_observed_share() -> None:
    rng = np.random.default_rng(4)
    scores = rng.random(3000)
    truth = rng.random(3000) < scores
    bins = analysis.calibration(scores, truth)
    assert sum(b.count for b in bins) == 3000
    assert all(b.low <= b.observed <= b.high and abs(b.observed - b.predicted) < 0.1 for b in bins)
