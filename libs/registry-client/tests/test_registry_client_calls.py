"""What the client does when answers are lost, busy, wrong or large; against a transport that fails on purpose."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from andon_registry_client import Problem, RegistryClient, Unreachable
from andon_registry_client import models as m

Answer = httpx.Response | Exception
CLOSING = m.ClosingIn(outcome="no-action", note="a false alarm", closed_by="dana")
PUBLISHED = {"published": True}


class Wire(httpx.BaseTransport):
    """Answers in turn with what it was given, and keeps what it was asked."""

    def __init__(self, *answers: Answer | Callable[[], Answer]) -> None:
        self._answers = list(answers)
        self.asked: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.asked.append(request)
        given = self._answers.pop(0)
        answer = given if isinstance(given, (httpx.Response, Exception)) else given()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **more: object) -> RegistryClient:
        return RegistryClient("http://registry", transport=self, pause_s=0.0, **more)  # type: ignore[arg-type]

    @property
    def keys(self) -> list[str]:
        return [request.headers["Idempotency-Key"] for request in self.asked]


class Broken(httpx.SyncByteStream):
    """An answer that stops in the middle."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"half"
        raise httpx.ReadError("gone")


def busy(status: int = 503) -> httpx.Response:
    body = {"type": "urn:x", "title": "unavailable", "status": status, "detail": "Send it again."}
    return httpx.Response(status, json=body, headers={"Retry-After": "1"})


def put_policy(client: RegistryClient) -> m.Published:
    return client.put_policy("p1", m.PolicyIn(bands=[], published_by="olga"))


@pytest.mark.parametrize(
    "first", [busy(), busy(429), httpx.Response(502), httpx.ReadError("gone"), httpx.ConnectError("refused")]
)
def test_a_write_is_repeated_with_the_key_that_it_had(first: Answer) -> None:
    wire = Wire(first, httpx.Response(201, json=PUBLISHED, headers={"Idempotent-Replayed": "true"}))
    done = put_policy(wire.client())
    assert done.published and done.repeated
    assert len(set(wire.keys)) == 1 and len(wire.keys) == 2
    assert wire.asked[0].content == wire.asked[1].content


def test_a_write_is_repeated_when_its_answer_breaks_off() -> None:
    wire = Wire(httpx.Response(201, stream=Broken()), httpx.Response(201, json=PUBLISHED))
    assert put_policy(wire.client()).published
    assert len(set(wire.keys)) == 1 and len(wire.keys) == 2


def test_each_write_has_a_key_of_its_own_or_the_given_one() -> None:
    wire = Wire(*(httpx.Response(200, json=PUBLISHED) for _ in range(3)))
    client = wire.client()
    assert not put_policy(client).repeated
    put_policy(client)
    client.put_policy("p1", m.PolicyIn(bands=[]), idempotency_key="mine")
    first, second, third = wire.keys
    assert first != second and third == "mine"


def test_what_may_have_been_done_is_not_repeated_where_that_would_do_it_twice() -> None:
    wire = Wire(httpx.ReadTimeout("silence"))
    with pytest.raises(Unreachable, match="POST /v1/accounts/mo/tokens: silence"):
        wire.client().make_token("mo", m.TokenIn(label="laptop"))
    wire = Wire(httpx.ConnectError("refused"), busy(), httpx.Response(502, text="<html>"))
    with pytest.raises(Problem) as caught:
        wire.client().make_token("mo", m.TokenIn(label="laptop"))
    assert (caught.value.status, caught.value.code) == (502, "no-problem")
    assert len(wire.asked) == 3


def test_repeats_come_to_an_end() -> None:
    wire = Wire(*(httpx.ReadError("gone") for _ in range(3)))
    with pytest.raises(Unreachable):
        wire.client(attempts=3).read_lines()
    wire = Wire(*(busy() for _ in range(3)))
    with pytest.raises(Problem, match=r"unavailable: Send it again\."):
        wire.client(attempts=3).read_lines()
    assert len(wire.asked) == 3


def test_a_refusal_is_not_repeated_and_says_all_it_knows() -> None:
    body = {
        "type": "urn:andonloop:problem:invalid-request",
        "title": "invalid-request",
        "status": 422,
        "detail": "See errors for each field.",
        "errors": [{"where": "body.note", "what": "Field required"}],
        "roles": ["qa-owner"],
    }
    wire = Wire(httpx.Response(422, json=body))
    with pytest.raises(Problem) as caught:
        wire.client().close_action("a1", CLOSING)
    assert (caught.value.code, caught.value.advice) == ("invalid-request", "See errors for each field.")
    assert [(wrong.where, wrong.what) for wrong in caught.value.errors] == [("body.note", "Field required")]
    assert caught.value.body["roles"] == ["qa-owner"]


def test_names_are_quoted_times_have_a_zone_and_only_what_was_set_is_sent() -> None:
    wire = Wire(httpx.Response(200, json={"published": False}), httpx.Response(404, json={}))
    client = wire.client(token="t0")
    client.put_station("line/a", "cell 1", m.StationIn(capture_standard_version="c1", takt_ms=5))
    with pytest.raises(Problem):
        client.read_release("..")
    assert [request.url.raw_path for request in wire.asked] == [
        b"/v1/stations/line%2Fa/cell%201",
        b"/v1/releases/%2E%2E",
    ]
    assert json.loads(wire.asked[0].content) == {"capture_standard_version": "c1", "takt_ms": 5}
    assert wire.asked[0].headers["Authorization"] == "Bearer t0"
    wire = Wire(httpx.Response(200, json={"items": [], "next_cursor": None}))
    wire.client().list_captures(since=datetime(2026, 5, 4, 8, tzinfo=UTC))
    assert dict(wire.asked[0].url.params) == {"since": "2026-05-04T08:00:00+00:00", "limit": "50"}


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "labels.zip"
    wire = Wire(*(lambda: httpx.Response(200, stream=Broken()) for _ in range(2)))
    with pytest.raises(Unreachable):
        wire.client(attempts=2).export_labels(path, format="coco")
    assert list(tmp_path.iterdir()) == []
    whole = httpx.Response(
        200, content=b"all of it", headers={"Content-Type": "application/zip", "ETag": '"e"'}
    )
    got = Wire(httpx.Response(200, stream=Broken()), whole).client().export_labels(path, format="coco")
    assert path.read_bytes() == b"all of it" and list(tmp_path.iterdir()) == [path]
    assert (got.size_bytes, got.media_type, got.etag, got.unchanged) == (9, "application/zip", '"e"', False)


def test_a_file_that_is_open_is_written_from_where_it_stood() -> None:
    held = io.BytesIO(b"head ")
    held.seek(0, io.SEEK_END)
    wire = Wire(httpx.Response(200, stream=Broken()), httpx.Response(200, content=b"all"))
    wire.client().read_manifest_file("0" * 64, held)
    assert held.getvalue() == b"head all"


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(b"mine")
    wire = Wire(httpx.Response(304, headers={"ETag": '"e"'}))
    got = wire.client().read_picture("i1", path, view="thumbnail", if_none_match='"e"')
    assert got.unchanged and path.read_bytes() == b"mine"
    assert wire.asked[0].headers["If-None-Match"] == '"e"'


@pytest.mark.parametrize("opened", [False, True])
def test_an_archive_is_sent_again_as_a_whole(tmp_path: Path, opened: bool) -> None:
    path = tmp_path / "labels.zip"
    path.write_bytes(b"PK of labels" * 20_000)
    wire = Wire(httpx.WriteError("gone"), busy(), httpx.Response(422, json={}))
    with path.open("rb") as file, pytest.raises(Problem):
        wire.client().import_archive(file if opened else path, source="s", mapping={"free": "good"})
    sizes = {len(request.content) for request in wire.asked}
    assert len(wire.asked) == 3 and len(sizes) == 1
    assert path.read_bytes() in wire.asked[2].content
    assert b'filename="labels.zip"' in wire.asked[2].content and b'{"free": "good"}' in wire.asked[2].content


def test_the_client_is_made_from_the_contract_as_it_is() -> None:
    script = Path(__file__).parents[1] / "generate.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
