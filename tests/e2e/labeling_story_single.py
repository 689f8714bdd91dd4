"""One person labels, from what is proposed or by hand, and another one looks."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from . import labeling_story_room as room
from .labeling_story import Story
from .labeling_story_data import ImageSet, Picture
from .labeling_story_room import Deed, doing, image_of, keys, work_through
from .labeling_story_world import shot, shots


def single_labels(story: Story) -> None:
    """Lena takes over what the set's own labels propose, or draws her own. Three are of the wrong class, about one
    image the guide does not decide, and a reload loses nothing."""
    page, one = story.people.lena, story.given.single
    names = story.given.defects(one)
    doubtful = story.doubtful
    deeds = _confirmed(story, one)
    for picture in _wrong(one):
        other = names[(names.index(picture.class_name) + 1) % len(names)]
        deeds[picture.name] = doing(_marked(story, picture), keys("."), story.draw_with(other), room.SEND)
    said = room.ambiguous("between-classes", "It could be either.", doubtful.class_name)
    deeds[doubtful.name] = doing(room.discard_all, said, room.SEND)
    room.enter(page, "", story.batches["By Lena"])
    _outlives_a_reload(story, page)
    story.answers += len(work_through(page, deeds))


def _confirmed(story: Story, one: ImageSet) -> dict[str, Deed]:
    """Every third image gets marks of one's own, the others those that are proposed."""
    return {
        picture.name: doing(_marked(story, picture, own=number % 3 == 0), room.SEND)
        for number, picture in enumerate(one.pictures)
    }


def _marked(story: Story, picture: Picture, *, own: bool = False) -> Deed:
    def deed(page: Page) -> None:
        if own or not room.proposals(page):
            room.discard_all(page)
            story.draw_with(picture.class_name)(page)
            room.box(picture.place(20))(page)
        else:
            page.keyboard.press("Shift+a")

    return deed


def _outlives_a_reload(story: Story, page: Page) -> None:
    name = image_of(page)
    picture = next(picture for picture in story.given.single.pictures if picture.name == name)
    doing(room.discard_all, story.draw_with(picture.class_name), room.box(picture.place(20)))(page)
    expect(page.locator("#save")).to_have_attribute("data-state", "saved")
    page.reload()
    room.shown(page)
    assert image_of(page) == name
    expect(page.locator("#marks [data-mark]")).to_have_count(1)
    shot(page, "annotate-box")
    page.keyboard.press("q")
    shot(page, "annotate-ambiguous")
    page.keyboard.press("Escape")
    doing(keys("."), keys("Delete"))(page)
    expect(page.locator("#marks [data-mark]")).to_have_count(0)


def _wrong(one: ImageSet) -> list[Picture]:
    """What is labeled in a wrong way at first."""
    return [one.pictures[0], *one.pictures[-2:]]


def reviews(story: Story) -> None:
    """Ravi approves, or sends back with a note; Lena puts it right, and it is approved."""
    lena, ravi, one, batch = (
        story.people.lena,
        story.people.ravi,
        story.given.single,
        story.batches["By Lena"],
    )
    wrong = _wrong(one)
    notes = {picture.name: f"The guide calls this {picture.class_name}." for picture in wrong}
    room.enter(ravi, "/review", batch)
    shots(ravi, "review")
    done = work_through(ravi, {name: room.send_back(note) for name, note in notes.items()}, room.ACCEPT)
    assert {*done} == {picture.name for picture in one.pictures}
    room.enter(lena, "", batch)
    expect(lena.locator("#banner")).to_contain_text("The guide calls this")
    shot(lena, "annotate-sent-back")
    story.answers += len(
        work_through(
            lena,
            {
                picture.name: doing(keys("."), story.draw_with(picture.class_name), room.SEND)
                for picture in wrong
            },
        )
    )
    room.enter(ravi, "/review", batch)
    expect(ravi.locator("#history")).to_contain_text("Sent back")
    assert {*work_through(ravi, {}, room.ACCEPT)} == {*notes}
    assert story.world.get(f"/v1/batches/{batch}")["progress"] == {"done": len(one.pictures)}


def boards(story: Story) -> None:
    """The third set is Ravi's, and the QA owner looks at it."""
    ravi, olga, one, batch = story.people.ravi, story.people.olga, story.given.more, story.batches["By Ravi"]
    room.enter(ravi, "", batch)
    shot(ravi, "annotate-board")
    story.answers += len(work_through(ravi, _confirmed(story, one)))
    room.enter(olga, "/review", batch)
    work_through(olga, {}, room.ACCEPT)
    olga.goto(f"/quality/work/{batch}")
    expect(olga.locator(".legend")).to_contain_text(f"Done {len(one.pictures)}")
    shots(olga, "batch")
    olga.goto("/quality/work")
    shots(olga, "work")
    olga.goto("/quality/work/ambiguous")
    expect(olga.locator("body")).to_contain_text("It could be either.")
    shot(olga, "ambiguous", whole=True)
