"""Three people agree on what a defect is, and the data prove it: the labeling room from the first import to the second
dataset version, in a real Chromium, on the real services."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from andon_local.testing import Infra
from playwright.sync_api import Browser, Page, expect

from .labeling_story import FIRST, Story
from .labeling_story_blind import agreement, blind_labels, dispute
from .labeling_story_data import ImageSet, material
from .labeling_story_single import boards, reviews, single_labels
from .labeling_story_versions import (
    first_version,
    readiness,
    relabeled,
    second_version,
    split,
    trail,
)
from .labeling_story_world import LENA, RAVI, TOOLS, people, playing, shot, shots, until


@pytest.fixture
def story(infra: Infra, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with playing(infra, tmp_path_factory.mktemp("story")) as world, people(browser, world) as there:
        yield Story(world, there, material())


def test_people_agree_on_what_a_defect_is(story: Story) -> None:
    guide_and_imports(story)
    batches(story)
    blind_labels(story)
    dispute(story)
    agreement(story)
    single_labels(story)
    reviews(story)
    boards(story)
    first_version(story)
    split(story)
    relabeled(story)
    second_version(story)
    readiness(story)
    trail(story)
    assert story.answers >= 60
    assert story.people.wrong == []


def guide_and_imports(story: Story) -> None:
    """A guide is in force; the sets come in with their own labels, in their own formats."""
    world, given = story.world, story.given
    world.put(f"/v1/taxonomies/{FIRST}", {"classes": given.classes, "published_by": TOOLS})
    for one in given.sets:
        asked = {
            "source": one.source,
            "format": one.format,
            "mapping": json.dumps(one.mapping),
            "context": json.dumps({"part_number": one.part_number}),
            "imported_by": TOOLS,
        }
        begun = world.post("/v1/imports", files={"archive": (f"{one.source}.zip", one.archive)}, data=asked)
        at = f"/v1/imports/{begun['import_id']}"
        until(lambda at=at: world.get(at)["state"] not in ("waiting", "checking", "importing"), at)  # type: ignore[misc]
        ended = world.get(at)
        assert (ended["state"], ended["problems"]) == ("done", 0), world.get(f"{at}/problems")
        assert ended["total"] == ended["done"] == ended["added"] == len(one.pictures)


def batches(story: Story) -> None:
    """The QA owner hands out work: one set blind to both, one to Lena, one to Ravi."""
    olga, given = story.people.olga, story.given
    olga.goto("/quality/taxonomy")
    shot(olga, "taxonomy-first", whole=True)
    olga.goto("/quality/work")
    expect(olga.locator("body")).to_contain_text("No open batch")
    for name, one, mode, who in (
        ("Blind by two", given.blind, "consensus", f"{LENA}, {RAVI}"),
        ("By Lena", given.single, "single", LENA),
        ("By Ravi", given.more, "single", RAVI),
    ):
        story.batches[name] = _batch(olga, name, one, mode, who)
    olga.goto("/quality/work")
    expect(olga.locator("article")).to_have_count(3)


def _batch(page: Page, name: str, one: ImageSet, mode: str, who: str) -> str:
    page.goto("/quality/work/new?source=images")
    page.get_by_label("Part number").fill(one.part_number)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("input[name='image']")).to_have_count(len(one.pictures))
    page.get_by_label("Name").fill(name)
    page.get_by_label("Who labels").fill(who)
    page.get_by_label("Mode").select_option(mode)
    if mode == "consensus":
        shots(page, "batch-new")
    page.get_by_role("button", name="Make the batch").click()
    expect(page.locator(".said")).to_contain_text(f"{len(one.pictures)} images wait")
    return page.url.rsplit("/", 1)[1].split("?")[0]
