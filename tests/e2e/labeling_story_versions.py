"""Dataset versions, and what a changed guide does to them."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from . import labeling_story_room as room
from .labeling_story import SECOND, Story
from .labeling_story_room import choose, doing, keys, work_through
from .labeling_story_world import shot, shots


def first_version(story: Story) -> None:
    """All labels but that of the ambiguous image, divided so that look-alikes stay together."""
    story.versions.append(_cut(story, "First guide", None))


def _cut(story: Story, purpose: str, keep: str | None) -> str:
    page = story.people.olga
    page.goto("/quality/datasets")
    page.get_by_role("link", name="Cut a version").click()
    page.get_by_label("Name, or what it is for").fill(purpose)
    page.get_by_label("With imported images").check()
    if keep:
        page.get_by_label("Images stay where they are in").select_option(keep)
    else:
        shots(page, "datasets-new")
    page.get_by_role("button", name="Cut the version").click()
    page.wait_for_url(re.compile("/quality/datasets/[0-9a-f]{64}$"))
    made = story.world.get(f"/v1/datasets/snapshots/{page.url.rsplit('/', 1)[1]}")
    images = sum(len(one.pictures) for one in story.given.sets)
    assert sum(made["parts"].values()) == images - 1
    assert made["parts"]["holdout"] > 0
    assert made["leakage"]["verdict"] == "clean"
    return str(made["hash"])


def split(story: Story) -> None:
    """The QA owner divides a class in a draft, compares, and publishes it with the decision to label again."""
    olga, given = story.people.olga, story.given
    olga.goto("/quality/taxonomy")
    olga.get_by_label("What is to change").fill(f"Split {given.split}")
    olga.get_by_role("button", name="Begin a draft").click()
    olga.wait_for_url("**/taxonomy/drafts/*")
    draft = olga.url
    old = next(one for one in given.classes if one["name"] == given.split)
    for name, definition in given.parts.items():
        olga.goto(draft)
        olga.get_by_role("link", name="Add a class").click()
        olga.get_by_label("Name", exact=True).fill(name)
        olga.get_by_label("Severity").select_option(old["severity"])
        olga.get_by_label("How it is marked").select_option(old["region_rule"] or "")
        olga.get_by_label("What one sees").fill(definition)
        olga.get_by_label("Part of").select_option(given.split)
        if name == next(iter(given.parts)):
            shots(olga, "taxonomy-class")
        olga.get_by_role("button", name="Save class").click()
        expect(olga.locator(".said")).to_contain_text(f"{name} is saved")
    olga.get_by_role("link", name=given.split, exact=True).click()
    olga.get_by_role("button", name="Take this class out").click()
    expect(olga.locator(".said")).to_contain_text("is taken out")
    shots(olga, "taxonomy-draft")
    olga.get_by_role("link", name="Compare and publish").click()
    decision = olga.get_by_role("group", name=given.split)
    expect(decision).to_contain_text(f"{len(story.of_split_class())} labels")
    decision.get_by_label("Label them again").check()
    olga.get_by_label("Name of the new version").fill(SECOND)
    olga.get_by_label("Note for everybody").fill("They have different causes.")
    shots(olga, "taxonomy-comparison")
    olga.get_by_role("button", name="Put in force").click()
    expect(olga.locator(".said")).to_contain_text(
        f"{len(story.of_split_class())} images wait to be labeled again"
    )
    shots(olga, "taxonomy")
    there = olga.get_by_role("link", name="Label them").get_attribute("href") or ""
    story.batches["Again"] = there.split("batch=")[1]


def relabeled(story: Story) -> None:
    """What had the old class is labeled under the new guide, from what was known, and reviewed."""
    lena, ravi, batch, given = story.people.lena, story.people.ravi, story.batches["Again"], story.given
    pictures = story.of_split_class()
    names = list(given.parts)
    room.enter(lena, "", batch)
    expect(lena.locator("#marks .proposed")).to_have_count(1)
    shot(lena, "relabel")
    deeds = {
        picture.name: doing(keys("."), choose("", names[number % 2]), room.SEND)
        for number, picture in enumerate(pictures)
    }
    story.answers += len(work_through(lena, deeds))
    room.enter(ravi, "/review", batch)
    assert len(work_through(ravi, {}, room.ACCEPT)) == len(pictures)
    assert story.world.get(f"/v1/batches/{batch}")["progress"] == {"done": len(pictures)}


def second_version(story: Story) -> None:
    """The same images under the second guide, in the parts where they were; the page says what changed."""
    olga, before = story.people.olga, story.versions[0]
    after = _cut(story, "Second guide", before)
    story.versions.append(after)
    olga.goto("/quality/datasets")
    expect(olga.locator("article")).to_have_count(2)
    shots(olga, "datasets")
    olga.goto(f"/quality/datasets/{after}")
    shots(olga, "datasets-version")
    olga.goto("/quality/datasets")
    olga.get_by_role("button", name="Compare").click()
    relabelled = olga.locator("section[aria-labelledby='change-relabelled']")
    diff = story.world.get(f"/v1/datasets/{before}/diff/{after}")
    named, hidden = diff["counts"]["relabelled"], diff["in_holdout"].get("relabelled", 0)
    assert named + hidden == len(story.of_split_class())
    expect(relabelled).to_contain_text(f"{named} images")
    if hidden:
        expect(relabelled).to_contain_text(f"{hidden} in the holdout")
    for kind in ("added", "removed", "moved"):
        expect(olga.locator(f"section[aria-labelledby='change-{kind}']")).to_contain_text("0 images")
    shots(olga, "datasets-diff")
    assert {one["was"] for one in diff["relabelled"]} <= {story.given.split}
    assert {one["now"] for one in diff["relabelled"]} <= {*story.given.parts}


def readiness(story: Story) -> None:
    """The package is honest: pictures from elsewhere name no station, and nothing was launched on them."""
    olga = story.people.olga
    for number, version in enumerate(story.versions, 1):
        package = story.world.get(f"/v1/datasets/{version}/readiness")
        answers = {one["key"]: one for one in package["answers"]}
        assert package["verdict"] == "not-ready"
        assert "no-station" in {one["code"] for one in answers["capture-repeatable"]["missing"]}
        olga.goto(f"/quality/datasets/{version}/readiness")
        expect(olga.locator("#capture-repeatable")).to_contain_text("images name no station")
        shots(olga, f"readiness-{number}")
        assert b"images name no station" in _saved(olga, "HTML")
        assert _saved(olga, "PDF").startswith(b"%PDF-")


def _saved(page: Page, form: str) -> bytes:
    with page.expect_download() as begun:
        page.get_by_role("link", name=form, exact=True).click()
    return begun.value.path().read_bytes()


def trail(story: Story) -> None:
    """Everything that was done stands in the trail, which is whole."""
    olga = story.people.olga
    olga.goto("/quality/audit?check=now")
    expect(olga.locator("body")).to_contain_text("whole")
    shots(olga, "audit")
