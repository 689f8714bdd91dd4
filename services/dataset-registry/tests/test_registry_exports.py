"""What came in goes out: the same labels, the same bytes, and a word about what is lost."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

from .conftest import Registry, capture
from .test_registry_imports import archive, coco, five, picture, send


def exported(registry: Registry, **query: Any) -> dict[str, bytes]:
    answer = registry.http.get("/v1/exports", params={"format": "coco"} | query)
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as made:
        return {name: made.read(name) for name in made.namelist()}


def test_what_came_in_goes_out_the_same(registry: Registry) -> None:
    send(registry, five())
    files = exported(registry, pictures=True)
    assert files == exported(registry, pictures=True)
    document = json.loads(files["annotations.json"])
    assert [image["file_name"] for image in document["images"]] == [f"p{number}.png" for number in range(5)]
    assert [annotation["bbox"] for annotation in document["annotations"]] == [
        [2, 3, 10 + n, 8] for n in range(4)
    ]
    assert files["images/p3.png"] == picture(3)
    lost = {loss["what"] for loss in json.loads(files["losses.json"])}
    assert lost == {"image-class", "shape-id"}
    assert {loss["what"] for loss in registry.get("/v1/exports/losses", format="coco")["items"]} == lost
    first, second = (
        registry.http.get("/v1/exports", params={"format": "voc", "pictures": True}).content for _ in range(2)
    )
    assert first == second


def test_a_past_moment_is_exported_as_it_was(registry: Registry) -> None:
    send(registry, five())
    before = exported(registry)
    moment = registry.clock.now()
    registry.clock.advance(60)
    send(registry, archive(coco(["p0.png"], [("p0.png", [1, 1, 2, 2])])))
    assert exported(registry) != before
    assert exported(registry, as_of=moment.isoformat()) == before


def test_a_dataset_version_goes_out_as_it_was_cut(registry: Registry) -> None:
    registry.publish_taxonomy()
    registry.take(registry.captured("1"))
    name = f"{capture('1')}.png"
    send(registry, coco([name], [(name, [2, 3, 10, 8])], width=300, height=300))
    body = {"purpose": "training", "created_by": "dana", "shapes": True}
    cut = registry.http.post("/v1/datasets/snapshots", json=body)
    assert cut.status_code == 201, cut.text
    version = exported(registry, dataset=cut.json()["hash"])
    send(registry, coco([name], [(name, [50, 50, 9, 9])], width=300, height=300))
    assert exported(registry, dataset=cut.json()["hash"]) == version
    document = json.loads(version["annotations.json"])
    assert [annotation["bbox"] for annotation in document["annotations"]] == [[2, 3, 10, 8]]
    assert registry.http.get("/v1/exports", params={"format": "coco", "dataset": "0" * 64}).status_code == 404


def test_only_a_batch_or_a_station_goes_out(registry: Registry) -> None:
    send(registry, five(), context={"line": "line-a", "station": "cell-1"})
    send(registry, five(), source="set-b", context={"line": "line-b", "station": "cell-1"})
    images = registry.get("/v1/images", line="line-b")["items"]
    body = {"name": "some", "created_by": "olga"}
    batch = registry.http.post("/v1/batches", json=body)
    assert batch.status_code == 201, batch.text
    path = f"/v1/batches/{batch.json()['batch_id']}/images"
    chosen = {"images": [images[0]["image_id"]], "added_by": "olga"}
    assert registry.http.post(path, json=chosen).status_code in (200, 201)
    for query, expected in (({"batch": batch.json()["batch_id"]}, 1), ({"line": "line-a"}, 5), ({}, 10)):
        assert len(json.loads(exported(registry, **query)["annotations.json"])["images"]) == expected


def test_two_sources_may_use_the_same_names(registry: Registry) -> None:
    send(registry, five())
    send(registry, five(), source="set-b")
    names = [image["file_name"] for image in json.loads(exported(registry)["annotations.json"])["images"]]
    assert len(set(names)) == 10
