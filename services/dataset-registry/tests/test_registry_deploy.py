"""The command that promotes and withdraws releases, against a listener that answers as the registry does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from dataset_registry.deploy import main


class Listener:
    """Keeps what it was asked; answers with what the test wants."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: tuple[int, dict[str, Any]] = (200, {"release": "r2", "changed": True})
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.asked.append((self.path, json.loads(body)))
                self.send_response(listener.answer[0])
                self.end_headers()
                self.wfile.write(json.dumps(listener.answer[1]).encode())

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.mark.parametrize(
    ("words", "path", "body"),
    [
        (["promote", "r2"], "promote", {"mode": "active"}),
        (
            ["promote", "r2", "--canary", "0.1", "--by", "mo"],
            "promote",
            {"mode": "canary", "share": 0.1, "released_by": "mo"},
        ),
        (["promote", "r2", "--shadow"], "promote", {"mode": "shadow"}),
        (
            ["rollback", "r2", "--reason", "escapes"],
            "rollback",
            {"reason": "escapes"},
        ),
    ],
)
def test_words_become_a_command(
    listener: Listener,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    path: str,
    body: dict[str, Any],
) -> None:
    assert main(["--url", listener.url, *words, "--line", "line-a", "--station", "cell-1"]) == 0
    scope = {"scope": {"line": "line-a", "station": "cell-1"}}
    assert listener.asked == [(f"/v1/releases/r2/{path}", scope | body)]
    assert json.loads(capsys.readouterr().out)["changed"] is True


def test_a_refusal_is_said_with_its_advice(listener: Listener, capsys: pytest.CaptureFixture[str]) -> None:
    listener.answer = 409, {"title": "nothing-decides-here", "detail": "Promote one first."}
    assert main(["--url", listener.url, "promote", "r2", "--canary", "0.1"]) == 1
    assert capsys.readouterr().err == "refused: nothing-decides-here: Promote one first.\n"


def test_nobody_there_and_no_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--url", "http://127.0.0.1:9", "promote", "r2"]) == 1
    assert "no answer from http://127.0.0.1:9" in capsys.readouterr().err
    monkeypatch.delenv("ANDON_REGISTRY_API_URL", raising=False)
    with pytest.raises(SystemExit):
        main(["promote", "r2"])
