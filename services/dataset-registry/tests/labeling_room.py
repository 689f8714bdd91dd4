"""What tests of the labeling room do: captures in, batches, work, answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .conftest import Registry, capture

GOOD: dict[str, Any] = {"verdict": "labeled", "classes": ["good"]}


def box(
    class_name: str = "crack", at: Sequence[float] = (10, 10, 40, 20), shape_id: str = "s1", **more: Any
) -> dict[str, Any]:
    return {"shape_id": shape_id, "class_name": class_name, "kind": "box", "box": list(at), **more}


def marked(*shapes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"verdict": "labeled", "shapes": list(shapes), **more}


def reasons(answer: Any) -> list[tuple[str, str | None]]:
    """Of all problems of a refused annotation, with the shape that each concerns."""
    assert answer.status_code == 422, answer.text
    return [(flaw["reason"], flaw["shape_id"]) for flaw in answer.json()["problems"]]


class Room:
    """A registry with captures that can be labeled.

    Args:
        scale: Millimetres per pixel of the station.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.http = registry.http
        registry.publish_taxonomy()

    def captured(self, count: int, **known: Any) -> list[str]:
        """So many captures that a model has decided."""
        names = [str(number) for number in range(1, count + 1)]
        self.registry.take(*(self.registry.captured(name, **known) for name in names))
        return [capture(name) for name in names]

    def batch(self, images: Sequence[str], name: str = "b", **asked: Any) -> str:
        """A new batch with these images; its id."""
        made = self.http.post("/v1/batches", json={"name": name, "created_by": "dana", **asked})
        assert made.status_code == 201, made.text
        batch_id: str = made.json()["batch_id"]
        if images:
            self.add(batch_id, images)
        return batch_id

    def add(self, batch_id: str, images: Sequence[str]) -> dict[str, int]:
        body = {"images": list(images), "added_by": "dana"}
        added = self.http.post(f"/v1/batches/{batch_id}/images", json=body)
        assert added.status_code == 201, added.text
        counted: dict[str, int] = added.json()
        return counted

    def next(self, person: str, kind: str = "label", **more: Any) -> Any:
        given = self.http.post("/v1/work/next", json={"person": person, "kind": kind, **more})
        assert given.status_code == 200, given.text
        return given.json()["task"]

    def task(self, task_id: str, person: str) -> Any:
        return self.registry.get(f"/v1/tasks/{task_id}", person=person)

    def say(
        self, task: Mapping[str, Any], person: str, annotation: Mapping[str, Any], version: Any = None
    ) -> Any:
        headers = {"If-Match": f'"{task["version"] if version is None else version}"'}
        body = {"person": person, "annotation": annotation}
        return self.http.post(f"/v1/tasks/{task['task_id']}/annotations", json=body, headers=headers)

    def said(self, task: Mapping[str, Any], person: str, annotation: Mapping[str, Any]) -> Any:
        answer = self.say(task, person, annotation)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def review(self, task: Mapping[str, Any], person: str, decision: str, **more: Any) -> Any:
        body = {"person": person, "decision": decision, **more}
        return self.http.post(f"/v1/tasks/{task['task_id']}/reviews", json=body)

    def reviewed(self, task: Mapping[str, Any], person: str, decision: str, **more: Any) -> Any:
        answer = self.review(task, person, decision, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def draft(self, task: Mapping[str, Any], person: str, annotation: Any, version: int | None = None) -> Any:
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        body = {"person": person, "annotation": annotation}
        return self.http.put(f"/v1/tasks/{task['task_id']}/draft", json=body, headers=headers)

    def progress(self, batch_id: str) -> dict[str, int]:
        counts: dict[str, int] = self.registry.get(f"/v1/batches/{batch_id}")["progress"]
        return counts

    def image(self, image_id: str) -> Any:
        return self.registry.get(f"/v1/images/{image_id}")
