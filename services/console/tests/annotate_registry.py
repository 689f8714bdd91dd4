"""The stand-in with a labeling room: tasks, drafts with versions, answers, reviews, pictures, a guide."""

from __future__ import annotations

import json
import zlib
from typing import Any

import httpx
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from .conftest import CONTRACT, StandIn, _template, identity, validate

WIDTH, HEIGHT = 320, 240
BLOB = (120, 80, 60, 50)
"""x, y, width, height of the dark place in every picture."""

GUIDE = [
    {"name": "good", "severity": "minor", "is_defect": False, "region_rule": "classify"},
    {
        "name": "crack",
        "severity": "critical",
        "region_rule": "segment",
        "definition": "A dark line with a sharp edge that goes through the surface.",
        "boundary_rule": "To the last pixel that is darker than its surroundings.",
        "acceptable_variation": "Grinding marks that run parallel over the whole tile.",
        "ambiguous_rule": "Shorter than 2 mm: mark it as ambiguous.",
        "escalation_path": "Olga, QA owner.",
        "examples": [
            {
                "image_id": identity("gold"),
                "kind": "gold",
                "severity": "critical",
                "note": "Edge to edge",
            },
            {
                "image_id": identity("negative"),
                "kind": "hard-negative",
                "severity": None,
                "note": "A grinding mark",
            },
        ],
    },
    {"name": "blowhole", "severity": "major", "region_rule": "box", "definition": "A round hole."},
    {"name": "fray", "severity": "minor", "region_rule": None, "definition": "A frayed edge."},
    {
        "name": "uneven",
        "severity": "monitor-only",
        "region_rule": "classify",
        "definition": "Shading over the whole tile.",
    },
]
TEXTS = ("definition", "boundary_rule", "acceptable_variation", "ambiguous_rule", "escalation_path")


def shape(kind: str = "box", **more: Any) -> dict[str, Any]:
    """A box of a blowhole, as the registry gives it."""
    place: dict[str, Any] = {"box": [120.0, 80.0, 60.0, 50.0]} if kind == "box" else {}
    return {
        "shape_id": "s1",
        "class_name": "blowhole",
        "kind": kind,
        **place,
        "instance": None,
        "origin": "person",
        "confirmed": True,
        "measurements": {},
        **more,
    }


def annotation(*shapes: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What somebody says."""
    plain = {"verdict": "labeled", "classes": [], "ambiguity": None, "taxonomy_version": "t1"}
    return {**plain, "shapes": list(shapes), **more}


def picture(shade: int) -> bytes:
    """A grey PNG with a dark place; by hand, as no image library is needed to test a page."""
    x, y, w, h = BLOB
    rows = []
    for row in range(HEIGHT):
        line = bytearray((shade + (column * 7 + row * 3) % 5) % 256 for column in range(WIDTH))
        if y <= row < y + h:
            line[x : x + w] = bytes([40]) * w
        rows.append(b"\0" + bytes(line))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = WIDTH.to_bytes(4, "big") + HEIGHT.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(b"".join(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


class LabelingRoom(StandIn):
    """Tasks in the order in which they were added; one person's claim and drafts."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[dict[str, Any]] = []
        self.drafts: dict[tuple[str, str], dict[str, Any]] = {}
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.keys: set[str] = set()
        self.next_refusal: dict[str, Any] | None = None
        self.histories: dict[str, list[dict[str, Any]]] = {}
        plain = {name: "" for name in TEXTS} | {"is_defect": True, "colour": None, "examples": []}
        more = {"renamed_from": None, "split_from": None, "merged_from": []}
        self.guide = [plain | more | row for row in GUIDE]
        self.app.add_api_route("/{path:path}", self._serve, methods=["PUT", "DELETE"])

    def add_task(self, name: str, kind: str = "label", **more: Any) -> str:
        image = identity(f"image {name}")
        task_id = identity(f"task {name}")
        state = {"label": "to-label", "review": "to-review", "adjudicate": "disputed"}[kind]
        self.tasks.append(
            {
                "task_id": task_id,
                "batch_id": identity("batch"),
                "batch_name": "Tiles of March",
                "kind": kind,
                "state": state,
                "version": 1,
                "image": {
                    "image_id": image,
                    "name": f"{name}.png",
                    "width": WIDTH,
                    "height": HEIGHT,
                    "picture_url": f"/v1/images/{image}/picture?view=screen",
                    "thumbnail_url": f"/v1/images/{image}/picture?view=thumbnail",
                    "context": {"line": "line-a"},
                    "part_id": f"part-{name}",
                    "mm_per_pixel": 0.1,
                    "captured_at": self._time(0),
                },
                "taxonomy_version": "t1",
                "wanted": 1,
                "priority": 0.5,
                "priority_reason": "new surface",
                "draft": None,
                "proposal": None,
                "note": None,
                "answers": [],
                "previous_of_part": [],
                "claim_expires_at": None,
                **more,
            }
        )
        return task_id

    def draft_of(self, task_id: str, person: str = "ada") -> dict[str, Any] | None:
        """What a person's draft says; None without one."""
        held = self.drafts.get((task_id, person))
        found: dict[str, Any] | None = held["annotation"] if held else None
        return found

    # --- what the console gets

    async def _serve(self, request: Request, path: str) -> Response:
        if self.away:
            raise httpx.ConnectError("gone")
        if "/picture" in path:
            headers = {"ETag": '"p"', "Cache-Control": "private, max-age=31536000, immutable"}
            return Response(picture(150 + len(path) % 40), media_type="image/png", headers=headers)
        body = json.loads(await request.body() or b"null")
        answer = self._labeling(request, "/" + path, body)
        if answer is None:
            return await super()._serve(request, path)
        status, found, headers = answer
        self._hold_to_contract(request.method.lower(), "/" + path, body, status, found)
        return JSONResponse(found, status, headers) if status != 204 else Response(status_code=204)

    def _hold_to_contract(self, method: str, path: str, body: Any, status: int, found: Any) -> None:
        said = CONTRACT["paths"][_template(path)][method]
        if body is not None:
            validate(body, said["requestBody"]["content"]["application/json"]["schema"])
        if 200 <= status < 204:
            validate(found, said["responses"][str(status)]["content"]["application/json"]["schema"])

    def _labeling(self, request: Request, path: str, body: Any) -> tuple[int, Any, dict[str, str]] | None:
        parts = path.split("/")[2:]
        if parts == ["batches"]:
            return 200, {"items": [], "next_cursor": None}, {}
        if parts[0] == "taxonomies" and len(parts) == 2:
            place = {"published_by": "olga", "published_at": self._time(0), "previous": None}
            return (
                200,
                {
                    "version": "t1",
                    "classes": self.guide,
                    "rules": [],
                    **place,
                    "replaced_at": None,
                    "publication": None,
                },
                {},
            )
        if parts == ["work", "next"]:
            waiting = [
                self._seen(task, body["person"])
                for task in self.tasks
                if task["kind"] == body["kind"]
                and task["state"] != "done"
                and task["task_id"] != body.get("after")
            ]
            return 200, {"task": waiting[0] if waiting else None, "following": waiting[1:4]}, {}
        if parts[0] == "images" and len(parts) == 2:
            return 200, self._image(parts[1]), {}
        if parts[0] != "tasks":
            return None
        task = next(one for one in self.tasks if one["task_id"] == parts[1])
        person = body["person"] if body else request.query_params["person"]
        if request.method == "DELETE":
            return 204, None, {}
        if request.method == "GET":
            return 200, self._seen(task, person), {"ETag": f'"{task["version"]}"'}
        match = request.headers.get("if-match", "").strip('"')
        if request.method == "PUT":
            return self._draft(task, person, body["annotation"], int(match or 0))
        return self._said(task, parts[2], body, match, request.headers["idempotency-key"])

    def _draft(
        self, task: dict[str, Any], person: str, said: dict[str, Any], known: int
    ) -> tuple[int, Any, dict[str, str]]:
        place = (task["task_id"], person)
        held = self.drafts.get(place)
        if (held["version"] if held else 0) != known:
            problem = {"type": "about:blank", "title": "draft-changed", "status": 412, "detail": "Changed."}
            return 412, problem | {"current": held}, {}
        self.drafts[place] = {"version": known + 1, "saved_at": self._time(1), "annotation": said}
        saved = self.drafts[place] | {"claim_expires_at": self._time(600)}
        return 200, saved, {"ETag": f'"{known + 1}"'}

    def _said(
        self, task: dict[str, Any], command: str, body: dict[str, Any], match: str, key: str
    ) -> tuple[int, Any, dict[str, str]]:
        if self.next_refusal:
            problem, self.next_refusal = self.next_refusal, None
            return problem["status"], problem, {}
        if key not in self.keys:
            if int(match) != task["version"]:
                stale = {"type": "about:blank", "title": "task-changed", "status": 412, "detail": "Changed."}
                return 412, stale, {}
            self.keys.add(key)
            self.sent.append((command, task["task_id"], body))
            self.drafts.pop((task["task_id"], body["person"]), None)
            task |= {"version": task["version"] + 1, "state": "done"}
        return 201, self._seen(task, body["person"]), {}

    def _seen(self, task: dict[str, Any], person: str) -> dict[str, Any]:
        return task | {"draft": self.drafts.get((task["task_id"], person))}

    def _image(self, image_id: str) -> dict[str, Any]:
        task = next(one for one in self.tasks if one["image"]["image_id"] == image_id)
        return task["image"] | {
            "origin": "import",
            "batch_ids": [],
            "perceptual_hash": None,
            "synthetic": False,
            "segment": None,
            "added_at": self._time(0),
            "added_by": "dana",
            "blind": False,
            "label": None,
            "history": self.histories.get(image_id, []),
        }
