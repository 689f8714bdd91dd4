"""Two people label the same images blind, the QA owner decides where they differ, and the figures say how far they
agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from playwright.sync_api import Page, expect

from . import labeling_story_room as room
from .labeling_story import Story
from .labeling_story_data import Picture
from .labeling_story_room import Deed, doing, whole, work_through
from .labeling_story_world import LENA, RAVI, shot, shots


def blind_labels(story: Story) -> None:
    """Both say what they see of each image, without seeing the other's word; four times it is another one."""
    one, defects = story.given.blind, story.given.defects(story.given.blind)
    first, second = defects[:2]
    words = {picture.name: [picture.class_name] * 2 for picture in one.pictures}
    good, other = one.of("good"), one.of(second)
    words[good[0].name][1] = first  # Ravi takes a grinding mark for a defect
    words[good[1].name][0] = second  # Lena sees something, Ravi nothing
    words[other[0].name][1] = first
    words[other[1].name][1] = "good"
    story.said = {name: (lena, ravi) for name, (lena, ravi) in words.items()}
    apart = one.of(first)[0]  # of one class, but not in one place
    batch = story.batches["Blind by two"]
    for page, number in ((story.people.lena, 0), (story.people.ravi, 1)):
        deeds = {
            picture.name: _seen(story, picture, words[picture.name][number], number, picture == apart)
            for picture in one.pictures
        }
        room.enter(page, "", batch)
        if number == 0:
            shots(page, "annotate", lambda page=page: expect(page.locator("#canvas")).to_be_visible())  # type: ignore[misc]
        story.answers += len(work_through(page, deeds))


def _seen(story: Story, picture: Picture, word: str, person: int, apart: bool) -> Deed:
    """What a person says of an image: nothing is wrong, a class as a whole, or a mark by one of the tools."""
    if word == "good":
        return room.GOOD
    first, second = story.given.defects(story.given.blind)[:2]
    if word != picture.class_name or word not in (first, second):
        return whole(story.key(word))
    x, y, width, height = picture.place(40)
    shift = width if apart and person else 2.0 * person
    drawing = story.draw_with(word)
    if word == first:
        corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
        left = picture.size[0] - width if x + width + shift > picture.size[0] else x + shift
        marked = room.polygon(*((left + cx - x, cy) for cx, cy in corners))
    else:
        middle = y + height / 2
        marked = room.stroke((x + shift, middle), (x + width / 2, middle), (x + width, middle + 4))
    return doing(drawing, marked, room.SEND)


def dispute(story: Story) -> None:
    """Where they differ, the QA owner decides: by one of the two answers, or by an own one."""
    olga, one, batch = story.people.olga, story.given.blind, story.batches["Blind by two"]
    truth = {picture.name: picture.class_name for picture in one.pictures}
    differ = {name for name, (lena, ravi) in story.said.items() if lena != ravi}
    apart = one.of(story.given.defects(one)[0])[0].name
    progress = story.world.get(f"/v1/batches/{batch}")["progress"]
    assert progress == {"disputed": len(differ) + 1, "done": len(truth) - len(differ) - 1}

    def by_hers(page: Page, right: bool) -> None:
        authors = page.locator("#answers").inner_text()
        page.keyboard.press("1" if (authors.index(LENA) < authors.index(RAVI)) == right else "2")
        page.keyboard.press("a")

    def by_own(page: Page) -> None:
        expect(page.locator("#history")).to_contain_text(RAVI)
        shots(page, "adjudicate")
        page.keyboard.press("o")
        expect(page.locator(".pane")).to_have_count(1)
        shot(page, "adjudicate-over")
        page.keyboard.press("e")
        page.wait_for_url("**/decide*")
        room.shown(page)
        expect(page.locator("#marks [data-mark]")).to_have_count(1)
        shot(page, "decide")
        page.keyboard.press("n")
        page.wait_for_url(lambda url: url.endswith(f"/annotate/adjudicate?batch={batch}"))

    deeds = {name: partial(by_hers, right=story.said[name][0] == truth[name]) for name in differ}
    room.enter(olga, "/adjudicate", batch)
    assert {*work_through(olga, {**deeds, apart: by_own})} == {*differ, apart}
    shot(olga, "nothing-waits")


def agreement(story: Story) -> None:
    """The figures are those of what was clicked, reckoned here once more."""
    olga, batch, pairs = story.people.olga, story.batches["Blind by two"], list(story.said.values())
    olga.goto(f"/quality/agreement?batch={batch}")
    overall = olga.locator("section[aria-labelledby='overall']")
    expect(overall.get_by_role("link", name=f"{len(pairs)} images")).to_be_visible()
    for name, value in reckoned(pairs).items():
        shown = overall.locator(".dot-rows div", has_text=name).locator("b")
        expect(shown).to_have_text(f"{value:.2f}")
    both = olga.locator("section[aria-labelledby='pairs'] tr", has_text=f"{LENA} / {RAVI}")
    expect(both.locator("td b").first).to_have_text(f"{cohen(pairs):.2f}")
    found = olga.locator("section[aria-labelledby='areas'] .dot-rows div", has_text="Found by both")
    expect(found.locator("b")).to_have_text(f"{found_by_both(story):.2f}")
    shots(olga, "agreement")
    overall.get_by_role("link", name=f"{len(pairs)} images").click()
    differ = sum(lena != ravi for lena, ravi in pairs)
    expect(olga.locator(".head")).to_contain_text(f"{differ} of {len(pairs)} differ")
    shots(olga, "agreement-images")
    olga.locator(".still").first.click()
    expect(olga.locator("body")).to_contain_text("Label in force")
    shot(olga, "agreement-image", whole=True)


def reckoned(pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Share of equal answers, Fleiss' kappa and Krippendorff's alpha of two people, from their definitions."""
    number, words = len(pairs), Counter(word for pair in pairs for word in pair)
    same = sum(lena == ravi for lena, ravi in pairs) / number
    chance = sum((count / (2 * number)) ** 2 for count in words.values())
    unlike = 1 - sum(count * (count - 1) for count in words.values()) / (2 * number * (2 * number - 1))
    return {
        "Same answer": same,
        "Fleiss' kappa": (same - chance) / (1 - chance),
        "Krippendorff's alpha": 1 - (1 - same) / unlike,
    }


def cohen(pairs: Sequence[tuple[str, str]]) -> float:
    """Cohen's kappa: chance is that of each person's own habits."""
    number = len(pairs)
    lena, ravi = (Counter(pair[who] for pair in pairs) for who in (0, 1))
    same = sum(one == other for one, other in pairs) / number
    chance = sum(lena[word] * ravi[word] for word in lena) / number**2
    return (same - chance) / (1 - chance)


def found_by_both(story: Story) -> float:
    """Marks that have a counterpart, of all marks: one lies apart, two of Lena's have none."""
    first, second = (len(story.given.blind.of(name)) for name in story.given.defects(story.given.blind)[:2])
    lena, ravi = first + second, first + second - 2
    return 2 * (ravi - 1) / (lena + ravi)
