"""Dataset versions with parts, shapes and segments; the closed holdout; diffs; evaluation batches; agreement."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import dataset_registry
import numpy as np
import psycopg
import pytest
from andon_chassis.database import Database
from andon_chassis.testing import context
from andon_vision.hashing import hash_to_hex, perceptual_hash
from dataset_registry.adapters.looking import Looking
from dataset_registry.domain.manifests import manifest, parted

from .conftest import Registry, capture
from .dataset_room import PART_KEYS, cut, evaluate, items, label, looks
from .labeling_room import Room, box, marked
from .test_registry_api import problem


class TestManifests:
    def test_a_list_of_labels_keeps_its_bytes(self) -> None:
        row = {
            "capture_id": "c1",
            "label_id": "l1",
            "class_name": "good",
            "is_defect": False,
            "taxonomy_version": None,
            "image": {"b": 1, "a": "ü"},
            "context": {},
        }
        made = manifest([row | {"unasked": 1}])
        assert made.content.decode() == (
            '{"classes":["good"],"format":"andonloop.dataset/1","items":[{"capture_id":"c1","class_name":"good",'
            '"context":{},"image":{"a":"ü","b":1},"is_defect":false,"label_id":"l1","taxonomy_version":null}]}'
        )
        assert made.hash == hashlib.sha256(made.content).hexdigest()

    def test_the_version_depends_on_its_holdout_and_does_not_show_it(self) -> None:
        rows = [
            {"capture_id": f"c{n}", "class_name": "good", "split": "holdout" if n else "train"}
            for n in range(3)
        ]
        first, holdout = parted(rows, None)
        assert holdout
        assert b"c1" not in first.content
        assert json.loads(first.content)["holdout"] == {"items": 2, "sha256": holdout.hash}
        assert parted(rows[::-1], None) == (first, holdout)
        other, _ = parted([*rows[:2], rows[2] | {"class_name": "crack"}], None)
        assert other.hash != first.hash


class TestParted:
    def test_parts_hold_their_shares_and_no_part_is_divided(self, registry: Registry) -> None:
        label(registry, 0, 200)
        made = cut(registry, split=PART_KEYS)
        assert made["format"] == "andonloop.dataset/2"
        assert made["parts"] == {"train": 140, "validation": 30, "holdout": 30}
        assert (made["items"], made["holdout"]["items"], made["holdout"]["readings"]) == (170, 30, 0)
        assert made["leakage"]["verdict"] == "unproven", "nobody has computed a perceptual hash here"
        known = items(registry, made)
        held = {item["capture_id"]: item for item in evaluate(registry, made).json()["items"]}
        assert len(known | held) == 200
        assert {item["split"] for item in held.values()} == {"holdout"}
        by_part = [(item["context"]["part_id"], item["split"]) for item in (known | held).values()]
        assert len(set(by_part)) == 100
        assert Counter(item["class_name"] for item in held.values())["crack"] == pytest.approx(30 / 4, abs=1)
        segments = {s["segment"]: s["images"] for s in made["segments"]}
        assert (segments["holdout"], sum(segments.values())) == (30, 200)

    def test_the_same_again_is_the_same_version(self, registry: Registry) -> None:
        label(registry, 0, 40)
        first = cut(registry, split=PART_KEYS)
        assert cut(registry, 200, split=PART_KEYS, created_by="somebody else")["hash"] == first["hash"]
        assert cut(registry, split=PART_KEYS | {"seed": "another"})["hash"] != first["hash"]
        assert [v["hash"] for v in registry.get("/v1/datasets/snapshots", limit=1)["items"]] != [
            first["hash"]
        ]

    def test_perceptual_neighbours_stay_together_and_the_report_is_clean(self, registry: Registry) -> None:
        label(registry, 0, 60)
        chance = random.Random(2)
        bursts = [chance.getrandbits(64) for _ in range(10)]
        looks(registry, {capture(str(n)): bursts[n // 6] ^ (1 << n % 6) for n in range(60)})
        made = cut(registry, split={"keys": ["neighbour", "part"], "distance": 2})
        assert made["leakage"]["verdict"] == "clean"
        report = registry.get(f"/v1/datasets/snapshots/{made['hash']}/leakage", distance=2)
        assert report["verdict"] == "clean"
        flat = cut(registry)
        halves = {item: "train" if n % 2 else "test" for n, item in enumerate(items(registry, flat))}
        url = f"/v1/datasets/snapshots/{flat['hash']}/leakage"
        checked = registry.http.post(url, json={"parts": halves, "distance": 2}).json()
        assert checked["verdict"] == "leaks"
        kinds = {leak["kind"]: leak for leak in checked["leaks"]}
        assert kinds["neighbour"]["pairs"] > 0 and kinds["part"]["pairs"] > 0
        assert kinds["neighbour"]["examples"][0]["distance"] <= 2
        problem(registry.http.get(url), 409, "not-divided")
        stranger = {"parts": {capture("stranger"): "train"}}
        problem(registry.http.post(url, json=stranger), 422, "not-in-version")

    def test_images_that_came_without_a_hash_are_looked_at(self, registry: Registry) -> None:
        label(registry, 0, 40)
        looking = Looking(registry.objects)

        def look() -> int:
            with registry.database.transaction() as tx:
                return looking.look(tx.connection)

        assert (look(), look()) == (40, 0), "what is no image is looked at once"
        pixels = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
        png = cv2.imencode(".png", pixels)[1].tobytes()
        row = {
            "capture_id": capture("picture"),
            "class_name": "good",
            "context": context().to_avro(),
            "image": registry.image.to_avro()
            | {"object": registry.objects.put("images", png, "image/png").to_avro()},
        }
        registry.http.post("/v1/labels", json={"approved_by": "ada", "labels": [row]})
        assert look() == 1
        known = items(registry, cut(registry, shapes=True))
        assert known[capture("picture")]["perceptual_hash"] == hash_to_hex(perceptual_hash(pixels))
        assert known[capture("0")]["perceptual_hash"] is None

    def test_synthetic_images_are_learned_from_only(self, registry: Registry) -> None:
        label(registry, 0, 40)
        generated = [id_ for id_, item in items(registry, cut(registry)).items() if item["is_defect"]]
        looks(registry, dict.fromkeys(generated, 0), synthetic=True)
        made = cut(registry, split=PART_KEYS)
        assert {i["split"] for i in items(registry, made).values() if i["synthetic"]} == {"train"}
        assert not any(i["synthetic"] for i in evaluate(registry, made).json()["items"])
        marks = {"marked_by": "dana", "marks": [{"image_id": capture("0"), "segment": "holdout"}]}
        assert registry.http.post("/v1/datasets/segment-marks", json=marks).status_code == 201
        refused = registry.http.post("/v1/datasets/snapshots", json={"split": PART_KEYS})
        problem(refused, 422, "synthetic-outside-training")

    def test_marks_say_what_images_are_there_for(self, registry: Registry) -> None:
        label(registry, 0, 12)
        mark = {"image_id": capture("3"), "segment": "edge-case", "kind": "lighting"}
        body = {"marked_by": "dana", "marks": [mark, {"image_id": capture("5"), "segment": "holdout"}]}
        assert registry.http.post("/v1/datasets/segment-marks", json=body).json() == {"marked": 2}
        made = cut(registry, shapes=True)
        known = items(registry, made)
        assert known[capture("3")]["segment"] == "edge-case"
        assert capture("5") not in known
        assert made["holdout"]["items"] == 1
        edge = next(s for s in made["segments"] if s["segment"] == "edge-case")
        assert edge["by_name"] == {"lighting": 1}
        back = {"marked_by": "dana", "marks": [{"image_id": capture("5"), "segment": None}]}
        registry.http.post("/v1/datasets/segment-marks", json=back)
        assert capture("5") in items(registry, cut(registry, shapes=True))
        unknown = {"marked_by": "dana", "marks": [{"image_id": capture("77"), "segment": "normal"}]}
        problem(registry.http.post("/v1/datasets/segment-marks", json=unknown), 404, "unknown-image")

    def test_what_is_marked_on_an_image_is_in_the_version(self, registry: Registry) -> None:
        room = Room(registry)
        ids = room.captured(3)
        room.batch(ids)
        said = [
            marked(box("crack"), box("scratch", shape_id="s2")),
            {"verdict": "unusable"},
            {"verdict": "labeled", "classes": ["good"]},
        ]
        by_image = {}
        for annotation in said:
            task = room.next("ada")
            by_image[task["image"]["image_id"]] = annotation
            room.said(task, "ada", annotation)
        for _ in said:
            task = room.next("olga", "review")
            room.reviewed(task, "olga", "approve")
        made = cut(registry, shapes=True)
        known = items(registry, made)
        assert len(known) == 2, "nothing is learned from an unusable image"
        shaped = next(item for item in known.values() if item["shapes"])
        assert (shaped["class_name"], shaped["classes"]) == ("crack", ["crack", "scratch"])
        assert [shape["box"] for shape in shaped["shapes"]] == [[10, 10, 40, 20]] * 2
        assert by_image[shaped["capture_id"]] == said[0]
        assert "shapes" not in next(iter(items(registry, cut(registry)).values()))


class TestHoldout:
    def test_it_is_opened_for_evaluations_only_and_each_is_counted(self, registry: Registry) -> None:
        label(registry, 0, 40)
        made = cut(registry, split=PART_KEYS)
        for purpose in ("training", "tuning", "threshold"):
            problem(evaluate(registry, made, purpose), 403, "holdout-closed")
        url = f"/v1/datasets/snapshots/{made['hash']}/holdout"
        problem(registry.http.get(url), 422, "invalid-request")
        first, second = evaluate(registry, made), evaluate(registry, made, "audit")
        assert [first.headers["Holdout-Reading"], second.headers["Holdout-Reading"]] == ["1", "2"]
        assert first.content == second.content
        assert hashlib.sha256(first.content).hexdigest() == made["holdout"]["sha256"]
        assert first.headers["Cache-Control"] == "no-store"
        read = registry.get(f"{url}/readings")["items"]
        assert [(r["number"], r["by"], r["release"], r["purpose"]) for r in read] == [
            (2, "mo", "r1", "audit"),
            (1, "mo", "r1", "release-evaluation"),
        ]
        assert registry.get(f"/v1/datasets/snapshots/{made['hash']}")["holdout"]["readings"] == 2
        assert registry.get("/v1/audit", action="read-holdout")["items"][0]["actor"] == "mo"
        assert registry.get("/v1/audit/verification")["intact"] is True

    def test_readings_have_one_order(self, registry: Registry) -> None:
        label(registry, 0, 40)
        made = cut(registry, split=PART_KEYS)
        threads = [threading.Thread(target=evaluate, args=(registry, made)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        url = f"/v1/datasets/snapshots/{made['hash']}/holdout/readings"
        assert sorted(r["number"] for r in registry.get(url)["items"]) == [1, 2, 3, 4]

    def test_a_reading_counts_even_where_the_object_is_gone(self, registry: Registry) -> None:
        label(registry, 0, 40)
        made = cut(registry, split=PART_KEYS)
        for key in [key for key in registry.objects.objects if key[0] == "holdout"]:
            del registry.objects.objects[key]
        problem(evaluate(registry, made), 410, "missing-object")
        assert registry.get(f"/v1/datasets/snapshots/{made['hash']}")["holdout"]["readings"] == 1

    def test_it_lies_in_a_bucket_of_its_own_that_the_version_does_not_name(self, registry: Registry) -> None:
        label(registry, 0, 40)
        made = cut(registry, split=PART_KEYS)
        (key,) = [key for bucket, key in registry.objects.objects if bucket == "holdout"]
        assert key.endswith(made["holdout"]["sha256"])
        assert "holdout" not in made["manifest"]["bucket"]

    def test_training_reads_versions_and_nothing_that_a_holdout_could_be_read_from(
        self, registry: Registry
    ) -> None:
        label(registry, 0, 40)
        cut(registry, split=PART_KEYS)
        with registry.database.transaction() as tx:
            tx.connection.execute("SET LOCAL ROLE registry_training")
            assert len(tx.connection.execute("SELECT * FROM dataset_snapshots").fetchall()) == 1
        for table in ("dataset_holdouts", "holdout_readings", "labels", "annotations", "images", "captures"):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege),
                registry.database.transaction() as tx,
            ):
                tx.connection.execute("SET LOCAL ROLE registry_training")
                tx.connection.execute(
                    psycopg.sql.SQL("SELECT * FROM {}").format(psycopg.sql.Identifier(table))
                )

    def test_the_registry_of_a_plant_may_make_no_role_and_grants_the_one_that_is_there(
        self, registry: Registry, infra: Any, unique: Any
    ) -> None:
        name = unique("registry").replace("-", "_")
        role = psycopg.sql.Identifier(name)
        admin = psycopg.connect(infra.postgres_admin_url, autocommit=True)
        admin.execute(psycopg.sql.SQL("CREATE ROLE {} LOGIN NOCREATEROLE PASSWORD 'plant'").format(role))
        admin.execute(psycopg.sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
        place = urlsplit(infra.postgres_admin_url)
        url = f"postgresql://{name}:plant@{place.hostname}:{place.port}/{name}"
        database = Database(url, Path(dataset_registry.__file__).parent / "migrations", registry.codec)
        try:
            database.open()
            with database.transaction() as tx:
                granted = tx.connection.execute(
                    "SELECT table_name FROM information_schema.table_privileges WHERE grantee = 'registry_training'"
                ).fetchall()
            assert {row["table_name"] for row in granted} == {"dataset_snapshots", "taxonomies"}
        finally:
            database.close()
            admin.execute(psycopg.sql.SQL("DROP DATABASE {} WITH (FORCE)").format(role))
            admin.execute(psycopg.sql.SQL("DROP ROLE {}").format(role))
            admin.close()

    @pytest.mark.parametrize("table", ["dataset_holdouts", "holdout_readings", "dataset_divisions"])
    def test_what_was_read_cannot_be_unread(self, registry: Registry, table: str) -> None:
        label(registry, 0, 40)
        evaluate(registry, cut(registry, split=PART_KEYS))
        with pytest.raises(psycopg.errors.RaiseException), registry.database.transaction() as tx:
            tx.connection.execute(psycopg.sql.SQL("DELETE FROM {}").format(psycopg.sql.Identifier(table)))
