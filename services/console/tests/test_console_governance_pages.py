"""Taxonomy, capture standards and audit: what the pages say without a screen, over HTTP, and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from console.domain import audit_pages, taxonomy_pages
from playwright.sync_api import Page, expect

from .conftest import SIZES, identity
from .governance_registry import CRACK, DRAFT, GOOD, RULE, QualityRoom, entry

HERE = "/quality/taxonomy"
CRACK_FORM = f"{HERE}/drafts/{DRAFT}/classes/1"
COMPARISON = f"{HERE}/drafts/{DRAFT}/comparison"
EVERY_PAGE = {
    "taxonomy": HERE,
    "taxonomy-severity": f"{HERE}/versions/t2/severity?class_name=crack&customer=ACME",
    "taxonomy-versions": f"{HERE}/versions/t2/comparison",
    "taxonomy-draft": f"{HERE}/drafts/{DRAFT}",
    "taxonomy-class": CRACK_FORM,
    "taxonomy-comparison": COMPARISON,
    "standards": "/quality/standards",
    "standards-station": "/quality/standards/line-a/cell-1",
    "audit": "/quality/audit?check=now",
}
SCREENSHOTS = Path(__file__).parents[3] / "build" / "console"


@pytest.fixture
def registry() -> QualityRoom:
    return QualityRoom()


@pytest.fixture
def olga(client: httpx.Client) -> httpx.Client:
    """The QA owner at the desk."""
    client.cookies.set("andon_reviewer", "olga")
    return client


def form_of(page: str) -> dict[str, str]:
    """The hidden fields of a page's forms."""
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page))


class TestWords:
    def test_a_class_is_found_where_it_went(self) -> None:
        classes = [GOOD, entry("new"), CRACK]
        assert taxonomy_pages.place_of(classes, 1, "crack") == 2
        assert taxonomy_pages.place_of(classes, 2, "crack") == 2
        assert taxonomy_pages.place_of(classes, 0, "gone") == 3

    def test_a_form_keeps_what_it_does_not_ask_for(self) -> None:
        typed = {"name": " crack ", "severity": "", "keep-1": "on", "example_image": "i", "is_defect": "yes"}
        said = taxonomy_pages.from_form(typed, CRACK | {"later": 1}, ["good"])
        assert (said["name"], said["severity"], said["later"], said["merged_from"]) == (
            "crack",
            None,
            1,
            ["good"],
        )
        assert [one["image_id"] for one in said["examples"]] == [CRACK["examples"][1]["image_id"], "i"]

    @pytest.mark.parametrize(
        ("where", "place"),
        [
            ("classes[1].boundary_rule", (1, "crack, boundary rule")),
            ("classes[7]", (7, "unnamed class")),
            ("rules[0]", (None, "Rules 0")),
            ("classes", (None, "Classes")),
        ],
    )
    def test_a_flaw_names_its_class(self, where: str, place: tuple[int | None, str]) -> None:
        assert taxonomy_pages.flaw_place(where, [GOOD, CRACK]) == place

    def test_a_date_of_a_form_is_utc(self) -> None:
        assert audit_pages.moment("2026-03-01T12:30") == "2026-03-01T12:30:00+00:00"
        assert audit_pages.moment("tomorrow") is None

    def test_a_size_is_one_gap(self) -> None:
        assert audit_pages.gap_names(["width", "height", "later_field"]) == ["Resolution", "Later field"]


class TestTaxonomy:
    def test_the_version_in_force_says_all_of_a_class(self, client: httpx.Client) -> None:
        page = client.get(HERE).text
        assert all(CRACK[field] in page for field in taxonomy_pages.TEXTS)
        assert page.count("/thumbnail") == 2
        assert "Gold example" in page
        assert "Its exact outline" in page

    def test_a_moment_asks_for_what_was_in_force(self, client: httpx.Client, registry: QualityRoom) -> None:
        assert "Taxonomy t1" in client.get(HERE, params={"at": "2026-03-01T12:30"}).text
        assert registry.queries[-1] == {"at": "2026-03-01T12:30:00+00:00"}
        assert "No taxonomy was in force then." in client.get(HERE, params={"at": "2001-01-01"}).text
        assert "This is no date" in client.get(HERE, params={"at": "soon"}).text

    def test_why_this_severity(self, client: httpx.Client) -> None:
        page = client.get(EVERY_PAGE["taxonomy-severity"]).text
        assert "The rule for customer ACME and class crack names the most." in page

    def test_a_class_is_saved_by_a_form(self, olga: httpx.Client, registry: QualityRoom) -> None:
        form = form_of(olga.get(CRACK_FORM).text)
        typed = {"name": "crack", "definition": "A line.", "severity": "major", "keep-0": "on"}
        assert olga.post(CRACK_FORM, data=form | typed).status_code == 303
        saved = registry.draft["document"]["classes"][1]
        assert (saved["definition"], saved["severity"], len(saved["examples"])) == ("A line.", "major", 1)
        assert registry.draft["document"]["classes"][0] == GOOD

    def test_who_changes_another_class_is_in_nobodys_way(
        self, olga: httpx.Client, registry: QualityRoom
    ) -> None:
        form = form_of(olga.get(CRACK_FORM).text)
        registry.save(0, definition="Nothing to see.")
        assert olga.post(CRACK_FORM, data=form | {"name": "crack", "definition": "Mine"}).status_code == 303
        good, crack = registry.draft["document"]["classes"]
        assert (good["definition"], crack["definition"]) == ("Nothing to see.", "Mine")

    def test_the_same_class_saved_twice_shows_both(self, olga: httpx.Client, registry: QualityRoom) -> None:
        form = form_of(olga.get(CRACK_FORM).text)
        registry.save(1, definition="Theirs")
        answer = olga.post(CRACK_FORM, data=form | {"name": "crack", "definition": "Mine"})
        assert answer.status_code == 412
        assert "Theirs" in answer.text
        assert ">Mine</textarea>" in answer.text
        assert registry.draft["document"]["classes"][1]["definition"] == "Theirs"
        again = form_of(answer.text) | {"name": "crack", "definition": "Both"}
        assert olga.post(CRACK_FORM, data=again).status_code == 303
        assert registry.draft["document"]["classes"][1]["definition"] == "Both"

    def test_a_class_is_added_and_taken_out(self, olga: httpx.Client, registry: QualityRoom) -> None:
        at = f"{HERE}/drafts/{DRAFT}/classes/2"
        olga.post(at, data=form_of(olga.get(at).text) | {"name": "chip"})
        assert [one["name"] for one in registry.draft["document"]["classes"]] == ["good", "crack", "chip"]
        olga.post(at, data=form_of(olga.get(at).text) | {"name": "chip", "remove": "yes"})
        assert [one["name"] for one in registry.draft["document"]["classes"]] == ["good", "crack"]

    def test_a_rule_is_added_and_taken_out(self, olga: httpx.Client, registry: QualityRoom) -> None:
        at = f"{HERE}/drafts/{DRAFT}"
        olga.post(f"{at}/rules", data={"key": "k", "station": " cell-1 ", "severity": "minor"})
        added = {"product": None, "station": "cell-1", "customer": None, "class_name": None}
        assert registry.draft["document"]["rules"] == [
            RULE,
            added | {"severity": "minor", "disposition": None},
        ]
        olga.post(f"{at}/rules", data={"key": "l", "remove": taxonomy_pages.fingerprint(RULE)})
        assert [one["station"] for one in registry.draft["document"]["rules"]] == ["cell-1"]
        assert "Every defect: station cell-1" in olga.get(at).text

    def test_nobody_changes_nothing(self, client: httpx.Client, registry: QualityRoom) -> None:
        form = form_of(client.get(CRACK_FORM).text)
        assert "Say who you are first." in client.post(CRACK_FORM, data=form | {"name": "x"}).text
        client.post(f"{HERE}/drafts", data=form)
        client.post(f"{HERE}/drafts/{DRAFT}/publication", data=form)
        assert registry.sent == []

    def test_a_draft_begins_with_who_wants_it(self, olga: httpx.Client, registry: QualityRoom) -> None:
        answer = olga.post(f"{HERE}/drafts", data={"title": "More", "key": "k"})
        assert answer.headers["location"] == f"{HERE}/drafts/{DRAFT}"
        assert registry.sent == [("/v1/taxonomy-drafts", {"title": "More", "created_by": "olga"})]

    def test_labels_that_came_in_since_are_queued(self, olga: httpx.Client, registry: QualityRoom) -> None:
        assert "Queue what came in since" not in olga.get(HERE).text, "nobody decided that any are redone"
        registry.decided = "relabel"
        form = form_of(olga.get(HERE).text)
        answer = olga.post(f"{HERE}/versions/t2/relabel", data=form)
        assert answer.headers["location"] == f"/quality/work/{identity('relabel')}"
        assert registry.sent == [("/v1/taxonomies/t2/relabel", {"queued_by": "olga"})]
        registry.came_in = 0
        answer = olga.post(f"{HERE}/versions/t2/relabel", data=form)
        assert answer.headers["location"] == f"{HERE}/versions/t2"

    def test_a_class_leads_to_its_images(self, client: httpx.Client) -> None:
        assert 'href="/quality/images?class_name=crack"' in client.get(HERE).text
        assert 'href="/quality/images?class_name=crack">214 labels' in client.get(COMPARISON).text


class TestPublication:
    def publish(self, client: httpx.Client, **typed: str) -> httpx.Response:
        form = form_of(client.get(COMPARISON).text)
        return client.post(f"{HERE}/drafts/{DRAFT}/publication", data=form | typed)

    def test_labels_are_counted_and_a_decision_is_suggested(self, olga: httpx.Client) -> None:
        page = olga.get(COMPARISON).text
        assert "214 labels" in page
        assert 'value="relabel" checked' in page
        assert "customer ACME, class crack: major, hold" in page

    def test_it_comes_into_force_with_its_decisions(self, olga: httpx.Client, registry: QualityRoom) -> None:
        answer = self.publish(olga, name="t3", note="By cause", **{"relabel-0": "relabel"})
        assert answer.headers["location"] == f"{HERE}/versions/t3"
        (_, body) = registry.sent[-1]
        decision = {"class_name": "crack", "relabel": "relabel", "reason": ""}
        assert body == {"version": "t3", "decisions": [decision], "note": "By cause", "published_by": "olga"}

    def test_a_refusal_keeps_what_was_typed(self, olga: httpx.Client, registry: QualityRoom) -> None:
        answer = self.publish(olga, name="t3", note="By cause", **{"relabel-0": "none"})
        assert answer.status_code == 409
        assert "Say why the labels of crack may stay." in answer.text
        assert 'value="By cause"' in answer.text
        assert 'value="none" checked' in answer.text
        assert registry.in_force == "t2"

    def test_a_draft_that_changed_meanwhile_is_compared_again(
        self, olga: httpx.Client, registry: QualityRoom
    ) -> None:
        form = form_of(olga.get(COMPARISON).text)
        registry.save(1, definition="Theirs")
        answer = olga.post(f"{HERE}/drafts/{DRAFT}/publication", data=form | {"name": "t3"})
        assert answer.status_code == 412
        assert "Somebody changed the draft" in answer.text
        assert registry.in_force == "t2"

    def test_an_overtaken_draft_is_confirmed_first(self, olga: httpx.Client, registry: QualityRoom) -> None:
        registry.in_force = "t9"
        page = olga.get(COMPARISON).text
        assert "Put in force" not in page
        olga.post(f"{HERE}/drafts/{DRAFT}/rebase", data=form_of(page))
        assert registry.draft["based_on"] == "t9"
        assert "Put in force" in olga.get(COMPARISON).text

    def test_what_is_missing_is_asked_first(self, olga: httpx.Client, registry: QualityRoom) -> None:
        what = {
            "where": "classes[1].severity",
            "code": "severity-missing",
            "what": "Give it one.",
            "blocking": True,
        }
        registry.draft["problems"] = [what]
        page = olga.get(COMPARISON).text
        assert "Put in force" not in page
        assert f'href="{CRACK_FORM}"' in page


class TestStandardsAndAudit:
    def test_a_standard_shows_its_gaps_and_deviations(self, client: httpx.Client) -> None:
        page = client.get("/quality/standards/line-a/cell-1").text
        assert "Not locked" in page
        assert "Background, Focus" in page
        assert 'width="24.0"' in page
        assert "Wrong exposure" in page and "is only counted" in page
        assert 'width="45.0"' in page and "Nothing shows" in page
        assert "Exposure us" in page and "3900 to 4100" in page

    def test_a_standard_is_locked_by_somebody(self, olga: httpx.Client, registry: QualityRoom) -> None:
        at = "/quality/standards/line-a/cell-1"
        olga.post(f"{at}/lock", data=form_of(olga.get(at).text))
        assert registry.locked == "olga"
        assert "Lock it" not in olga.get(at).text

    def test_filters_and_pages_go_together(self, client: httpx.Client, registry: QualityRoom) -> None:
        page = client.get("/quality/audit", params={"actor": "olga", "since": "2026-03-01T00:00"}).text
        asked = {"actor": "olga", "since": "2026-03-01T00:00:00+00:00", "limit": "50"}
        assert registry.queries[-1] == asked
        earlier = re.search(r'href="([^"]+cursor=7)"', page)
        assert earlier is not None
        client.get(earlier[1].replace("&amp;", "&"))
        assert registry.queries[-1] == asked | {"cursor": "7"}

    @pytest.mark.parametrize("broken", [None, {"sequence": 17, "what": "its hash does not fit"}])
    def test_the_state_of_the_trail_is_said(
        self, client: httpx.Client, registry: QualityRoom, broken: dict[str, object] | None
    ) -> None:
        registry.broken = broken
        page = client.get("/quality/audit?check=now").text
        said = "Entry 17 is the first that is not what it was" if broken else "as they were written"
        assert said in page
        assert f"{audit_pages.VERIFY} --known 1204:" in page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(open_page: Callable[..., Page], console: str, scheme: str) -> None:
    page = open_page(person="olga", color_scheme=scheme, reduced_motion="reduce")
    for path in EVERY_PAGE.values():
        page.goto(console + path)
        for summary in page.locator("summary").all():
            summary.click()
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"


@pytest.mark.parametrize("size", [*SIZES, "mobile"])
def test_nothing_is_wider_than_the_screen(open_page: Callable[..., Page], console: str, size: str) -> None:
    page = open_page(person="olga")
    width, height = SIZES.get(size, (390, 844))
    page.set_viewport_size({"width": width, "height": height})
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in EVERY_PAGE.items():
        page.goto(console + path)
        expect(page.get_by_role("navigation", name="Quality")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        if size in ("desktop", "mobile"):
            page.screenshot(path=SCREENSHOTS / f"{name}-{size}.png", full_page=True)


def test_a_class_is_written_without_javascript(open_page: Callable[..., Page], registry: QualityRoom) -> None:
    page = open_page(f"{HERE}/drafts/{DRAFT}", person="olga", java_script_enabled=False)
    page.get_by_role("link", name="crack").click()
    page.get_by_label("Where it ends").fill("Where it is no longer dark.")
    page.get_by_role("button", name="Save class").click()
    expect(page.get_by_role("status").first).to_be_visible()
    assert registry.draft["document"]["classes"][1]["boundary_rule"] == "Where it is no longer dark."
