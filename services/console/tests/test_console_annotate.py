"""The labeling room's routes: who is added, what is passed on, what is refused; and that the catalogue is whole."""

from __future__ import annotations

import re

import httpx
import pytest
from console.domain.annotate_texts import ENGLISH, texts
from console.rendering import HERE

from .annotate_registry import LabelingRoom, annotation, shape
from .conftest import identity

SCRIPTS = sorted((HERE / "static" / "annotate").glob("*.js"))
TEMPLATES = [HERE / "templates" / name for name in ("annotate_base.html", "annotate.html")]
TEMPLATES.append(HERE / "templates" / "review_annotations.html")


@pytest.fixture
def registry() -> LabelingRoom:
    return LabelingRoom()


@pytest.fixture
def ada(client: httpx.Client) -> httpx.Client:
    client.cookies.set("andon_reviewer", "ada")
    return client


def test_the_person_at_the_desk_is_added_and_no_other_is_taken(
    ada: httpx.Client, registry: LabelingRoom
) -> None:
    task = registry.add_task("1")
    body = {"annotation": annotation(shape()), "person": "olga"}
    answer = ada.put(f"/annotate/api/tasks/{task}/draft", json=body)
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"')
    assert registry.draft_of(task, "olga") is None
    assert registry.draft_of(task, "ada") == annotation(shape())


def test_a_stale_draft_comes_back_with_what_is_there(ada: httpx.Client, registry: LabelingRoom) -> None:
    at = f"/annotate/api/tasks/{registry.add_task('1')}/draft"
    assert ada.put(at, json={"annotation": annotation(shape())}).status_code == 200
    assert (
        ada.put(at, json={"annotation": annotation()}, headers={"If-Match": '"1"'}).headers["etag"] == '"2"'
    )
    stale = ada.put(at, json={"annotation": annotation(shape())}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert stale.json()["current"]["annotation"]["shapes"] == []


def test_an_answer_sent_twice_is_given_once(ada: httpx.Client, registry: LabelingRoom) -> None:
    task = registry.add_task("1")
    headers = {"If-Match": '"1"', "Idempotency-Key": "k"}
    for _ in range(2):
        sent = ada.post(
            f"/annotate/api/tasks/{task}/annotations",
            json={"annotation": annotation(shape())},
            headers=headers,
        )
        assert sent.status_code == 201
    assert len(registry.sent) == 1


def test_nobody_gets_no_work(client: httpx.Client, registry: LabelingRoom) -> None:
    registry.add_task("1")
    assert client.post("/annotate/api/next", json={"kind": "label"}).status_code == 401
    assert "Say who you are" in client.get("/annotate").text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_commands_from_elsewhere_are_refused(ada: httpx.Client, registry: LabelingRoom, method: str) -> None:
    at = f"/annotate/api/tasks/{registry.add_task('1')}/draft"
    answer = ada.request(
        method, at, json={"annotation": annotation()}, headers={"Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403
    assert registry.drafts == {}


def test_a_body_that_is_none_and_one_too_large_are_refused(ada: httpx.Client, registry: LabelingRoom) -> None:
    at = f"/annotate/api/tasks/{registry.add_task('1')}/draft"
    assert ada.put(at, content=b"[1]").status_code == 422
    assert ada.put(at, content=b"nothing").status_code == 422
    assert ada.put(at, content=b"x" * 16_000_001).status_code == 413


def test_a_registry_that_is_away_is_said_in_json(ada: httpx.Client, registry: LabelingRoom) -> None:
    registry.away = True
    answer = ada.post("/annotate/api/next", json={"kind": "label"})
    assert (answer.status_code, answer.json()["title"]) == (503, "registry-away")


def test_scripts_are_kept_as_one_set(ada: httpx.Client, registry: LabelingRoom) -> None:
    at = re.search(r'src="(/annotate/modules/\w+)/annotate.js"', ada.get("/annotate").text)
    assert at is not None
    now = ada.get(f"{at[1]}/editor.js")
    assert "immutable" in now.headers["cache-control"]
    assert now.headers["content-type"].startswith("text/javascript")
    assert ada.get("/annotate/modules/another/editor.js").headers["cache-control"] == "no-cache"
    assert ada.get(f"{at[1]}/settings.py").status_code == 404


def test_pictures_go_through_with_their_etag(ada: httpx.Client, registry: LabelingRoom) -> None:
    at = f"/annotate/images/{identity('image 1')}/screen"
    found = ada.get(at)
    assert (found.headers["content-type"], found.headers["etag"]) == ("image/png", '"p"')
    assert ada.get(f"/annotate/images/{identity('image 1')}/anything").status_code == 422


def used_texts() -> dict[str, str]:
    """Keys that scripts and templates name, with the file that does; a key that is put together ends with `*`."""
    found = {}
    for file in (*SCRIPTS, *TEMPLATES):
        text = file.read_text()
        for key, more in re.findall(r"""\bt\(["'`]([a-z][\w.-]*\.?)(\$\{|['"]\s*~)?""", text):
            found[key + ("*" if more else "")] = file.name
        for key in re.findall(r'"((?:keys|review\.key|tool|view|do)\.[\w.-]+)"', text):
            found[key] = file.name
        for either in re.findall(r'\bt\([^()"]*\? "([\w.-]+)" : "([\w.-]+)"', text):
            found |= dict.fromkeys(either, file.name)
    return found


def test_every_word_is_in_the_catalogue() -> None:
    used = used_texts()
    assert len(used) > 100
    for key, file in used.items():
        known = any(name.startswith(key[:-1]) for name in ENGLISH) if key.endswith("*") else key in ENGLISH
        assert known, f"{file} says {key}"
    assert texts("an unknown one") == dict(ENGLISH)
