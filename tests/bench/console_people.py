"""People labeling at once, through the registry's API, each with a connection and a session of their own.

    python tests/bench/console_people.py REGISTRY SECONDS THINK_S < tokens.json

Prints one JSON line: milliseconds by request, errors, and how many images were answered. What a person does with an
image: takes the task, fetches the picture of the one that follows, thinks, while two drafts are saved, answers. One
in ten reviews what others said. With a THINK_S of 0 nobody thinks: as fast as the registry lets them.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np

SPREAD = 0.5
"""Thinking takes THINK_S, give or take this share of it."""
KEPT_S = 4.0
"""An idle connection is kept for so long."""
CLASSES = ("scratch", "dent", "crack", "stain")


@dataclass
class Person:
    """One connection, and what it measured.

    Attributes:
        taken: Milliseconds by kind of request.
        wrong: What was answered where something else was expected.
    """

    address: str
    name: str
    token: str
    think_s: float
    dice: random.Random
    answered: int = 0
    taken: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)

    def work(self, until: float) -> None:
        """Label, or review, one image after the other until then."""
        self._line = http.client.HTTPConnection(self.address, timeout=30)
        self._used = time.monotonic()
        reviews = self.name.endswith("0")
        try:
            if self.think_s:
                time.sleep(self.dice.random() * self.think_s)  # nobody begins at the same moment
            while time.monotonic() < until:
                self._review() if reviews else self._label()
        except (OSError, http.client.HTTPException, LookupError, AssertionError) as error:
            self.wrong.append(f"{self.name}: {error!r}")

    def _label(self) -> None:
        work = self._ask("next", "POST", "/v1/work/next", {"person": self.name, "kind": "label"})
        task = work["task"]
        assert task is not None, "nothing is left to label"
        if work["following"]:
            self._ask("picture", "GET", work["following"][0]["image"]["picture_url"])
        said = self._annotation(task)
        draft = task["draft"] and task["draft"]["version"]
        for _ in range(2):
            self._think(1 / 3)
            body = {"person": self.name, "annotation": said}
            draft = self._ask("draft", "PUT", f"/v1/tasks/{task['task_id']}/draft", body, draft)["version"]
        self._think(1 / 3)
        body = {"person": self.name, "annotation": said}
        self._ask("answer", "POST", f"/v1/tasks/{task['task_id']}/annotations", body, task["version"])
        self.answered += 1

    def _review(self) -> None:
        work = self._ask("next review", "POST", "/v1/work/next", {"person": self.name, "kind": "review"})
        task = work["task"]
        if task is None:
            time.sleep(1.0)
            return
        if work["following"]:
            self._ask("picture", "GET", work["following"][0]["image"]["picture_url"])
        self._think(1)
        body = {
            "person": self.name,
            "decision": "approve",
            "note": "",
            "annotation_id": task["answers"][0]["annotation_id"],
        }
        self._ask("review", "POST", f"/v1/tasks/{task['task_id']}/reviews", body, task["version"])
        self.answered += 1

    def _annotation(self, task: dict[str, Any]) -> dict[str, Any]:
        shapes = [
            {
                "shape_id": f"s{number}",
                "class_name": self.dice.choice(CLASSES),
                "kind": "box",
                "box": [self.dice.randrange(1400), self.dice.randrange(1100), 60, 40],
                "instance": None,
                "origin": "person",
                "confirmed": True,
                "measurements": {},
            }
            for number in range(self.dice.randrange(1, 4))
        ]
        return {
            "verdict": "labeled",
            "classes": [],
            "shapes": shapes,
            "ambiguity": None,
            "taxonomy_version": task["taxonomy_version"],
        }

    def _think(self, share: float) -> None:
        if self.think_s:
            time.sleep(share * self.think_s * self.dice.uniform(1 - SPREAD, 1 + SPREAD))

    def _ask(self, kind: str, method: str, path: str, body: Any = None, version: int | None = None) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        if version is not None:
            headers["If-Match"] = f'"{version}"'
        if kind in ("answer", "review"):
            headers["Idempotency-Key"] = str(uuid4())
        sent = None if body is None else json.dumps(body)
        if time.monotonic() - self._used > KEPT_S:
            self._line.close()  # as a browser does, before the server closes it
        began = time.perf_counter()
        self._line.request(method, path, sent, headers)
        answer = self._line.getresponse()
        data = answer.read()
        self.taken[kind].append(1e3 * (time.perf_counter() - began))
        self._used = time.monotonic()
        if answer.status >= 300:
            self.wrong.append(f"{kind} of {self.name}: {answer.status} {data[:300]!r}")
            raise LookupError(path)
        return json.loads(data) if answer.headers.get_content_type() == "application/json" else None


def main(registry: str, seconds: float, think_s: float) -> None:
    """Let them work, and print what they saw."""
    address = urlsplit(registry).netloc
    crew = [
        Person(address, name, token, think_s, random.Random(number))
        for number, (name, token) in enumerate(json.load(sys.stdin).items())
    ]
    began = time.monotonic()
    threads = [threading.Thread(target=one.work, args=(began + seconds,)) for one in crew]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lasted = time.monotonic() - began
    taken: dict[str, list[float]] = defaultdict(list)
    for one in crew:
        for kind, values in one.taken.items():
            taken[kind] += values
    wrong = [what for one in crew for what in one.wrong]
    everything = [value for values in taken.values() for value in values]
    report = {
        "people": len(crew),
        "think_s": think_s,
        "seconds": lasted,
        "images_per_s": sum(one.answered for one in crew) / lasted,
        "requests_per_s": len(everything) / lasted,
        "errors": len(wrong),
        "first_errors": wrong[:5],
        "all": _percentiles(everything),
        "by_request": {
            kind: _percentiles(values) | {"requests": len(values)} for kind, values in sorted(taken.items())
        },
    }
    print(json.dumps(report), flush=True)


def _percentiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}_ms": round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)} if values else {}


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
