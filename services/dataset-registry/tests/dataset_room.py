"""What tests of dataset versions do: labelled images in, versions out, the holdout opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from andon_chassis.testing import context

from .conftest import Registry, capture

PART_KEYS = {"keys": ["part"]}


def label(registry: Registry, start: int, stop: int, defect_every: int = 4, **known: Any) -> None:
    """Labels of images from a laboratory, each with bytes of its own, two of each part."""
    rows = [
        {
            "capture_id": capture(str(n)),
            "class_name": "crack" if (n // 2) % defect_every == 0 else "good",
            "context": context(
                **{"part_id": f"p{n // 2}", "part_number": "7", "camera": f"cam-{n % 3}"} | known
            ).to_avro(),
            "image": registry.image.to_avro()
            | {"object": registry.objects.put("images", f"image {n}".encode(), "image/png").to_avro()},
        }
        for n in range(start, stop)
    ]
    done = registry.http.post("/v1/labels", json={"approved_by": "ada", "labels": rows})
    assert done.status_code == 201, done.text


def looks(registry: Registry, hashes: Mapping[str, int], synthetic: bool = False) -> None:
    """Make labelled images known with their perceptual hashes, as an import does."""
    with registry.database.transaction() as tx:
        for number, (id_, bits) in enumerate(hashes.items()):
            tx.connection.execute(
                "INSERT INTO images (image_id, origin, name, object, width, height, context, captured_at,"
                " perceptual_hash, synthetic, added_at, added_by)"
                " SELECT capture_id, 'import', capture_id::text, image->'object', 1, 1, context,"
                " approved_at + %s * interval '1 day', %s, %s,"
                " approved_at, 'dana' FROM labels WHERE capture_id = %s",
                (number // 6, bits - (1 << 64) if bits >> 63 else bits, synthetic, id_),
            )


def cut(registry: Registry, status: int = 201, **body: Any) -> Any:
    made = registry.http.post("/v1/datasets/snapshots", json=body)
    assert made.status_code == status, made.text
    return made.json()


def items(registry: Registry, version: Mapping[str, Any]) -> dict[str, Any]:
    found = registry.get(version["manifest_url"])["items"]
    return {item["capture_id"]: item for item in found}


def evaluate(registry: Registry, version: Mapping[str, Any], purpose: str = "release-evaluation") -> Any:
    asked = {"by": "mo", "release": "r1", "purpose": purpose}
    return registry.http.get(f"/v1/datasets/snapshots/{version['hash']}/holdout", params=asked)
