"""The stand-in with what the room's pages show: agreement, dataset versions, batches, doubts, images and a history."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from .annotate_registry import annotation, picture
from .conftest import CONTRACT, StandIn, _template, identity, validate

V1, V2 = "1" * 64, "2" * 64
SAID = {"a": ("blowhole", "crack"), "b": ("crack", "crack"), "c": ("blowhole", "blowhole")}
"""What ada and ben said of each image."""


def figure(value: float | None, low: float | None = None, high: float | None = None, units: int = 3) -> Any:
    return {"value": value, "low": low, "high": high, "units": units}


def agreed(**more: Any) -> dict[str, Any]:
    return {
        "images": 3,
        "people": ["ada", "ben"],
        "percent": figure(0.67, 0.33, 1.0),
        "fleiss": figure(0.37, -0.2, 0.9),
        "alpha": figure(0.44, -0.1, 0.92),
        "pairs": [{"people": ["ada", "ben"], "cohen": figure(0.4, 0.0, 0.9), "weighted": None}],
        "regions": {
            "alpha": figure(0.5),
            "detection": figure(0.8, 0.6, 0.9),
            "overlap": figure(0.71, 0.6, 0.8),
        },
        **more,
    }


class Room(StandIn):
    """Three images in one consensus batch, two dataset versions."""

    def __init__(self) -> None:
        super().__init__()
        self.report = agreed()
        self.slices = [{"name": "crack", **agreed()}, {"name": "blowhole", **agreed(alpha=figure(None))}]
        self.batch = {
            "batch_id": identity("batch"),
            "name": "Tiles of week 12",
            "mode": "consensus",
            "answers_wanted": 2,
            "people": ["ada", "ben"],
            "review": {"plan": "fraction", "fraction": 0.2},
            "taxonomy_version": "t1",
            "purpose": "How sure are we of blowholes?",
            "created_by": "dana",
            "created_at": self._time(-3600),
            "closed_at": None,
            "progress": {"to-label": 4, "disputed": 1, "done": 3},
        }
        self.doubts = {"boundary": 3, "not-in-guide": 1}
        self.versions = [self._version(V2, "Second cut", 9), self._version(V1, "First cut", 6)]
        self.leaked_parts = ["train", "test"]
        self.sent: list[tuple[str, dict[str, Any], str]] = []

    def _version(self, hash_: str, purpose: str, items: int) -> dict[str, Any]:
        warning = {
            "code": "thin",
            "about": "crack",
            "text": "has 4 independent parts: 1 error in 2 is possible.",
        }
        here = f"/v1/datasets/snapshots/{hash_}"
        return {
            "hash": hash_,
            "purpose": purpose,
            "created_by": "dana",
            "created_at": self._time(-7200),
            "items": items,
            "format": "andonloop.dataset/2",
            "filter": {},
            "plan": {},
            "classes": {"crack": 2, "blowhole": items - 2},
            "parts": {"train": items - 2, "test": 1, "holdout": 1},
            "segments": [
                {
                    "segment": "known-defect",
                    "purpose": "Defects that occur every week.",
                    "images": items,
                    "groups": 4,
                    "products": 1,
                    "stations": 1,
                    "cameras": 2,
                    "by_name": {"crack": 2},
                    "warnings": [warning],
                }
            ],
            "warnings": [warning],
            "leakage": {"verdict": "leaks", "advice": "Split by part.", "pairs": {"part": 1}},
            "holdout": {"items": 1, "classes": {"crack": 1}, "readings": 1, "sha256": "0" * 64},
            "manifest": {"size_bytes": 1000},
            "manifest_url": f"{here}/manifest",
        }

    async def _serve(self, request: Request, path: str) -> Response:
        if path.endswith("/picture"):
            return Response(picture(150), media_type="image/png")
        if path.endswith("/manifest"):
            rows = [
                {
                    "capture_id": identity(name),
                    "class_name": name,
                    "segment": "known-defect",
                    "split": "train",
                }
                for name in ("crack", "blowhole")
            ]
            return JSONResponse({"items": rows})
        body = json.loads(await request.body() or b"null")
        found = self._command_of_room("/" + path, body, request) if body else self._shown("/" + path, request)
        if found is None:
            return await super()._serve(request, path)
        said = CONTRACT["paths"][_template("/" + path)][request.method.lower()]
        if body:
            validate(body, said["requestBody"]["content"]["application/json"]["schema"])
        status = next(code for code in ("201", "200") if code in said["responses"])
        validate(found, said["responses"][status]["content"]["application/json"]["schema"])
        return JSONResponse(found, int(status))

    def _shown(self, path: str, request: Request) -> Any:
        query, parts = request.query_params, path.split("/")[2:]
        known = {
            "/v1/agreement": self.report
            | {"by": query.get("by"), "slices": self.slices if "by" in query else []},
            "/v1/batches": _listed([self.batch] if query.get("open") != "false" else []),
            f"/v1/batches/{identity('batch')}": self._detail(),
            "/v1/images": _listed([self._image(name) for name in SAID]),
            "/v1/ambiguous": self._doubts(query.get("reason")),
            "/v1/datasets/snapshots": _listed(self.versions),
            f"/v1/datasets/{V1}/diff/{V2}": self._diff(),
        }
        known |= {f"/v1/datasets/snapshots/{one['hash']}": one for one in self.versions}
        if parts[0] == "images" and len(parts) == 2:
            name = next(name for name in SAID if identity(name) == parts[1])
            return self._image(name) | {
                "history": self._history(name),
                "batch_ids": [identity("batch")],
                "perceptual_hash": None,
            }
        if parts[-1] == "leakage":
            return self._leakage()
        if parts[-1] == "readings":
            return _listed(
                [
                    {
                        "number": 1,
                        "by": "mo",
                        "release": "release-7",
                        "purpose": "release-evaluation",
                        "read_at": self._time(0),
                    }
                ]
            )
        return known.get(path)

    def _command_of_room(self, path: str, body: dict[str, Any], request: Request) -> Any:
        if not path.startswith("/v1/batches"):
            return None
        self.sent.append((path, body, request.headers["idempotency-key"]))
        if path.endswith("/images"):
            return {"added": len(body["images"]), "known": 0}
        if path.endswith("/close"):
            self.batch["closed_at"] = self._time(0)
        return self._detail()

    def _detail(self) -> dict[str, Any]:
        lot = {"lot": 1, "size": 8, "sample_size": 2, "accept": 0, "reviewed": 1, "nonconforming": 0}
        return self.batch | {"answers_by_person": {"ada": 3, "ben": 4}, "lots": [lot | {"state": "open"}]}

    def _doubts(self, reason: str | None) -> dict[str, Any]:
        rows = [
            {
                "annotation_id": identity(f"doubt {code}"),
                "author": "ada",
                "image_id": identity("a"),
                "name": "tile a",
                "made_at": self._time(0),
                "taxonomy_version": "t1",
                "thumbnail_url": "/",
                "ambiguity": {"reason": code, "note": "It fades out", "proposed_class": "crack"},
            }
            for code in self.doubts
            if reason in (None, code)
        ]
        return _listed(rows) | {"by_reason": self.doubts}

    def _diff(self) -> dict[str, Any]:
        entry = {"id": identity("a"), "was": "blowhole", "now": "crack"}
        return {
            "before": V1,
            "after": V2,
            "added": [entry | {"was": None}],
            "removed": [],
            "relabelled": [entry],
            "moved": [],
            "counts": {"added": 1, "removed": 0, "relabelled": 1, "moved": 0},
            "in_holdout": {"added": 1, "removed": 0, "relabelled": 0},
            "alarms": ["1 IMAGES LEFT THE HOLDOUT and can be learned from now."],
        }

    def _leakage(self) -> dict[str, Any]:
        pair = {"left": identity("a"), "right": identity("b"), "distance": 2, "parts": self.leaked_parts}
        empty = {"by_parts": {}, "examples": [], "images": 0, "pairs": 0, "unknown": 4}
        return {
            "verdict": "leaks",
            "advice": "Split by part and neighbour, then measure again.",
            "leaks": [
                {
                    "kind": "neighbour",
                    "pairs": 1,
                    "images": 2,
                    "unknown": 0,
                    "by_parts": {"train / test": 1},
                    "examples": [pair],
                },
                empty | {"kind": "batch"},
            ],
        }

    def _history(self, name: str) -> list[dict[str, Any]]:
        return [
            {
                "annotation_id": identity(f"{name} {person}"),
                "author": person,
                "made_at": self._time(at),
                "origin": "person",
                "supersedes": None,
                "task_id": identity(f"task {name}"),
                "decisions": [],
                "annotation": annotation(classes=[said]),
            }
            for at, (person, said) in enumerate(zip(("ada", "ben"), SAID[name], strict=True))
        ]

    def _image(self, name: str) -> dict[str, Any]:
        return {
            "image_id": identity(name),
            "name": f"tile {name}",
            "origin": "import",
            "width": 320,
            "height": 240,
            "context": {"part_number": "T-100", "camera": f"cam-{name}"},
            "part_id": f"part {name}",
            "mm_per_pixel": None,
            "captured_at": self._time(0),
            "segment": None,
            "synthetic": False,
            "added_at": self._time(0),
            "added_by": "dana",
            "blind": False,
            "picture_url": "/",
            "thumbnail_url": "/",
            "label": None,
        }


def _listed(rows: list[Any]) -> dict[str, Any]:
    return {"items": rows, "next_cursor": None}
