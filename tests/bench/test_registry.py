"""How fast labels come in and go out of the registry: build/bench/registry.json.

Everything is as in production but the process: the HTTP API, PostgreSQL, and the object store, which keeps the archive.
Images are known by reference, as captures or from an earlier import, as with a tool that takes a list of addresses.
"""

from __future__ import annotations

import io
import json
import random
import resource
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import cv2
import dataset_registry
import numpy as np
import psycopg
import pytest
from andon_chassis import http
from andon_chassis.clock import SystemClock
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.database import Database
from andon_chassis.events import deterministic_id
from andon_chassis.health import Health
from andon_chassis.objects import IMAGES, S3ObjectStore, object_ref
from andon_chassis.service import collect_rarely
from andon_events.records import CaptureContext
from andon_vision.decode import DEFAULT_LIMITS
from dataset_registry.adapters.pictures import Pictures
from dataset_registry.adapters.pyramids import Pyramids
from dataset_registry.adapters.session import sessions
from dataset_registry.api import create_app
from dataset_registry.api.context import Context
from fastapi.testclient import TestClient

from . import label_studio
from .figures import at_least, at_most, write

IMAGES_IN_ALL, WITH_PICTURES, SIDE_BY_SIDE = 50_000, 2_000, 5_000
IMPORT_S, EXPORT_S, TIMES_FASTER = 8.0, 10.0, 10.0
WIDTH, HEIGHT = 640, 480
SOURCE = "bench"
CLASSES = [{"name": "good", "severity": "minor", "is_defect": False}] + [
    {"name": name, "severity": "major", "is_defect": True} for name in ("crack", "dent", "scratch")
]


class Registry:
    """A registry of its own, seen from outside."""

    def __init__(self, database: Database, objects: S3ObjectStore) -> None:
        self.database = database
        clock = SystemClock()
        pyramids = Pyramids(database.transaction, objects, clock, DEFAULT_LIMITS)
        context = Context(sessions(database), objects, Pictures(objects, 1_000_000, pyramids), clock, {})
        collect_rarely()  # as a service does
        app = create_app(context)
        http.install(app, Health(clock))
        self.http = TestClient(app)
        body = {"classes": CLASSES, "published_by": "bench"}
        assert self.http.put("/v1/taxonomies/t1", json=body).status_code == 201

    def timed_import(self, archive: bytes, **asked: str) -> tuple[float, dict[str, Any]]:
        """Seconds from sending an archive to its end; how the import stands then."""
        began = time.perf_counter()
        form = {"source": SOURCE, "imported_by": "bench"} | asked
        # The client runs what follows an answer before it gives the answer back.
        answer = self.http.post("/v1/imports", data=form, files={"archive": ("labels.zip", archive)})
        seconds = time.perf_counter() - began
        assert answer.status_code == 202, answer.text
        made = self.http.get(f"/v1/imports/{answer.json()['import_id']}").json()
        assert (made["state"], made["problems"]) == ("done", 0), made
        return seconds, made

    def timed_export(self) -> tuple[float, bytes]:
        """Seconds until the last byte has come; the archive."""
        began = time.perf_counter()
        answer = self.http.get("/v1/exports", params={"format": "coco"})
        seconds = time.perf_counter() - began
        assert answer.status_code == 200, answer.text
        return seconds, answer.content


@pytest.fixture
def registry(infra: Any) -> Iterator[Registry]:
    name = psycopg.sql.Identifier(f"bench_registry_{uuid4().hex[:8]}")
    with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name))
    url = f"{infra.postgres_admin_url.rsplit('/', 1)[0]}/{name.as_string(None).strip(chr(34))}"
    migrations = Path(dataset_registry.__file__).parent / "migrations"
    database = Database(url, migrations, Codec(MemorySchemaRegistry()))
    try:
        database.open()
        yield Registry(database, S3ObjectStore(infra.s3, infra.s3_access_key, infra.s3_secret_key))
    finally:
        database.close()
        with psycopg.connect(infra.postgres_admin_url, autocommit=True) as admin:
            admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def coco(names: list[str]) -> bytes:
    """Two boxes on each of these images."""
    dice = random.Random(0)
    images = [
        {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT}
        for number, name in enumerate(names)
    ]
    annotations = [
        {
            "id": number,
            "image_id": number // 2,
            "category_id": 1 + number % 3,
            "bbox": [round(dice.random() * 500, 2), round(dice.random() * 400, 2), 60.25, 40.5],
            "area": 2440.13,
            "iscrowd": 0,
            "segmentation": [],
        }
        for number in range(2 * len(names))
    ]
    categories = [{"id": number, "name": row["name"]} for number, row in enumerate(CLASSES) if number]
    return json.dumps({"images": images, "categories": categories, "annotations": annotations}).encode()


def tasks(names: list[str]) -> bytes:
    """The same boxes in Label Studio's own form, as shares of the image; it reads no COCO."""
    document = json.loads(coco(names))
    found: dict[int, list[dict[str, Any]]] = {}
    for one in document["annotations"]:
        x, y, width, height = one["bbox"]
        place = {"x": x / WIDTH, "width": width / WIDTH, "y": y / HEIGHT, "height": height / HEIGHT}
        value = {side: 100 * share for side, share in place.items()}
        mark = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "image_rotation": 0}
        mark |= {"id": f"r{one['id']}", "original_width": WIDTH, "original_height": HEIGHT}
        mark["value"] = value | {"rotation": 0, "rectanglelabels": [CLASSES[one["category_id"]]["name"]]}
        found.setdefault(one["image_id"], []).append(mark)
    return json.dumps(
        [
            {"data": {"image": f"http://127.0.0.1/{name}"}, "annotations": [{"result": found[number]}]}
            for number, name in enumerate(names)
        ]
    ).encode()


def packed(labels: bytes, pictures: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("annotations.json", labels)
        for name, data in pictures.items():
            made.writestr(f"images/{name}", data, zipfile.ZIP_STORED)
    return held.getvalue()


def know_captures(database: Database, count: int) -> list[str]:
    """Captures as the line has recorded them; the names that their labels use."""
    ids = [deterministic_id("capture", "line-a", "cell-1", str(number)) for number in range(count)]
    ref = object_ref(IMAGES, b"a picture", "image/png")
    image = {"object": ref.to_avro(), "width": WIDTH, "height": HEIGHT, "channels": 1, "bit_depth": 8}
    about = CaptureContext(line="line-a", station="cell-1").to_avro()
    with database.transaction() as tx, tx.connection.cursor() as cursor:
        columns = "capture_id, line, station, context, image, captured_at, received_at"
        with cursor.copy(f"COPY captures ({columns}) FROM STDIN".encode()) as copy:
            for capture_id in ids:
                copy.write_row(
                    (
                        capture_id,
                        "line-a",
                        "cell-1",
                        json.dumps(about),
                        json.dumps(image),
                        "2026-01-01",
                        "2026-01-01",
                    )
                )
    return [f"{capture_id}.png" for capture_id in ids]


def know_images(database: Database, count: int) -> list[str]:
    """Images of an import that brought pictures without labels; their names."""
    names = [f"{number:06}.png" for number in range(count)]
    ref = object_ref(IMAGES, b"a picture", "image/png").to_avro()
    with database.transaction() as tx, tx.connection.cursor() as cursor:
        columns = "image_id, origin, name, object, width, height, context, captured_at, added_at, added_by"
        with cursor.copy(f"COPY images ({columns}) FROM STDIN".encode()) as copy:
            for name in names:
                image_id = deterministic_id("image", SOURCE, name)
                moment = "2026-01-01"
                copy.write_row(
                    (image_id, "import", name, json.dumps(ref), WIDTH, HEIGHT, "{}", moment, moment, "bench")
                )
    return names


def test_labels_of_fifty_thousand_images(registry: Registry) -> None:
    names = know_images(registry.database, IMAGES_IN_ALL)
    import_s, made = registry.timed_import(packed(coco(names), {}))
    assert made["done"] == IMAGES_IN_ALL
    export_s, archive = registry.timed_export()
    with zipfile.ZipFile(io.BytesIO(archive)) as held:
        document = json.loads(held.read("annotations.json"))
    assert len(document["images"]) == IMAGES_IN_ALL and len(document["annotations"]) == 2 * IMAGES_IN_ALL
    write(
        "registry",
        {
            "images": IMAGES_IN_ALL,
            "boxes": 2 * IMAGES_IN_ALL,
            "import_s": import_s,
            "export_coco_s": export_s,
            "export_bytes": len(archive),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        },
        {
            "50,000 labelled images imported, s": at_most(import_s, IMPORT_S),
            "50,000 labelled images exported as COCO, s": at_most(export_s, EXPORT_S),
        },
    )


def test_labels_of_as_many_captures_with_their_events(registry: Registry) -> None:
    seconds, made = registry.timed_import(packed(coco(know_captures(registry.database, IMAGES_IN_ALL)), {}))
    assert made["added"] == IMAGES_IN_ALL
    write("registry", {"import_of_capture_labels_s": seconds}, {})


def test_labels_with_their_pictures(registry: Registry) -> None:
    """Pictures go to the object store one by one, each of them durable before its label is written."""
    pixels = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    names = [f"{number:06}.png" for number in range(WITH_PICTURES)]
    pictures = {}
    for number, name in enumerate(names):
        pixels[0, :2] = divmod(number, 256)
        pictures[name] = bytes(cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1])
    seconds, made = registry.timed_import(packed(coco(names), pictures))
    assert made["added"] == WITH_PICTURES
    write("registry", {"images_with_pictures_per_s": WITH_PICTURES / seconds}, {})


def test_beside_label_studio(registry: Registry, tmp_path: Path) -> None:
    """The same boxes on as many images, in and out, of both: neither fetches a picture."""
    names = know_images(registry.database, SIDE_BY_SIDE)
    import_s, made = registry.timed_import(packed(coco(names), {}))
    assert made["done"] == SIDE_BY_SIDE
    export_s, ours = registry.timed_export()
    with label_studio.running(tmp_path) as studio:
        project = studio.project([str(row["name"]) for row in CLASSES if row["is_defect"]])
        its_import_s = studio.timed_import(project, tasks(names))
        its_export_s, theirs = studio.timed_export(project)
    with zipfile.ZipFile(io.BytesIO(ours)) as mine, zipfile.ZipFile(io.BytesIO(theirs)) as other:
        documents = json.loads(mine.read("annotations.json")), json.loads(other.read("result.json"))
    for document in documents:
        assert len(document["images"]) == SIDE_BY_SIDE and len(document["annotations"]) == 2 * SIDE_BY_SIDE
    write(
        "registry",
        {
            "label_studio": {
                "version": label_studio.version(),
                "images": SIDE_BY_SIDE,
                "boxes": 2 * SIDE_BY_SIDE,
                "import_s": its_import_s,
                "export_coco_s": its_export_s,
                "registry_import_s": import_s,
                "registry_export_coco_s": export_s,
                "what": "Label Studio's own server on SQLite, signed in by session, takes its JSON with addresses of"
                " pictures; the registry on PostgreSQL takes COCO about images that it knows. Both give COCO without"
                " pictures.",
            },
        },
        {
            "import, times Label Studio's speed": at_least(its_import_s / import_s, TIMES_FASTER),
            "export as COCO, times Label Studio's speed": at_least(its_export_s / export_s, TIMES_FASTER),
        },
    )
