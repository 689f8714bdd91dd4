"""The console over a stand-in of the registry, which keeps the real one's contract.

Every answer of the stand-in and every body the console sends is checked against contracts/openapi, so the two sides
cannot drift apart while they are tested alone.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import httpx
import jsonschema
import pytest
import uvicorn
from andon_chassis.clock import SystemClock
from andon_chassis.health import Health
from console.adapters.registry import HttpRegistry
from console.api import create_app
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from playwright.sync_api import Browser, Page

PATIENCE_S = 20.0

CONTRACT = json.loads(
    (Path(__file__).parents[3] / "contracts" / "openapi" / "dataset-registry.json").read_text()
)
SIZES = {"desktop": (1440, 900), "tablet": (834, 1112), "tablet on its side": (1112, 834)}
CLASSES = [
    {"name": "good", "severity": "minor", "definition": "", "is_defect": False},
    {"name": "crack", "severity": "critical", "definition": "A line through the surface", "is_defect": True},
    {"name": "dead-cell", "severity": "major", "definition": "", "is_defect": True},
]


CRACK = {
    "class_name": "crack",
    "x": 4.0,
    "y": 20.0,
    "width": 40.0,
    "height": 6.0,
    "score": 0.83,
    "outline": [4.0, 22.0, 44.0, 20.0, 44.0, 24.0, 5.0, 26.0],
    "measurements": {"length_px": 41.2, "length_mm": 8.24, "width_px": 3.96, "angle_deg": -3.2},
    "key_points": {"start": [4.0, 24.0], "end": [44.0, 22.0]},
}
CARD = {
    "release": "release-7",
    "task": "classification",
    "classes": ["crack", "dead-cell"],
    "severities": {"crack": "critical"},
    "metrics": {
        "auroc": {"value": 0.914444, "low": 0.86, "high": 0.95},
        "false_escape_rate": {"value": 0.012, "low": 0.0, "high": 0.031},
    },
    "cross_validated": {"auroc": 0.9},
    "confusion": {"crack": {"crack": 40, "normal": 2}, "normal": {"normal": 88, "crack": 5}},
    "thresholds": {"pass_below": 0.19, "reject_from": 0.62},
    "costs": {"escape": 8.0, "false_reject": 1.0, "review": 0.25},
    "guarantees": [
        {
            "class": "crack",
            "rate": 0.01,
            "confidence": 0.95,
            "threshold": None,
            "bound": None,
            "parts": 35,
            "verdict": "not enough data",
            "advice": "At least 299 independent parts are needed; there are 35.",
        }
    ],
    "calibration": {"method": "platt, out-of-fold", "defect": {"slope": 1.12, "offset": -0.42}},
    "dataset": {
        "name": "cells",
        "hash": "c4",
        "images": {"train": 198, "validation": 70},
        "classes_left_out": {"fray": 3},
    },
    "preprocessing": {"width": 224, "height": 224, "fit": "stretch", "interpolation": "area"},
    "chosen_by_validation": {"anomaly": 0.87, "classification": 0.92},
    "trained_at": "2026-03-01T12:00:00+00:00",
    "files": {"model.onnx": "5e26"},
}


def region(**more: Any) -> dict[str, Any]:
    """A plain rectangle."""
    place = {"x": 10.0, "y": 12.0, "width": 5.0, "height": 5.0}
    plain = {"class_name": "crack", "score": 0.6, "outline": [], "measurements": {}, "key_points": {}}
    return plain | place | more


def identity(name: str) -> str:
    return str(uuid5(NAMESPACE_OID, name))


def grey_png(size: int = 64, shade: int = 120) -> bytes:
    """A grey square, made by hand: no image library is needed to test a page."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = size.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    rows = b"".join(b"\0" + bytes((shade + x) % 256 for x in range(size)) for _ in range(size))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class StandIn:
    """Answers as the registry would, from plain lists that a test may change."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.captures: list[dict[str, Any]] = []
        self.reviews: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self.stations = {("line-a", "cell-1"): True, ("line-b", "cell-1"): True}
        self.taxonomies = [
            {"version": "t1", "classes": CLASSES, "published_by": "olga", "published_at": self._time(0)}
        ]
        self.releases: list[dict[str, Any]] = []
        self.deployments: list[dict[str, Any]] = []
        self.cards: dict[str, dict[str, Any]] = {}
        self.pages: dict[str, str] = {}
        self.commands: list[tuple[str, dict[str, Any], str]] = []
        self.refuse: tuple[int, str, str] | None = None
        self.away = False
        self.asked: Counter[str] = Counter()
        self.app = FastAPI()
        self.app.add_api_route("/{path:path}", self._serve, methods=["GET", "POST"])

    # --- what a test puts in

    def add_capture(
        self, name: str, kind: str | None = "pass", score: float | None = 0.1, **more: Any
    ) -> str:
        here = f"/v1/captures/{identity(name)}"
        line, station = more.pop("place", ("line-a", "cell-1"))
        disposition = None
        if kind is not None:
            disposition = {
                "disposition_id": identity(f"d {name}"),
                "revision": 1,
                "corrects": None,
                "kind": kind,
                "reasons": ["uncertain-band"] if kind == "route-to-reviewer" else ["confident"],
                "severity": "critical" if kind == "reject" else None,
                "class_name": "crack" if kind == "reject" else None,
                "decided_by": "policy",
                "decided_at": self._time(0.1),
                "latency_ms": 87.0,
                "evidence": {"audit_verdict": "accepted", "audit_reasons": [], "policy_version": "p1"},
            }
        self.captures.insert(
            0,
            {
                "capture_id": identity(name),
                "line": line,
                "station": station,
                "context": {"line": line, "station": station, "part_id": more.pop("part_id", f"part {name}")},
                "missing": more.pop("missing", ["operator"]),
                "captured_at": self._time(0),
                "received_at": self._time(0),
                "image": {
                    "url": f"{here}/image",
                    "sha256": "0" * 64,
                    "media_type": "image/png",
                    "size_bytes": 100,
                    "width": 64,
                    "height": 64,
                    "channels": 1,
                    "bit_depth": 8,
                },
                "heat_map_url": f"{here}/heat-map" if score is not None else None,
                "disposition": disposition,
                "model_release": "release-7",
                "predicted_class": "crack" if (score or 0) > 0.5 else "good",
                "defect_score": score,
                "scores": {} if score is None else {"crack": score, "good": 1 - score},
                "regions": more.pop("regions", []),
            },
        )
        return identity(name)

    def add_review(self, name: str, state: str = "open", **more: Any) -> str:
        regions = more.pop("regions", [])
        capture_id = self.add_capture(name, "route-to-reviewer", 0.5, regions=regions)
        here = f"/v1/captures/{capture_id}"
        given = [
            {
                "reviewer": reviewer,
                "verdict": verdict,
                "class_name": class_name,
                "note": note,
                "answered_at": self._time(1),
                "adjudication": False,
            }
            for reviewer, verdict, class_name, note in (
                ("ada", "good", "good", "A grinding mark"),
                ("ben", "defect", "crack", None),
            )
        ]
        disputed = state == "disputed"
        self.reviews.append(
            {
                "review_id": identity(f"r {name}"),
                "disposition_id": identity(f"d {name}"),
                "capture_id": capture_id,
                "line": "line-a",
                "station": "cell-1",
                "context": {},
                "image_url": f"{here}/image",
                "heat_map_url": f"{here}/heat-map",
                "regions": regions,
                "reasons": ["uncertain-band"],
                "proposed_class": "crack",
                "defect_score": 0.5,
                "answers_wanted": 2 if disputed else 1,
                "answers_given": 2 if disputed else 0,
                "state": state,
                "due_at": self._time(600 + len(self.reviews)),
                "requested_at": self._time(0),
                "captured_at": self._time(0),
                "verdict": None,
                "class_name": None,
                "agreed": None,
                "decided_by": None,
                "completed_at": None,
                "answers": given if disputed else [],
                **more,
            }
        )
        return identity(f"r {name}")

    def add_action(self, name: str, **more: Any) -> str:
        evidence = [self.add_capture(f"{name} {n}", "reject", 0.9) for n in range(3)]
        self.actions.append(
            {
                "action_id": identity(f"a {name}"),
                "kind": "add-good-examples",
                "title": "Add good examples",
                "owner": "data-lead",
                "due_at": self._time(86_400),
                "opened_at": self._time(0),
                "state": "open",
                "outcome": None,
                "proof": {},
                "note": None,
                "closed_by": None,
                "closed_at": None,
                "signal": {
                    "signal_id": identity(f"s {name}"),
                    "kind": "false-reject-spike",
                    "scope": {
                        "line": "line-a",
                        "station": "cell-1",
                        "product_variant": None,
                        "class_name": "crack",
                    },
                    "window_start": self._time(-300),
                    "window_end": self._time(0),
                    "measured": 0.21,
                    "expected": 0.03,
                    "threshold": 0.1,
                    "unit": "share",
                    "sample_size": 60,
                    "evidence": evidence,
                    "suspected_cause": "threshold",
                    "explanation": "21 % of the rejects were good parts.",
                    "raised_at": self._time(0),
                },
                **more,
            }
        )
        return identity(f"a {name}")

    def add_release(self, name: str, card: dict[str, Any] | None = None, /, **pages: str) -> str:
        """A release; each of `pages` is a report by name, with its HTML."""
        here = f"/v1/releases/{name}"
        self.cards |= {f"{here}/card": card} if card else {}
        self.pages |= {f"{here}/reports/{report}": text for report, text in pages.items()}
        self.releases.insert(
            0,
            {
                "release": name,
                "bundle": {},
                "task": "classification",
                "classes": ["crack", "dead-cell"],
                "dataset_hash": "0" * 64,
                "metrics": {
                    "accuracy": 0.85,
                    "auroc": 0.914444,
                    "false_escape_rate": 0.012,
                    "review_share": 0.2,
                },
                "pass_below": 0.19,
                "reject_from": 0.62,
                "trained_at": self._time(-7200),
                "card_url": f"{here}/card" if card else None,
                "reports": [
                    {"name": report, "url": f"{here}/reports/{report}", "size_bytes": len(text)}
                    for report, text in sorted(pages.items())
                ],
            },
        )
        return name

    def deploy(
        self,
        release: str,
        mode: str = "active",
        place: tuple[str | None, str | None] = (None, None),
        **more: Any,
    ) -> None:
        line, station = place
        self.deployments.append(
            {
                "mode": mode,
                "line": line,
                "station": station,
                "release": release,
                "share": 1.0,
                "from_release": None,
                "rolled_back": False,
                "reason": None,
                "ordered_by": "mo",
                "ordered_at": self._time(-3600),
                **more,
            }
        )

    # --- what the console gets

    async def _serve(self, request: Request, path: str) -> Response:
        if self.away:
            raise httpx.ConnectError("gone")
        template, method = _template("/" + path), request.method.lower()
        if method == "post":
            body = await request.json()
            validate(
                body,
                CONTRACT["paths"][template]["post"]["requestBody"]["content"]["application/json"]["schema"],
            )
            self.commands.append(("/" + path, body, request.headers["idempotency-key"]))
            if self.refuse:
                status, reason, advice = self.refuse
                return JSONResponse({"title": reason, "status": status, "detail": advice}, status)
            answer = self._command("/" + path, body)
        elif path.endswith(("/image", "/heat-map")):
            headers = {"ETag": '"e"', "Cache-Control": "private, max-age=31536000, immutable"}
            if request.headers.get("if-none-match") == '"e"':
                return Response(status_code=304, headers=headers)
            return Response(grey_png(), media_type="image/png", headers=headers)
        elif "/" + path in self.pages:
            return Response(self.pages["/" + path], media_type="text/html", headers={"ETag": '"p"'})
        else:
            found = self._read("/" + path, request.query_params)
            if found is None:
                problem = {"title": "unknown", "status": 404, "detail": "No capture of that name is known."}
                return JSONResponse(problem, 404)
            answer = found
        validate(
            answer,
            CONTRACT["paths"][template][method]["responses"]["200"]["content"]["application/json"]["schema"],
        )
        return JSONResponse(answer)

    def _read(self, path: str, query: Any) -> Any:
        self.asked[path] += 1
        if path == "/v1/lines":
            return {"items": self._lines(), "next_cursor": None}
        if path == "/v1/people":
            return {"items": [{"name": "olga", "roles": ["qa-owner"]}], "next_cursor": None}
        if path == "/v1/taxonomies":
            return {"items": self.taxonomies, "next_cursor": None}
        if path == "/v1/captures":
            return self._page(
                self.captures,
                lambda c: (
                    all(c[n] == query[n] for n in ("line", "station") if n in query)
                    and query.get("kind") in (None, (c["disposition"] or {}).get("kind"))
                ),
                query,
            )
        if path == "/v1/reviews":
            return self._page(self.reviews, lambda r: r["state"] == query["state"], query)
        if path.startswith("/v1/reviews/"):
            return next((r for r in self.reviews if path == f"/v1/reviews/{r['review_id']}"), None)
        if path == "/v1/releases":
            return self._page(self.releases, lambda r: True, query)
        if path == "/v1/deployments":
            return {"items": self.deployments, "next_cursor": None}
        if path.startswith("/v1/releases/"):
            known = {f"/v1/releases/{r['release']}": r for r in self.releases} | self.cards
            return known.get(path)
        if path == "/v1/actions":
            return self._page(self.actions, lambda a: a["state"] == query["state"], query)
        found = next((c for c in self.captures if path == f"/v1/captures/{c['capture_id']}"), None)
        if found is None:
            return None
        reviews = [r for r in self.reviews if r["capture_id"] == found["capture_id"]]
        history = [found["disposition"]] if found["disposition"] else []
        return found | {"history": history, "reviews": reviews, "labels": [], "findings": []}

    def _command(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        things = [("review_id", r) for r in self.reviews] + [("action_id", a) for a in self.actions]
        thing = next(thing for name, thing in things if thing[name] in path)
        if "/actions/" in path:
            thing |= {"state": "closed", "closed_at": self._time(5), **body}
        else:
            thing |= {"state": "completed", "verdict": body["verdict"], "decided_by": body["reviewer"]}
        return dict(thing)

    def _page(
        self, rows: list[dict[str, Any]], wanted: Callable[[dict[str, Any]], bool], query: Any
    ) -> dict[str, Any]:
        """A cursor names a row, as the registry's does: what is answered meanwhile moves no page."""
        start, limit = int(query.get("cursor", 0)), int(query["limit"])
        found = [number for number in range(start, len(rows)) if wanted(rows[number])]
        more = str(found[limit]) if limit < len(found) else None
        return {"items": [rows[number] for number in found[:limit]], "next_cursor": more}

    def _lines(self) -> list[dict[str, Any]]:
        lines: dict[str, list[dict[str, Any]]] = {}
        for (line, station), registered in self.stations.items():
            mine = [c for c in self.captures if (c["line"], c["station"]) == (line, station)]
            lines.setdefault(line, []).append(
                self._counts(mine)
                | {
                    "station": station,
                    "registered": registered,
                    "capture_standard_version": "1" if registered else None,
                    "takt_ms": 900 if registered else None,
                    "active_release": "release-7",
                    "last_capture_id": mine[0]["capture_id"] if mine else None,
                    "last_capture_at": mine[0]["received_at"] if mine else None,
                }
            )
        return [
            self._counts([c for c in self.captures if c["line"] == line])
            | {"line": line, "stations": stations}
            for line, stations in lines.items()
        ]

    def _counts(self, captures: list[dict[str, Any]]) -> dict[str, Any]:
        ids = {c["capture_id"] for c in captures}
        kinds = [c["disposition"]["kind"] for c in captures if c["disposition"]]
        waiting = [r["state"] for r in self.reviews if r["capture_id"] in ids and r["state"] != "completed"]
        latency = {"p50": 80.0, "p95": 190.0, "p99": 250.0}
        return {
            "captured": len(captures),
            "decided": len(kinds),
            "dispositions": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "corrected": 0,
            "in_review": len(waiting),
            "disputed": waiting.count("disputed"),
            "reviews_requested": len(waiting),
            "reviews_completed": 0,
            "labelled": 0,
            "signals": {},
            "open_actions": sum(
                a["signal"]["evidence"][0] in ids for a in self.actions if a["state"] == "open"
            ),
            "actions_opened": {},
            "actions_closed": {},
            "mes_delivered": 0,
            "findings": {},
            "missing_metadata": dict(Counter(name for c in captures for name in c["missing"])),
            "latency_ms": latency,
            "recent_latency_ms": latency,
            "captured_per_minute": [n % 5 for n in range(30)],
        }

    def _time(self, after_s: float) -> str:
        return (self.now + timedelta(seconds=after_s)).isoformat()


def validate(value: Any, schema: dict[str, Any]) -> None:
    """Raise when the value is not what the registry's contract says."""
    jsonschema.validate(value, schema | {"components": CONTRACT["components"]})


def _template(path: str) -> str:
    for template in CONTRACT["paths"]:
        if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path):
            return str(template)
    raise AssertionError(f"the registry has no {path}")


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The app on a free port, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        waited = threading.Event()
        while not server.started:
            assert thread.is_alive(), "the console did not start"
            waited.wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def registry() -> StandIn:
    return StandIn()


class ForwardClock(SystemClock):
    """Real time, which a test may push ahead or stop."""

    ahead_s = 0.0
    stopped: float | None = None

    def monotonic(self) -> float:
        return self.stopped if self.stopped is not None else super().monotonic() + self.ahead_s


@pytest.fixture
def clock() -> ForwardClock:
    return ForwardClock()


@pytest.fixture
def app(registry: StandIn, clock: ForwardClock) -> FastAPI:
    transport = httpx.ASGITransport(app=registry.app)
    return create_app(HttpRegistry("http://registry", transport), clock, Health(clock), sign_in="on-trust")


@pytest.fixture
def console(app: FastAPI) -> Iterator[str]:
    """Where the console answers."""
    with serving(app) as address:
        yield address


@pytest.fixture
def client(console: str) -> Iterator[httpx.Client]:
    """A browser's manners without a browser."""
    headers = {"Origin": console, "Host": console.split("://")[1]}
    with httpx.Client(base_url=console, headers=headers) as made:
        yield made


@pytest.fixture
def open_page(browser: Browser, console: str) -> Iterator[Callable[..., Page]]:
    """Opens a page as somebody; afterwards nothing may have gone wrong in the browser."""
    contexts, wrong = list[Any](), list[str]()

    def opened(path: str = "/", person: str | None = "ada", **options: Any) -> Page:
        width, height = SIZES[options.pop("size", "desktop")]
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        if person:
            context.add_cookies([{"name": "andon_reviewer", "value": person, "url": console}])
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(console + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    # A test that takes the registry away sees these; a page in a sandbox is told that its script was blocked.
    expected = ("503", "ERR_", "Failed to load resource", "Blocked script execution")
    assert [text for text in wrong if not any(part in text for part in expected)] == []


def until(page: Page, condition: str) -> None:
    """Waits until a function of the page's is true.

    Playwright's own waiting evaluates text inside the page, which the content security policy forbids.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"not true in {PATIENCE_S} s: {condition}"
        page.wait_for_timeout(20)
