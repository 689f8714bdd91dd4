"""What changed between two dataset versions, over HTTP and from a shell."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from dataset_registry.datasets import main
from dataset_registry.domain.dataset_diff import Change, diff

from .conftest import Registry
from .dataset_room import PART_KEYS, cut, items, label
from .test_registry_api import problem


class TestDiff:
    def test_kept_parts_stay_and_what_changed_is_named(self, registry: Registry) -> None:
        label(registry, 0, 80)
        first = cut(registry, split=PART_KEYS)
        learned = next(i for i in items(registry, first).values() if i["class_name"] == "good")["capture_id"]
        body = {"approved_by": "ben", "labels": [{"capture_id": learned, "class_name": "crack"}]}
        known = items(registry, first)[learned]
        body["labels"][0] |= {"context": known["context"], "image": known["image"]}  # type: ignore[index]
        assert registry.http.post("/v1/labels", json=body).status_code == 201
        label(registry, 80, 120)
        second = cut(registry, split=PART_KEYS | {"keep": first["hash"], "seed": "another"})
        changed = registry.get(f"/v1/datasets/{first['hash']}/diff/{second['hash']}")
        assert changed["alarms"] == []
        assert changed["counts"]["added"] + changed["in_holdout"]["added"] == 40
        assert (changed["counts"]["moved"], changed["counts"]["removed"]) == (0, 0)
        assert changed["relabelled"] == [{"id": learned, "was": "good", "now": "crack"}]
        nothing = registry.get(f"/v1/datasets/{first['hash']}/diff/{first['hash']}")
        assert set(nothing["counts"].values()) == set(nothing["in_holdout"].values()) == {0}

    def test_what_leaves_the_holdout_is_shouted(self, registry: Registry) -> None:
        label(registry, 0, 80)
        first, second = cut(registry, split=PART_KEYS), cut(registry, split=PART_KEYS | {"seed": "another"})
        changed = registry.get(f"/v1/datasets/{first['hash']}/diff/{second['hash']}", limit=1)
        assert len(changed["alarms"]) == 2
        assert "LEFT THE HOLDOUT" in changed["alarms"][0]
        assert changed["counts"]["moved"] > len(changed["moved"]) == 1
        problem(
            registry.http.get(f"/v1/datasets/{first['hash']}/diff/{'0' * 64}"), 404, "unknown-dataset-version"
        )

    def test_inside_the_holdout_it_is_counted_not_named(self) -> None:
        def item(part: str, name: str = "good", **more: Any) -> dict[str, Any]:
            return {"class_name": name, "split": part, **more}

        found = diff(
            {"a": item("holdout"), "b": item("holdout"), "c": item("train"), "d": item("train", shapes=[1])},
            {
                "a": item("holdout", "crack"),
                "c": item("holdout"),
                "d": item("train", shapes=[2]),
                "e": item("holdout"),
            },
        )
        assert found.in_holdout == {"added": 1, "removed": 1, "relabelled": 1}
        assert (found.added, found.removed) == ([], [])
        assert found.relabelled == [Change("d", "good", "good")]
        assert found.moved == [Change("c", "train", "holdout")]
        assert len(found.alarms) == 1


@contextmanager
def served(registry: Registry) -> Iterator[str]:
    """The registry's answers to GET on a real socket."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = registry.http.get(self.path)
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TestCommand:
    def test_a_diff_is_one_command(self, registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
        label(registry, 0, 80)
        first = cut(registry, split=PART_KEYS)["hash"]
        label(registry, 80, 84)
        more = cut(registry, split=PART_KEYS | {"keep": first})["hash"]
        other = cut(registry, split=PART_KEYS | {"seed": "another"})["hash"]
        with served(registry) as url:
            assert main(["--url", url, "diff", first, more]) == 0
            said = capsys.readouterr()
            assert "moved" in said.out and said.err == ""
            assert main(["--url", url, "diff", first, other]) == 2
            assert "!!!" in capsys.readouterr().err
            assert main(["--url", url, "diff", first, more, "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["after"] == more
            assert main(["--url", url, "diff", first, "0" * 64]) == 1
            assert "unknown-dataset-version" in capsys.readouterr().err
        assert main(["--url", url, "diff", first, more]) == 1
        assert "no answer" in capsys.readouterr().err
