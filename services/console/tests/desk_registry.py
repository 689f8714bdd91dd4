"""The stand-in with what people do with data: readiness, versions that are cut, images, imports, exports."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.datastructures import UploadFile

from .annotate_registry import annotation
from .conftest import CONTRACT, _template, identity
from .governance_registry import STATION, entry
from .room_registry import SAID, V2, Room


def figure(name: str, value: float | None, unit: str = "images", **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "low": None, "high": None, "of": None} | more


def lack(code: str, what: str, advice: str) -> dict[str, Any]:
    return {"code": code, "what": what, "advice": advice, "shown": True}


def answer(key: str, question: str, verdict: str, *figures: Any, **more: Any) -> dict[str, Any]:
    known = {"key": key, "question": question, "verdict": verdict, "figures": list(figures)}
    return known | {"evidence": more.pop("evidence", []), "missing": more.pop("missing", [])}


def link(title: str, href: str) -> dict[str, str]:
    return {"title": title, "href": href}


ANSWERS = [
    answer(
        "capture-repeatable",
        "Are image conditions repeatable?",
        "not-ready",
        figure("images", 1344),
        figure("of these captured on the line", 231),
        figure("say their station", 0.172, "share", of=1344),
        figure("say their part number", 1.0, "share", of=1344),
        figure("captures that deviate from their standard", 0.031, "share", low=0.014, high=0.062, of=231),
        evidence=[link("Deviations of line-a/cell-1", "/v1/stations/line-a/cell-1/deviations")],
        missing=[
            lack(
                "no-station",
                "1113 of 1344 images name no station: nothing says under what light and lens they were taken.",
                "Take images at a station with a published capture standard; an import names its own in `context`.",
            ),
            lack("no-standard", "line-a/cell-1 has no capture standard.", "PUT /v1/stations/line-a/cell-1."),
        ],
    ),
    answer(
        "labels-operational",
        "Are defect labels operational?",
        "not-ready",
        figure("with a definition", 5, "of 5 defect classes"),
        figure("with a boundary rule", 2, "of 5 defect classes"),
        figure("labels from import", 1344, "labels"),
        figure(
            "images of the registry whose last word is ambiguous",
            0.012,
            "share",
            low=0.008,
            high=0.019,
            of=1344,
        ),
        evidence=[link("Taxonomy t2", "/v1/taxonomies/t2"), link("Ambiguous images", "/v1/ambiguous")],
        missing=[
            lack("boundary-rule-missing", "No boundary rule: blowhole, fray.", "Draft the next version.")
        ],
    ),
    answer(
        "reviewers-aligned",
        "Are reviewers aligned?",
        "not-proven",
        figure("images that several people judged blind", 24),
        figure("same answer", 0.83, "share", low=0.66, high=0.93, of=24),
        figure("Krippendorff's alpha", 0.44, "alpha", low=-0.12, high=0.81, of=24),
        figure("Fleiss' kappa", None, "kappa", of=0),
        evidence=[link("Agreement by class", "/v1/agreement?by=class"), link("Batches", "/v1/batches")],
        missing=[lack("shared-sample-small", "24 images were judged, 30 are wanted.", "Enlarge it.")],
    ),
    answer(
        "splits-protected",
        "Are splits protected?",
        "ready",
        figure("in train", 1000),
        figure("in holdout", 344),
        figure("independent of class blowhole", 41, "groups"),
        figure("independent of class crack", 33, "groups"),
        figure("readings of the holdout", 1, "readings"),
        evidence=[link("Leakage", f"/v1/datasets/snapshots/{V2}/leakage")],
    ),
    answer(
        "launch-evidence",
        "Is launch evidence defined?",
        "not-proven",
        figure("releases that learned from it", 1, "releases"),
        figure("recall of release-7", 0.91, "share"),
        figure("95 % of its decisions take at most", 80.0, "ms", of=12),
        evidence=[link("Release release-7", "/v1/releases/release-7"), link("Try", "/v1/evaluation-batches")],
        missing=[lack("no-decisions", "None of its releases has decided on the line.", "Let one watch.")],
    ),
]

PLAIN: dict[str, Any] = {"instance": None, "origin": "person", "confirmed": True, "measurements": {}}
MARKS = [
    PLAIN
    | {
        "shape_id": "s1",
        "class_name": "crack",
        "kind": "polygon",
        "rings": [[[120, 80], [180, 80], [180, 130], [120, 130]], [[140, 95], [160, 95], [160, 115]]],
        "measurements": {"area_px2": 2800.0, "length_mm": 3.1},
    },
    PLAIN | {"shape_id": "s2", "class_name": "blowhole", "kind": "box", "box": [20, 30, 40, 25]},
    PLAIN
    | {
        "shape_id": "s3",
        "class_name": "crack",
        "kind": "key-points",
        "points": {"start": [200, 20], "end": [290, 60]},
        "joins": [["start", "end"]],
    },
]


class Desk(Room):
    """The room, and what is done with its data."""

    def __init__(self) -> None:
        super().__init__()
        self.package: dict[str, Any] = {
            "dataset": V2,
            "purpose": "Second cut",
            "images": 1344,
            "newest_record": self._time(0),
            "verdict": "not-ready",
            "answers": ANSWERS,
        }
        self.asked_for: dict[str, str] = {}
        self.refused: str | None = None
        self.station: dict[str, Any] = STATION | {"published_at": self._time(0)}
        self.state = "refused"
        self.handed_in: list[tuple[str, dict[str, str]]] = []
        self.app.add_api_route("/{path:path}", self._serve, methods=["PUT"])

    async def _serve(self, request: Request, path: str) -> Response:
        if path.endswith("/readiness") and request.query_params.get("as") in {"pdf", "html"}:
            return Response(b"as a file", media_type="application/pdf")
        if self.refused and request.method in {"POST", "PUT"}:
            problem = {"title": "refused", "status": 409, "detail": self.refused}
            return JSONResponse(problem, 409)
        if path == "v1/imports" and request.method == "POST":
            form = await request.form()
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            schema = CONTRACT["components"]["schemas"]["Body_import_archive"]
            assert set(schema["required"]) <= set(form) <= set(schema["properties"])
            archive = form["archive"]
            assert isinstance(archive, UploadFile)
            self.handed_in.append((f"{archive.filename} {(await archive.read()).decode()}", fields))
            return JSONResponse(self._import(), 202)
        if path == "v1/exports":
            self.asked_for = dict(request.query_params)
            return Response(b"PK", media_type="application/zip")
        return await super()._serve(request, path)

    def _shown(self, path: str, request: Request) -> Any:
        known = CONTRACT["paths"][_template(path)]["get"].get("parameters", [])
        assert set(request.query_params) <= {one["name"] for one in known if one["in"] == "query"}, path
        if path == "/v1/images":
            self.asked_for = dict(request.query_params)
        if path.endswith("/readiness"):
            return self.package
        if path.startswith("/v1/images/") and path.split("/")[3] not in map(identity, SAID):
            return None
        if path.startswith("/v1/labels/"):
            return self._meant(path.split("/")[3])
        if path == "/v1/stations":
            return _listed([self.station])
        if path == "/v1/imports":
            return _listed([self._import()])
        if path.startswith("/v1/imports/"):
            return _listed([self._problem()]) if path.endswith("/problems") else self._import()
        if path == "/v1/exports/losses":
            self.asked_for = dict(request.query_params)
            meaning = "Written as the box around it."
            return {"items": [{"what": "polygon", "count": 214, "meaning": meaning}]}
        return super()._shown(path, request)

    def _command_of_room(self, path: str, body: dict[str, Any], request: Request) -> Any:
        if path.startswith("/v1/datasets"):
            self.sent.append((path, body, request.headers["idempotency-key"]))
            return {"marked": len(body["marks"])} if "marks" in body else self.versions[0]
        if path.startswith("/v1/stations"):
            self.sent.append((path, body, request.headers["idempotency-key"]))
            return {"published": True}
        return super()._command_of_room(path, body, request)

    def _import(self) -> dict[str, Any]:
        running = self.state in {"checking", "importing"}
        return {
            "import_id": identity("import"),
            "source": "neu-det",
            "format": "voc",
            "archive_name": "NEU-DET.zip",
            "archive_sha256": "0" * 64,
            "archive_bytes": 26_700_000,
            "options": {"mapping": {"free": "good"}, "only_good": False, "unmarked": "good"},
            "state": self.state,
            "total": 1800,
            "checked": 1800,
            "done": 1200 if self.state == "importing" else 0,
            "added": 0,
            "problems": 1,
            "failure": None,
            "imported_by": "dana",
            "requested_at": self._time(0),
            "finished_at": None if running else self._time(9),
        }

    def _problem(self) -> dict[str, Any]:
        return {
            "number": 1,
            "file": "ANNOTATIONS/crazing_1.xml",
            "line": 17,
            "where": "object[2]/bndbox",
            "reason": "box-outside",
            "advice": "The box ends 12 pixels to the right of the image.",
        }

    def _image(self, name: str) -> dict[str, Any]:
        return super()._image(name) | {"segment": "edge-case" if name == "b" else None}

    def _history(self, name: str) -> list[dict[str, Any]]:
        first, second = super()._history(name)
        sent_back = {
            "decision": "sent-back",
            "by": "ben",
            "note": "Look at the edge",
            "decided_at": self._time(1),
        }
        approved = {"decision": "approved", "by": "olga", "note": None, "decided_at": self._time(2)}
        return [
            first | {"decisions": [sent_back]},
            second | {"annotation": annotation(*MARKS), "decisions": [approved]},
        ]

    def _meant(self, label_id: str) -> dict[str, Any]:
        return {
            "label_id": label_id,
            "classes": ["crack"],
            "made_at": self._time(0),
            "taxonomy_version": "t1",
            "entries": [entry("crack", definition="A dark line.")],
            "since": [],
            "today": ["edge-crack", "thermal-crack"],
        }


def _listed(rows: list[Any]) -> dict[str, Any]:
    return {"items": rows, "next_cursor": None}
