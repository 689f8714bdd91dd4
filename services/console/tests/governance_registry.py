"""The stand-in with a taxonomy that has versions and drafts, capture standards, and an audit trail."""

from __future__ import annotations

import json
from typing import Any

import httpx
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from .annotate_registry import picture
from .conftest import CONTRACT, StandIn, _template, identity, validate

DRAFT = identity("draft")
Answer = tuple[int, Any]


def entry(name: str, **more: Any) -> dict[str, Any]:
    """A class, as the registry gives it."""
    texts = ("definition", "boundary_rule", "acceptable_variation", "ambiguous_rule", "escalation_path")
    plain = {"is_defect": True, "severity": "major", "region_rule": "box", "colour": None, "examples": []}
    lineage = {"renamed_from": None, "split_from": None, "merged_from": []}
    return {"name": name, **dict.fromkeys(texts, ""), **plain, **lineage, **more}


EXAMPLES = [
    {"image_id": identity("gold"), "kind": "gold", "severity": None, "note": "Edge to edge"},
    {"image_id": identity("negative"), "kind": "hard-negative", "severity": None, "note": "A grinding mark"},
]
GOOD = entry("good", is_defect=False, severity="minor", region_rule="classify")
CRACK = entry(
    "crack",
    severity="critical",
    region_rule="segment",
    colour="#c02040",
    definition="A dark line with a sharp edge that goes through the surface.",
    boundary_rule="To the last pixel that is darker than its surroundings.",
    acceptable_variation="Grinding marks that run parallel over the whole tile.",
    ambiguous_rule="Shorter than 2 mm: mark it as ambiguous.",
    escalation_path="Olga, QA owner.",
    examples=EXAMPLES,
)
RULE = {
    "product": None,
    "station": None,
    "customer": "ACME",
    "class_name": "crack",
    "severity": "major",
    "disposition": "hold",
}
STATION = {
    "camera": "cam-7",
    "lens": "25 mm, f/4",
    "capture_standard_version": "cs-2",
    "width": 1600,
    "height": 1200,
    "exposure": "4 ms",
    "lighting": "Ring light, 45°",
    "distance_mm": 320.0,
    "angle_deg": 90.0,
    "background": None,
    "part_orientation": "Marking to the left",
    "focus": None,
    "trigger_timing": "Light barrier",
    "media_types": ["image/png"],
    "mm_per_pixel": 0.05,
    "bounds": [{"name": "exposure_us", "low": 3900.0, "high": 4100.0}],
    "rejection_rules": [{"reason": "blurred", "rule": "The edge is wider than 4 pixels."}],
    "validated_variants": [],
    "takt_ms": 1000,
    "line": "line-a",
    "station": "cell-1",
    "published_by": "eve",
}


class QualityRoom(StandIn):
    """One taxonomy in force, one open draft of the next, one station, a short trail."""

    def __init__(self) -> None:
        super().__init__()
        self.draft: dict[str, Any] = {
            "draft_id": DRAFT,
            "title": "Split crack by its cause",
            "based_on": "t2",
            "version": 1,
            "authors": ["olga"],
            "state": "open",
            "published_version": None,
            "created_at": self._time(0),
            "updated_at": self._time(0),
            "document": {"classes": [GOOD, CRACK], "rules": [RULE]},
            "problems": [],
        }
        self.affected = [
            {
                "class_name": "crack",
                "kinds": ["definition-changed"],
                "suggested": "relabel",
                "labels": 214,
            }
        ]
        self.in_force = "t2"
        self.decided = "none"
        self.came_in = 3
        self.locked: str | None = None
        self.broken: dict[str, Any] | None = None
        self.queries: list[dict[str, str]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.app.add_api_route("/{path:path}", self._serve, methods=["PUT"])

    def save(self, index: int, **fields: Any) -> None:
        """Somebody else saves a class of the draft."""
        classes = [dict(one) for one in self.draft["document"]["classes"]]
        classes[index] |= fields
        self.draft["document"] = {**self.draft["document"], "classes": classes}
        self.draft["version"] += 1

    async def _serve(self, request: Request, path: str) -> Response:
        if self.away:
            raise httpx.ConnectError("gone")
        if "/picture" in path:
            return Response(picture(150), media_type="image/png", headers={"ETag": '"p"'})
        body = json.loads(await request.body() or b"null")
        answer = self._quality(request, path.split("/")[1:], body)
        if answer is None:
            return await super()._serve(request, path)
        status, found = answer
        said = CONTRACT["paths"][_template("/" + path)][request.method.lower()]
        if body is not None:
            validate(body, said["requestBody"]["content"]["application/json"]["schema"])
            self.sent.append(("/" + path, body))
        if status < 300:
            validate(found, said["responses"][str(status)]["content"]["application/json"]["schema"])
        return JSONResponse(found, status)

    def _quality(self, request: Request, parts: list[str], body: Any) -> Answer | None:
        query = dict(request.query_params)
        match parts:
            case ["taxonomies"]:
                known = [self._version(name) for name in dict.fromkeys((self.in_force, "t2", "t1"))]
                fields = ("version", "classes", "rules", "published_by", "published_at")
                return 200, {"items": [{n: one[n] for n in fields} for one in known], "next_cursor": None}
            case ["taxonomies", "in-force"]:
                self.queries.append(query)
                if query.get("at", "9") < "2020":
                    return self._no(404, "unknown-taxonomy-in-force", "None had been published by then.")
                return 200, self._version("t1" if "at" in query else self.in_force)
            case ["taxonomies", _, "comparison"] | ["taxonomy-drafts", _, "comparison"]:
                return 200, self._comparison("t2" if parts[0] == "taxonomies" else None)
            case ["taxonomies", version, "severity"]:
                return 200, self._severity(version, query)
            case ["taxonomies", version, "relabel"]:
                batch = identity("relabel") if self.came_in else None
                return 200, {"version": version, "batch_id": batch, "images": self.came_in}
            case ["taxonomies", version]:
                return 200, self._version(version)
            case ["taxonomy-drafts"]:
                if request.method == "POST":
                    return 201, self.draft
                rows = {n: v for n, v in self.draft.items() if n not in ("document", "problems")}
                return 200, {"items": [rows], "next_cursor": None}
            case ["taxonomy-drafts", _, *command]:
                if request.method != "GET" and request.headers["if-match"] != f'"{self.draft["version"]}"':
                    return self._no(412, "draft-changed", "Somebody saved it since.")
                return self._drafted(command, body, request.method)
            case ["stations"]:
                return 200, {"items": [STATION | {"published_at": self._time(0)}], "next_cursor": None}
            case ["stations", _, _, "history"]:
                return 200, {"items": self._history(), "next_cursor": None}
            case ["stations", _, _, "deviations"]:
                return 200, self._deviations()
            case ["stations", _, _, "lock"]:
                self.locked = body["locked_by"]
                return 200, {"locked": True}
            case ["audit"]:
                self.queries.append(query)
                return 200, {"items": self._trail(), "next_cursor": "7" if "cursor" not in query else None}
            case ["audit", "verification"]:
                hashed = {"entries": 1204, "final_hash": "9f86" * 16}
                return 200, hashed | {"intact": self.broken is None, "broken": self.broken}
        return None

    def _drafted(self, command: list[str], body: Any, method: str) -> Answer:
        if command == ["publication"]:
            if any(one["relabel"] == "none" and not one["reason"] for one in body["decisions"]):
                return self._no(409, "reason-missing", "Say why the labels of crack may stay.")
            self.in_force = body["version"]
            self.draft |= {"state": "published", "published_version": body["version"]}
            return 201, {"version": body["version"], "batch_id": identity("relabel"), "images": 214}
        if command == ["discard"]:
            self.draft["state"] = "discarded"
        elif method == "PUT":
            changes = {name: body[name] for name in ("document", "based_on") if body.get(name)}
            self.draft |= changes | {"version": self.draft["version"] + 1}
        return 200, self.draft

    def _no(self, status: int, title: str, detail: str) -> Answer:
        return status, {"type": "about:blank", "title": title, "status": status, "detail": detail}

    def _version(self, version: str) -> dict[str, Any]:
        publication = {
            "previous": "t1",
            "draft_id": DRAFT,
            "affected": [],
            "decisions": [
                {"class_name": "crack", "relabel": self.decided, "reason": "Only the words are new."}
            ],
            "batch_id": None,
            "images": 0,
            "note": "Clearer words for crack.",
        }
        return {
            "version": version,
            "classes": [GOOD, CRACK],
            "rules": [RULE],
            "published_by": "olga",
            "published_at": self._time(-86_400 if version == "t1" else 0),
            "previous": None if version == "t1" else "t1",
            "replaced_at": self._time(0) if version == "t1" else None,
            "publication": None if version == "t1" else publication,
        }

    def _comparison(self, new: str | None) -> dict[str, Any]:
        after = CRACK | {
            "name": "thermal-crack",
            "split_from": "crack",
            "definition": "It begins at the edge.",
        }
        rule = {"kind": "rule-added", "before": [], "after": ["crack"], "affected": [], "suggested": "none"}
        return {
            "old_version": "t1" if new else self.in_force,
            "new_version": new,
            "pairs": [
                {"before": GOOD, "after": GOOD, "kinds": []},
                {"before": CRACK, "after": after, "kinds": ["split", "definition-changed"]},
            ],
            "changes": [rule | {"was": None, "now": "customer ACME, class crack: major, hold"}],
            "affected": self.affected,
        }

    def _severity(self, version: str, query: dict[str, str]) -> dict[str, Any]:
        acme = query.get("customer") == "ACME"
        plain = {"rule": None, "beat": [], "why": "No rule fits; the class itself says so."}
        won = {"rule": RULE, "beat": [], "why": "The rule for customer ACME and class crack names the most."}
        return {
            "version": version,
            "class_name": query["class_name"],
            "severity": {"value": "major", **won} if acme else {"value": "critical", **plain},
            "disposition": {"value": "hold", **won} if acme else {"value": None, **plain},
        }

    def _history(self) -> list[dict[str, Any]]:
        lock = {"locked_by": self.locked, "locked_at": self.locked and self._time(1), "lock_note": None}
        now = STATION | {"published_at": self._time(0), "gaps": ["background", "focus"], **lock}
        earlier = {"locked_by": "eve", "locked_at": self._time(-50), "lock_note": "Measured with the target"}
        return [now, now | {"capture_standard_version": "cs-1", "gaps": ["width", "height"], **earlier}]

    def _deviations(self) -> dict[str, Any]:
        found = [
            {"kind": "rejected", "reason": "blurred", "captures": 31, "share": 0.0155},
            {"kind": "missing", "reason": "operator", "captures": 480, "share": 0.24},
            {"kind": "deviating", "reason": "wrong-exposure", "captures": 12, "share": 0.006},
            {"kind": "unproven", "reason": "lens", "captures": 900, "share": 0.45},
        ]
        version = {"standard_version": "cs-2", "captures": 2000, "deviations": found}
        return {"since": self._time(-600), "until": self._time(0), "versions": [version]}

    def _trail(self) -> list[dict[str, Any]]:
        return [
            {
                "sequence": number,
                "at": self._time(number),
                "actor": "olga",
                "action": "publish-taxonomy-draft",
                "subject": DRAFT,
                "detail": {"body": {"version": "t2", "note": "Clearer words for crack."}},
                "previous_hash": "0" * 64,
                "hash": f"{number:064x}",
            }
            for number in (1204, 1203)
        ]
