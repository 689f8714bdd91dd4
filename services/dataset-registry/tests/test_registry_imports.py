"""Labels come in from files all at once or not at all, go on after a crash, and go out the same as they came."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from typing import Any

import cv2
import numpy as np
import pytest
from andon_chassis.errors import Unavailable
from andon_chassis.objects import DATASETS
from dataset_registry.adapters.imports_archive import open_archive
from dataset_registry.adapters.imports_store import document
from dataset_registry.adapters.session import sessions
from dataset_registry.handlers.imports import LEASE, MOST_ATTEMPTS, Importer

from .conftest import Registry, capture

WIDTH, HEIGHT = 64, 48


def picture(seed: int = 0, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


def coco(names: list[str], boxes: list[tuple[str, list[float]]], **image: Any) -> bytes:
    """Labels of these images; each box is of the image with that name."""
    images = [
        {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} | image
        for number, name in enumerate(names)
    ]
    annotations = [
        {"id": number, "image_id": names.index(name), "category_id": 1, "bbox": box}
        for number, (name, box) in enumerate(boxes)
    ]
    categories = [{"id": 1, "name": "crack"}]
    return json.dumps(
        {"images": images, "categories": categories, "annotations": annotations}, indent=1
    ).encode()


def archive(labels: bytes, **pictures: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("annotations.json", labels)
        for name, data in pictures.items():
            made.writestr(f"images/{name}.png", data)
    return held.getvalue()


def five() -> bytes:
    names = [f"p{number}.png" for number in range(5)]
    labels = coco(names, [(name, [2, 3, 10 + number, 8]) for number, name in enumerate(names[:4])])
    return archive(labels, **{f"p{number}": picture(number) for number in range(5)})


def send(registry: Registry, data: bytes, status: int = 202, **asked: Any) -> Any:
    form = {"source": "set-a", "imported_by": "olga"} | {
        name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in asked.items()
    }
    answer = registry.http.post("/v1/imports", data=form, files={"archive": ("labels.zip", data)})
    assert answer.status_code == status, answer.text
    return registry.get(f"/v1/imports/{answer.json()['import_id']}") if status < 400 else answer.json()


def problems(registry: Registry, made: Any) -> list[Any]:
    found: list[Any] = registry.get(f"/v1/imports/{made['import_id']}/problems")["items"]
    return found


def rows(registry: Registry, statement: str) -> list[dict[str, Any]]:
    with registry.database.transaction() as tx:
        return list(tx.connection.execute(statement.encode()))


def count(registry: Registry, table: str) -> int:
    (row,) = rows(registry, f"SELECT count(*) AS n FROM {table}")
    return int(row["n"])


def test_labels_come_in_with_their_pictures(registry: Registry) -> None:
    made = send(
        registry,
        five(),
        context={
            "line": "line-a",
            "part_id": "7",
            "mm_per_pixel": "0.5",
            "captured_at": "2026-01-02T03:04:05Z",
        },
    )
    assert (made["state"], made["total"], made["done"], made["added"], made["problems"]) == (
        "done",
        5,
        5,
        5,
        0,
    )
    images = registry.get("/v1/images", line="line-a")["items"]
    assert sorted(image["name"] for image in images) == [f"p{number}.png" for number in range(5)]
    assert {image["part_id"] for image in images} == {"7"}
    first = next(image for image in images if image["name"] == "p0.png")
    (shape,) = first["label"]["annotation"]["shapes"]
    assert (shape["box"], shape["class_name"], shape["origin"]) == ([2, 3, 10, 8], "crack", "import")
    assert (shape["measurements"]["width_px"], shape["measurements"]["width_mm"]) == (10, 5)
    assert first["label"]["author"] == "import:set-a" and first["label"]["approved_by"] == "olga"
    clean = next(image for image in images if image["name"] == "p4.png")
    assert clean["label"]["annotation"]["classes"] == ["good"]
    shown = registry.http.get(f"/v1/images/{first['image_id']}/picture")
    assert shown.content == picture(0)
    assert count(registry, "images WHERE perceptual_hash IS NOT NULL") == 5
    # A picture that never came over the line is no capture that an event could be about.
    assert registry.published("label.approved") == []


def test_a_problem_anywhere_imports_nothing(registry: Registry) -> None:
    labels = coco(["p0.png", "p1.png", "gone.png"], [("p0.png", [2, 3, 10, 8]), ("p1.png", [60, 3, 10, 8])])
    data = archive(labels, p0=picture(0), p1=picture(1))
    made = send(registry, data)
    assert (made["state"], made["done"], made["problems"]) == ("refused", 0, 2)
    outside, gone = problems(registry, made)
    assert (outside["reason"], outside["where"]) == ("outside-image", "annotations[1]")
    assert outside["file"] == "annotations.json"
    assert "p1.png" in outside["advice"] and labels.decode().split("\n")[outside["line"] - 1] == "  {"
    assert gone["reason"] == "picture-missing" and "gone.png" in gone["advice"]
    assert count(registry, "images") == count(registry, "annotations") == 0
    assert ("images", picture(0)) not in [
        (bucket, data) for (bucket, _), data in registry.objects.objects.items()
    ]

    rest = send(registry, data, only_good=True)
    assert (rest["state"], rest["done"], rest["problems"]) == ("done", 1, 2)
    assert [row["name"] for row in rows(registry, "SELECT name FROM images")] == ["p0.png"]


def test_problems_are_pages(registry: Registry) -> None:
    names = [f"p{number}.png" for number in range(5)]
    made = send(registry, archive(coco(names, [])))
    path = f"/v1/imports/{made['import_id']}/problems"
    first = registry.get(path, limit=3)
    rest = registry.get(path, limit=3, cursor=first["next_cursor"])
    assert [item["number"] for item in first["items"] + rest["items"]] == [1, 2, 3, 4, 5]
    assert rest["next_cursor"] is None
    assert registry.http.get(path, params={"cursor": "x"}).status_code == 422


def test_the_same_archive_again_is_the_same_import(registry: Registry) -> None:
    data = five()
    made = send(registry, data)
    again = send(registry, data, status=200)
    assert again == made
    assert (
        count(registry, "images")
        == count(registry, "annotations")
        == count(registry, "annotation_decisions")
        == 5
    )
    assert [item["import_id"] for item in registry.get("/v1/imports")["items"]] == [made["import_id"]]


def test_an_import_goes_on_where_it_stopped(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Importer(
        sessions(registry.database), registry.objects, open_archive, document, registry.clock, portion=2
    )
    monkeypatch.setattr(Importer, "run", lambda self, import_id: None)
    made = send(registry, five())
    monkeypatch.undo()
    assert made["state"] == "waiting"

    stored = registry.objects.put
    left = iter(range(3))

    def put(bucket: str, data: bytes, media_type: str) -> Any:
        if next(left, None) is None:
            raise Unavailable("object store", "gone")
        return stored(bucket, data, media_type)

    monkeypatch.setattr(registry.objects, "put", put)
    worker.run(made["import_id"])
    broken = registry.get(f"/v1/imports/{made['import_id']}")
    assert (broken["state"], broken["done"], broken["total"]) == ("importing", 2, 5)
    assert "object store" in broken["failure"]
    monkeypatch.undo()
    worker.resume()
    whole = registry.get(f"/v1/imports/{made['import_id']}")
    assert (whole["state"], whole["done"], whole["added"], whole["failure"]) == ("done", 5, 5, None)
    assert (
        count(registry, "images")
        == count(registry, "annotations")
        == count(registry, "annotation_decisions")
        == 5
    )


def test_an_import_has_one_worker_until_its_lease_runs_out(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Importer(sessions(registry.database), registry.objects, open_archive, document, registry.clock)
    monkeypatch.setattr(Importer, "run", lambda self, import_id: None)
    made = send(registry, five())
    monkeypatch.undo()
    now = registry.clock.now()
    with worker.sessions() as session:
        assert session.imports.lease(made["import_id"], now, now + LEASE)
    worker.run(made["import_id"])
    assert registry.get(f"/v1/imports/{made['import_id']}")["state"] == "waiting"
    registry.clock.advance(LEASE.total_seconds() + 1)
    worker.resume()
    assert registry.get(f"/v1/imports/{made['import_id']}")["state"] == "done"


def test_what_nobody_works_on_is_picked_up(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Once(threading.Event):
        """Lets one round through, then stops."""

        def wait(self, timeout: float | None = None) -> bool:
            stopped = self.is_set()
            self.set()
            return stopped

    worker = Importer(sessions(registry.database), registry.objects, open_archive, document, registry.clock)
    monkeypatch.setattr(Importer, "run", lambda self, import_id: None)
    made = send(registry, five())
    monkeypatch.undo()
    worker.watch(Once())
    assert registry.get(f"/v1/imports/{made['import_id']}")["state"] == "done"


def test_a_store_that_is_away_fails_no_import(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Importer(sessions(registry.database), registry.objects, open_archive, document, registry.clock)
    kept = registry.objects.put

    def put(bucket: str, data: bytes, media_type: str) -> Any:
        if bucket != DATASETS:
            raise Unavailable("object store", "gone")
        return kept(bucket, data, media_type)

    monkeypatch.setattr(registry.objects, "put", put)
    made = send(registry, five())
    for _ in range(MOST_ATTEMPTS + 1):
        worker.resume()
    waiting = registry.get(f"/v1/imports/{made['import_id']}")
    assert (waiting["state"], waiting["done"]) == ("importing", 0) and "object store" in waiting["failure"]
    monkeypatch.undo()
    worker.resume()
    assert registry.get(f"/v1/imports/{made['import_id']}")["state"] == "done"


def test_a_file_that_breaks_the_reader_does_not_break_the_service(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = Importer(sessions(registry.database), registry.objects, open_archive, document, registry.clock)
    monkeypatch.setattr("dataset_registry.handlers.imports.examined", lambda *given: 1 / 0)
    data = five()
    made = send(registry, data)
    assert "division by zero" in made["failure"]
    for _ in range(MOST_ATTEMPTS):
        worker.resume()
    failed = registry.get(f"/v1/imports/{made['import_id']}")
    assert (failed["state"], failed["done"]) == ("failed", 0) and failed["finished_at"]
    monkeypatch.undo()
    again = send(registry, data)
    assert (again["import_id"], again["state"], again["done"]) == (made["import_id"], "done", 5)


def test_words_that_no_column_can_hold_are_a_problem_too(registry: Registry) -> None:
    labels = coco(["a.png"], [("a.png", [2, 3, 10, 8])]).replace(b"crack", b"cr\\u0000ack")
    made = send(registry, archive(labels, a=picture()))
    assert [problem["reason"] for problem in problems(registry, made)] == ["unusable-name"]
    labels = coco(["a\0.png"], [])
    made = send(registry, archive(labels, a=picture()))
    assert [problem["reason"] for problem in problems(registry, made)] == ["unusable-name"]


def test_labels_of_captures_are_events_too(registry: Registry) -> None:
    registry.publish_taxonomy()
    registry.take(registry.captured("1"), registry.captured("2"))
    name = f"{capture('1')}.png"
    labels = coco([name], [(name, [2, 3, 10, 8])], width=300, height=300)
    made = send(registry, labels, format="coco")
    assert (made["state"], made["added"]) == ("done", 1), problems(registry, made)
    (image,) = registry.get("/v1/images")["items"]
    assert image["image_id"] == capture("1") and image["origin"] == "capture"
    (label,) = registry.published("label.approved")
    assert (label.capture_id, label.class_name, label.is_defect) == (capture("1"), "crack", True)
    assert [label["source"] for label in registry.get("/v1/labels")["items"]] == ["import"]


def test_classes_are_mapped_and_unknown_ones_refused(registry: Registry) -> None:
    registry.publish_taxonomy()
    data = five().replace(b"crack", b"fract")
    labels = coco(["p0.png"], [("p0.png", [2, 3, 10, 8])]).replace(b"crack", b"fracture")
    data = archive(labels, p0=picture(0))
    made = send(registry, data)
    (problem,) = problems(registry, made)
    assert (made["state"], problem["reason"]) == ("refused", "unknown-class") and "crack" in problem["advice"]
    assert send(registry, data, mapping={"fracture": "crack"})["state"] == "done"
    (row,) = rows(registry, "SELECT shapes, taxonomy_version FROM annotations")
    assert row["shapes"][0]["class_name"] == "crack" and row["taxonomy_version"] == "t1"


def test_a_second_import_of_a_source_relabels_its_images(registry: Registry) -> None:
    send(registry, five())
    names = [f"p{number}.png" for number in range(5)]
    made = send(registry, archive(coco(names, [("p4.png", [1, 1, 5, 5])])), unmarked="good")
    assert (made["state"], made["done"], made["added"]) == ("done", 5, 0)
    assert count(registry, "images") == 5
    decided = rows(registry, "SELECT decision, count(*) AS n FROM annotation_decisions GROUP BY 1 ORDER BY 1")
    assert [(row["decision"], row["n"]) for row in decided] == [("approved", 10), ("superseded", 5)]
    in_force = rows(registry, "SELECT jsonb_array_length(shapes) AS n FROM labels_in_force")
    assert sorted(row["n"] for row in in_force) == [0, 0, 0, 0, 1]


def test_images_may_come_without_a_label(registry: Registry) -> None:
    made = send(registry, five(), unmarked="without-label")
    assert (made["done"], count(registry, "images"), count(registry, "annotations")) == (5, 5, 4)


def test_a_picture_is_known_by_its_content(registry: Registry) -> None:
    send(registry, archive(coco(["a.png"], []), a=picture(3)), unmarked="without-label")
    (image,) = rows(registry, "SELECT image_id::text, object->>'sha256' AS sha256 FROM images")
    labels = coco(["other.png"], [("other.png", [1, 2, 3, 4])], sha256=image["sha256"])
    made = send(registry, labels, source="set-b", format="coco")
    assert (made["state"], made["added"]) == ("done", 0), problems(registry, made)
    assert [row["image_id"] for row in rows(registry, "SELECT image_id::text FROM annotations")] == [
        image["image_id"]
    ]


def test_a_picture_of_another_size_or_no_picture_is_a_problem(registry: Registry) -> None:
    labels = coco(["p0.png", "p1.png"], [("p0.png", [2, 3, 10, 8])])
    made = send(registry, archive(labels, p0=picture(0, 32, 32), p1=b"no picture"))
    assert [problem["reason"] for problem in problems(registry, made)] == ["size-of-image", "not-an-image"]


def test_an_archive_in_the_object_store_is_imported_from_there(registry: Registry) -> None:
    ref = registry.objects.put(DATASETS, five(), "application/zip")
    body = {"source": "set-a", "imported_by": "olga", "object": ref.to_avro()}
    answer = registry.http.post("/v1/imports/objects", json=body)
    assert answer.status_code == 202, answer.text
    assert registry.get(f"/v1/imports/{answer.json()['import_id']}")["done"] == 5
    gone = body | {"object": ref.to_avro() | {"sha256": "0" * 64, "key": "00/gone"}}
    assert registry.http.post("/v1/imports/objects", json=gone).json()["title"] == "missing-object"


def test_what_is_asked_wrongly_is_refused(registry: Registry) -> None:
    assert send(registry, five(), status=422, mapping='{"a": 1}')["title"] == "invalid-request"
    assert send(registry, five(), status=422, mapping="{")["title"] == "invalid-request"
    assert send(registry, five(), status=422, format="jpeg")["title"] == "invalid-request"
    for context in ({"mm_per_pixel": "nan"}, {"mm_per_pixel": "x"}, {"captured_at": "yesterday"}):
        assert send(registry, five(), status=422, context=context)["title"] == "invalid-request"
    assert registry.http.get("/v1/imports/00000000-0000-0000-0000-000000000000").status_code == 404
