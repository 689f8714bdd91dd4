"""What is new to a model is tried before it may decide there."""

from __future__ import annotations

from typing import Any

from .conftest import Registry, capture
from .dataset_room import PART_KEYS, cut, label
from .test_registry_api import problem


class TestEvaluationBatches:
    def batch(self, registry: Registry, **changes: Any) -> Any:
        body = {
            "name": "camera 9",
            "axis": "camera",
            "value": "cam-9",
            "line": "line-a",
            "station": "cell-1",
            "least_images": 4,
            "least_of_class": {"crack": 2},
            "created_by": "dana",
        }
        return registry.http.post("/v1/evaluation-batches", json=body | changes)

    def permission(self, registry: Registry, **where: str) -> Any:
        asked = {"release": "r1", "line": "line-a", "station": "cell-1"} | where
        return registry.get("/v1/evaluation-batches/permission", **asked)

    def test_what_is_new_needs_a_batch_that_accepted_it(self, registry: Registry) -> None:
        label(registry, 0, 40)
        version = cut(registry, split=PART_KEYS)
        registry.take(registry.trained("r1", dataset_hash=version["hash"]), registry.trained("r2"))
        assert self.permission(registry, camera="cam-0") == {
            "may_decide": True,
            "because": ["Nothing here is new to it."],
        }
        assert self.permission(registry, camera="cam-9")["may_decide"] is False
        assert self.permission(registry, camera="cam-0", release="r2")["may_decide"] is False

        made = self.batch(registry)
        assert made.status_code == 201, made.text
        url = f"/v1/evaluation-batches/{made.json()['batch_id']}"
        problem(self.batch(registry), 409, "name-taken")
        verdict = {"release": "r1", "decision": "accepted", "note": "0 of 30 missed", "decided_by": "olga"}
        problem(registry.http.post(f"{url}/decisions", json=verdict), 409, "batch-incomplete")

        registry.take(*(registry.captured(f"n{n}") for n in range(4)))
        ids = [capture(f"n{n}") for n in range(4)]
        added = {"images": ids, "added_by": "dana"}
        assert registry.http.post(f"{url}/images", json=added).json() == {"added": 4}
        assert registry.http.post(f"{url}/images", json=added).json() == {"added": 0}
        stranger = {"images": [capture("stranger")], "added_by": "dana"}
        problem(registry.http.post(f"{url}/images", json=stranger), 404, "unknown-image")
        assert registry.get(url)["missing"] == ["4 labelled images more", "2 of class crack more"]
        labels = [
            {"capture_id": id_, "class_name": name}
            for id_, name in zip(ids, ("crack", "crack", "good", "good"), strict=True)
        ]
        registry.http.post("/v1/labels", json={"approved_by": "ada", "labels": labels})
        ready = registry.get(url)
        assert (ready["state"], ready["labelled"]) == ("ready", {"crack": 2, "good": 2})

        done = registry.http.post(f"{url}/decisions", json=verdict).json()
        assert [d["decision"] for d in done["decisions"]] == ["accepted"]
        assert self.permission(registry, camera="cam-9")["may_decide"] is True
        assert self.permission(registry, camera="cam-9", station="cell-2")["may_decide"] is False
        assert self.permission(registry, camera="cam-9", release="r2")["may_decide"] is False
        assert self.permission(registry, camera="cam-9", supplier="new")["may_decide"] is False
        registry.http.post(f"{url}/decisions", json=verdict | {"decision": "rejected"})
        assert self.permission(registry, camera="cam-9")["may_decide"] is False
        assert [b["name"] for b in registry.get("/v1/evaluation-batches")["items"]] == ["camera 9"]

    def test_what_nobody_knows_is_said(self, registry: Registry) -> None:
        problem(registry.http.get(f"/v1/evaluation-batches/{capture('x')}"), 404, "unknown-evaluation-batch")
        asked = {"release": "none", "line": "a", "station": "b"}
        problem(registry.http.get("/v1/evaluation-batches/permission", params=asked), 404, "unknown-release")
