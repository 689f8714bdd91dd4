"""Large images go out as tiles: each level right to a pixel, made once, within a known memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from dataset_registry.domain.pyramid import TILE, Pyramid, is_large
from psycopg.types.json import Jsonb

from .conftest import Registry, capture
from .test_registry_api import problem

Image = npt.NDArray[np.uint8]
WIDTH, HEIGHT = 1300, 1030
"""Three columns and rows, the last ones not full."""


@pytest.fixture(scope="module")
def pattern() -> Image:
    """No two places look alike."""
    noise = np.random.default_rng(4).integers(0, 255, (HEIGHT // 10, WIDTH // 10), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (WIDTH, HEIGHT)), np.uint8)


def encoded(pixels: Image, suffix: str = ".png", *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, pixels, options)[1])


def known(registry: Registry, name: str, data: bytes, media_type: str = "image/png", **size: int) -> str:
    """An imported image with these bytes; its id."""
    ref = registry.objects.put("images", data, media_type)
    with registry.database.transaction() as tx:
        tx.connection.execute(
            "INSERT INTO images (image_id, origin, name, object, width, height, context, captured_at, added_at,"
            " added_by) VALUES (%s, 'import', %s, %s, %s, %s, '{}', now(), now(), 'dana')",
            (capture(name), name, Jsonb(ref.to_avro()), size.get("width", WIDTH), size.get("height", HEIGHT)),
        )
    return capture(name)


def tile(registry: Registry, image: str, level: int, column: int, row: int) -> Image:
    answer = registry.http.get(f"/v1/images/{image}/tiles/{level}/{column}_{row}.png")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    return np.asarray(cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED))


class TestPyramid:
    def test_levels_are_those_of_dzi(self) -> None:
        made = Pyramid(12_000, 9_000)
        assert made.top == 14
        assert [made.size(level) for level in (14, 13, 9, 1, 0)] == [
            (12_000, 9_000),
            (6_000, 4_500),
            (375, 282),
            (2, 2),
            (1, 1),
        ]
        assert made.grid(14) == (24, 18)
        assert made.grid(made.overview) == (1, 1) and made.grid(made.overview + 1) == (2, 2)
        assert Pyramid(1, 1).top == 0
        assert Pyramid(16_384, 1).grid(14) == (32, 1)

    def test_what_is_large(self) -> None:
        assert not is_large(4000, 3000)
        assert is_large(4001, 3000)
        assert is_large(16_384, 100)


class TestTiles:
    def test_the_last_level_is_the_image_pixel_for_pixel(self, registry: Registry, pattern: Image) -> None:
        image = known(registry, "1", encoded(pattern))
        said = registry.get(f"/v1/images/{image}/tiles")["Image"]
        assert said["Url"] == f"/v1/images/{image}/tiles/"
        assert (said["Format"], said["TileSize"], said["Overlap"]) == ("png", str(TILE), "0")
        assert said["Size"] == {"Width": str(WIDTH), "Height": str(HEIGHT)}
        rows = [
            np.hstack([tile(registry, image, 11, column, row) for column in range(3)]) for row in range(3)
        ]
        assert np.array_equal(np.vstack(rows), pattern)
        assert tile(registry, image, 11, 2, 2).shape == (HEIGHT - 2 * TILE, WIDTH - 2 * TILE)

    def test_smaller_levels_show_the_same(self, registry: Registry, pattern: Image) -> None:
        image = known(registry, "1", encoded(pattern))
        half = np.vstack(
            [np.hstack([tile(registry, image, 10, column, row) for column in range(2)]) for row in range(2)]
        )
        expected = cv2.resize(pattern, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
        assert np.abs(half.astype(int) - expected).max() <= 1
        assert tile(registry, image, 0, 0, 0).shape == (1, 1)
        assert abs(int(tile(registry, image, 0, 0, 0)[0, 0]) - pattern.mean()) < 4

    def test_colours_keep_their_order_and_jpegs_stay_jpegs(self, registry: Registry) -> None:
        pixels = np.full((600, 600, 3), (200, 60, 20), np.uint8)  # blue, as OpenCV has it
        image = known(registry, "1", encoded(pixels, ".jpg"), "image/jpeg", width=600, height=600)
        assert registry.get(f"/v1/images/{image}/tiles")["Image"]["Format"] == "jpg"
        answer = registry.http.get(f"/v1/images/{image}/tiles/10/1_1.jpg")
        assert answer.headers["Content-Type"] == "image/jpeg"
        seen = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
        assert seen.shape == (88, 88, 3)
        assert np.abs(seen.astype(int) - pixels[:88, :88]).max() <= 3

    def test_of_sixteen_bits_the_upper_ones_are_shown(self, registry: Registry, pattern: Image) -> None:
        deep = pattern.astype(np.uint16) * 256 + 7
        image = known(registry, "1", encoded(deep))  # type: ignore[arg-type]
        assert np.array_equal(tile(registry, image, 11, 0, 0), pattern[:TILE, :TILE])

    def test_what_is_not_there_is_not_found(self, registry: Registry, pattern: Image) -> None:
        image = known(registry, "1", encoded(pattern))
        here = f"/v1/images/{image}/tiles"
        for place in ("12/0_0", "11/3_0", "11/0_3", "0/1_0"):
            problem(registry.http.get(f"{here}/{place}.png"), 404, "unknown-tile")
        problem(registry.http.get(f"{here}/11/0_0.jpg"), 404, "unknown-tile")
        for place in ("-1/0_0", "a/0_0", "11/0_99999999"):
            problem(registry.http.get(f"{here}/{place}.png"), 422, "invalid-request")
        nobody = f"/v1/images/{capture('9')}/tiles"
        problem(registry.http.get(nobody), 404, "unknown-image")
        problem(registry.http.get(f"{nobody}/0/0_0.png"), 404, "unknown-image")
        problem(registry.http.get(f"/v1/captures/{capture('9')}/tiles"), 404, "unknown-capture")

    def test_a_capture_has_tiles_before_it_is_labeled(self, registry: Registry, pattern: Image) -> None:
        ref = registry.objects.put("images", encoded(pattern), "image/png")
        registry.image = replace(registry.image, object=ref)
        registry.take(registry.captured("1"))
        said = registry.get(f"/v1/captures/{capture('1')}/tiles")["Image"]
        answer = registry.http.get(f"{said['Url']}11/2_2.png")
        assert answer.status_code == 200
        tag = answer.headers["ETag"]
        again = registry.http.get(f"{said['Url']}11/2_2.png", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert (
            registry.http.get(
                f"/v1/captures/{capture('1')}/tiles", headers={"If-None-Match": tag}
            ).status_code
            == 200
        )

    def test_what_is_no_image_says_so(self, registry: Registry) -> None:
        image = known(registry, "1", b"\x89PNG not really")
        answer = registry.http.get(f"/v1/images/{image}/tiles")
        assert answer.status_code == 422, answer.text
        for key in list(registry.objects.objects):
            del registry.objects.objects[key]
        problem(registry.http.get(f"/v1/images/{image}/tiles"), 410, "missing-object")


class TestKeeping:
    def test_a_pyramid_is_made_once_and_again_when_it_is_lost(
        self, registry: Registry, pattern: Image
    ) -> None:
        image, before = known(registry, "1", encoded(pattern)), set(registry.objects.objects)
        first = registry.http.get(f"/v1/images/{image}/tiles").json()
        stored = registry.objects.objects.keys() - before
        assert {bucket for bucket, _ in stored} == {"derived"}
        other = known(registry, "2", encoded(pattern))
        assert (
            registry.http.get(f"/v1/images/{other}/tiles").json()["Image"]["Size"] == first["Image"]["Size"]
        )
        assert registry.objects.objects.keys() - before == stored, "the same bytes"
        for key in stored:
            del registry.objects.objects[key]
        assert np.array_equal(tile(registry, image, 11, 1, 1), pattern[TILE : 2 * TILE, TILE : 2 * TILE])
        assert registry.objects.objects.keys() - before == stored

    def test_large_images_that_are_to_be_labeled_are_made_ahead(self, registry: Registry) -> None:
        pixels = np.random.default_rng(2).integers(0, 255, (40, 8500), dtype=np.uint8)
        image = known(registry, "1", encoded(pixels), width=8500, height=40)
        known(registry, "2", b"no image", width=8500, height=40)
        known(registry, "3", encoded(pixels[:20, :20]), width=20, height=20)
        made = [registry.pyramids.make_next() for _ in range(3)]
        assert made == [True, True, False], "what cannot be cut is tried once, what is small not at all"
        with registry.database.transaction() as tx:
            rows = tx.connection.execute("SELECT tiles IS NULL AS broken FROM pyramids ORDER BY 1").fetchall()
        assert [row["broken"] for row in rows] == [False, True]
        thumbnail = registry.http.get(f"/v1/images/{image}/picture", params={"view": "thumbnail"})
        assert thumbnail.status_code == 200
        small = cv2.imdecode(np.frombuffer(thumbnail.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert small.shape == (2, 266), "of the largest level that is one tile"

    def test_an_image_that_only_a_plant_with_higher_limits_takes_is_cut_within_bounds(
        self, tmp_path: Path
    ) -> None:
        """16,384 x 4,096 grey: 67 MB decoded. In a process of its own, whose peak can be seen."""
        cell = np.random.default_rng(1).integers(0, 255, (64, 64), dtype=np.uint8)
        file = tmp_path / "large.png"
        file.write_bytes(encoded(np.tile(cell, (64, 256)), ".png", cv2.IMWRITE_PNG_COMPRESSION, 1))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
        environment["ANDON_MAX_IMAGE_PIXELS"] = "70000000"
        done = subprocess.run(
            [sys.executable, "-c", CUT, str(file)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        count, peak_kb = map(int, done.stdout.split())
        levels = Pyramid(16_384, 4_096)
        assert count == sum(np.prod(levels.grid(level)) for level in range(levels.top + 1))
        assert peak_kb < 67_000 * 1.25 + 30_000, "the image, a quarter of it, and little else"


CUT = """
import sys
from pathlib import Path
from andon_vision.decode import DecodeLimits
from dataset_registry.adapters.tiling import tiles
data = Path(sys.argv[1]).read_bytes()
def peak():  # since the program began; what getrusage says is at least its parent's
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
_, _, cut = tiles(data, DecodeLimits(1 << 30, 70_000_000))
count = sum(1 for _ in cut)
print(count, peak() - before)
"""
