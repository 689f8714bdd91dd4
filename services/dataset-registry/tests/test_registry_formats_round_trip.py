"""Every format gives back what it can hold, and says what it cannot."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Origin, Polygon, Shape
from dataset_registry.domain.interchange import LabelledImage, Losses, Problem, Vocabulary, vocabulary
from dataset_registry.domain.refusals import Refused
from dataset_registry.formats import WRITTEN, marks, read, write
from dataset_registry.formats.archives import opened
from dataset_registry.formats.marks import Material
from dataset_registry.formats.writing import zipped
from hypothesis import given, settings
from hypothesis import strategies as st

WIDTH, HEIGHT = 40, 30
CLASSES = ("crack", "Größe 3", 'a "quoted", <odd> & class')
POINTS = ("end", "start", "tip")

steps = st.integers(0, 4 * 10).map(lambda value: value / 4)
instances = st.none() | st.integers(1, 5)
measurements = st.dictionaries(st.sampled_from(("length_px", "area_mm2")), st.floats(0, 1e6), max_size=2)


@st.composite
def boxes(draw: Any) -> Box:
    x, y = draw(st.integers(0, 28)), draw(st.integers(0, 18))
    return Box(x / 2, y / 2, draw(st.integers(1, 40)) / 2, draw(st.integers(1, 30)) / 2)


@st.composite
def rings(draw: Any, left: float = 0.0, width: float = WIDTH) -> tuple[tuple[float, float], ...]:
    """A star around the middle: its points lie in order around it, so it never crosses itself."""
    count = draw(st.integers(3, 8))
    radii = draw(st.lists(st.integers(3, 12), min_size=count, max_size=count))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    scale = width / WIDTH
    return tuple(
        (
            round(left + width / 2 + r * scale * float(np.cos(a)), 3),
            round(HEIGHT / 2 + r * float(np.sin(a)), 3),
        )
        for r, a in zip(radii, angles, strict=True)
    )


polygons = rings().map(lambda ring: Polygon((ring,)))


@st.composite
def masks(draw: Any) -> Mask:
    seed = draw(st.integers(0, 1000))
    pixels = np.random.default_rng(seed).random((HEIGHT, WIDTH)) < draw(st.sampled_from((0.02, 0.5, 0.99)))
    pixels[seed % HEIGHT, seed % WIDTH] = True
    return marks.mask(pixels)


@st.composite
def figures(draw: Any) -> KeyPoints:
    places = draw(
        st.dictionaries(st.sampled_from(POINTS), st.tuples(steps, steps.map(lambda y: y * 3 / 4)), min_size=1)
    )
    return marks.key_points(places, [("end", "start")])


@st.composite
def shapes(draw: Any, geometries: Any) -> Shape:
    return Shape(
        draw(st.uuids()).hex[:8],
        draw(st.sampled_from(CLASSES)),
        draw(geometries),
        draw(instances),
        Origin.IMPORT,
        measurements=tuple(sorted(draw(measurements).items())),
    )


def images(geometries: Any) -> Any:
    """Up to three images with shapes of these kinds."""
    image = st.builds(
        LabelledImage,
        name=st.sampled_from(("a.png", "b.jpg", "sub/c.png")),
        width=st.just(WIDTH),
        height=st.just(HEIGHT),
        classes=st.lists(st.sampled_from(CLASSES), unique=True, max_size=2).map(tuple),
        shapes=st.lists(shapes(geometries), max_size=4, unique_by=lambda s: s.shape_id).map(tuple),
        context=st.dictionaries(
            st.sampled_from(("line", "station")), st.sampled_from(("a, b", "ü")), max_size=2
        ),
    )
    return st.lists(image, min_size=1, max_size=3, unique_by=lambda i: i.name).map(
        lambda found: sorted(found, key=lambda i: i.name)
    )


KINDS = {"box": boxes(), "polygon": polygons, "mask": masks(), "key-points": figures()}
SAMPLE = [
    LabelledImage(
        "a.png",
        WIDTH,
        HEIGHT,
        ("crack",),
        (
            Shape("1", "crack", Box(1.5, 2, 10, 8), 1, Origin.IMPORT, measurements=(("length_px", 3.25),)),
            Shape("2", "Größe 3", Polygon((((2, 2), (30, 4), (15, 25)),)), origin=Origin.IMPORT),
            Shape("3", "crack", marks.mask(np.eye(HEIGHT, WIDTH, 3, dtype=bool)), origin=Origin.IMPORT),
            Shape("4", "scale", marks.key_points({"start": (1, 2), "end": (20, 9)}), origin=Origin.IMPORT),
        ),
    ),
    LabelledImage("b.jpg", WIDTH, HEIGHT, ("good",)),
]
HELD: dict[str, tuple[set[str], set[str]]] = {
    "coco": ({"box", "polygon", "mask", "key-points"}, {"instance", "measurements"}),
    "yolo": ({"box"}, set()),
    "yolo-segmentation": ({"polygon"}, set()),
    "voc": ({"box"}, set()),
    "cvat": ({"box", "polygon", "mask", "key-points"}, {"classes", "instance"}),
    "label-studio": (
        {"box", "polygon", "mask", "key-points"},
        {"classes", "instance", "measurements", "shape_id"},
    ),
    "datumaro": ({"box", "polygon", "mask", "key-points"}, {"classes", "instance", "measurements"}),
    "csv": (
        {"box", "polygon", "mask", "key-points"},
        {"classes", "instance", "measurements", "shape_id", "context"},
    ),
    "masks": (set(), set()),
    "masks-indexed": (set(), set()),
}
"""What each format holds: kinds of shapes, and what else of an image and its shapes."""
JOINED = {"coco", "label-studio", "datumaro", "csv"}


def exported(name: str, given: list[LabelledImage]) -> tuple[bytes, set[str]]:
    """The archive, with the pictures that some formats need, and what was lost."""
    losses = Losses()
    data = b"".join(zipped(write(name, given, vocabulary(given), losses)))
    held = io.BytesIO(data)
    with zipfile.ZipFile(held, "a") as archive:
        for image in given:
            pixels = np.zeros((image.height, image.width), np.uint8)
            archive.writestr(
                f"images/{image.name}", cv2.imencode(Path(image.name).suffix, pixels)[1].tobytes()
            )
    return held.getvalue(), {str(loss["what"]) for loss in losses.report()}


def imported(name: str | None, data: bytes, folder: Path) -> list[LabelledImage | Problem]:
    path = folder / "archive.zip"
    path.write_bytes(data)
    with opened(path) as tree:
        return list(read(Material(tree), name))


def kept(image: LabelledImage, name: str) -> LabelledImage:
    """What is left of an image in this format."""
    _, more = HELD[name]
    left = []
    for number, shape in enumerate(image.shapes, 1):
        geometry: Geometry = shape.geometry
        if isinstance(geometry, KeyPoints) and name not in JOINED:
            geometry = replace(geometry, joins=())
        left.append(
            replace(
                shape,
                geometry=geometry,
                shape_id=shape.shape_id if "shape_id" in more else f"s{number}",
                instance=shape.instance if "instance" in more else None,
                measurements=shape.measurements if "measurements" in more else (),
            )
        )
    return replace(
        image,
        shapes=tuple(left),
        classes=image.classes if "classes" in more else (),
        context=image.context if "context" in more else {},
    )


PAIRS = [(name, kind) for name, (kinds, _) in HELD.items() for kind in sorted(kinds)]


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_what_a_format_holds_comes_back_equal(name: str, kind: str, tmp_path: Path) -> None:
    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(images(KINDS[kind]))
    def holds(images: list[LabelledImage]) -> None:
        data, lost = exported(name, images)
        assert imported(name, data, tmp_path) == [kept(image, name) for image in images]
        changed = any(kept(image, name) != image for image in images)
        assert bool(lost) == changed, lost

    holds()


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_images_are_the_same_bytes(name: str) -> None:
    assert exported(name, SAMPLE) == exported(name, SAMPLE)


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "yolo-segmentation"])
def test_a_format_is_known_by_its_files(name: str, tmp_path: Path) -> None:
    data, _ = exported(name, SAMPLE)
    found = imported(None, data, tmp_path)
    assert found == imported(name, data, tmp_path)
    assert found and not any(isinstance(item, Problem) for item in found)


@pytest.mark.parametrize("name", ["masks", "masks-indexed"])
def test_masks_hold_the_pixels_of_each_class(name: str, tmp_path: Path) -> None:
    @settings(max_examples=25, deadline=None, derandomize=True, database=None)
    @given(images(masks()))
    def holds(images: list[LabelledImage]) -> None:
        data, lost = exported(name, images)
        given = {image.name: pixels_by_class(image, covering=name == "masks-indexed") for image in images}
        found = {item.name: pixels_by_class(item, covering=False) for item in imported(name, data, tmp_path)}
        assert {picture: classes for picture, classes in found.items() if classes} == {
            picture: classes for picture, classes in given.items() if classes
        }
        shapes = [shape for image in images for shape in image.shapes]
        assert ("shape-id" in lost) == bool(shapes)
        assert ("instance" in lost) == any(shape.instance is not None for shape in shapes)

    holds()


def area_of(shape: Shape) -> marks.Pixels:
    assert not isinstance(shape.geometry, KeyPoints)
    return marks.pixels(shape.geometry, WIDTH, HEIGHT)


def pixels_by_class(image: LabelledImage | Problem, *, covering: bool) -> dict[str, bytes]:
    """The union of the shapes of each class; where they cover one another, the last class drawn first wins."""
    assert isinstance(image, LabelledImage)
    drawn: dict[str, Any] = {}
    for shape in image.shapes:
        pixels = area_of(shape)
        drawn[shape.class_name] = drawn.get(shape.class_name, False) | pixels
    names = list(drawn)
    if covering:
        for place, name in enumerate(names):
            for later in names[place + 1 :]:
                drawn[name] = drawn[name] & ~drawn[later]
    return {name: pixels.tobytes() for name, pixels in drawn.items() if pixels.any()}


def test_what_a_format_cannot_hold_is_written_simpler_and_said(tmp_path: Path) -> None:
    ring = ((2.0, 2.0), (20.0, 2.0), (20.0, 20.0), (2.0, 20.0))
    hole = ((6.0, 6.0), (12.0, 6.0), (12.0, 12.0), (6.0, 12.0))
    holed = Shape("p", "crack", Polygon((ring, hole)), origin=Origin.IMPORT)
    for name in ("coco", "cvat", "label-studio", "datumaro"):
        data, lost = exported(name, [LabelledImage("a.png", WIDTH, HEIGHT, (), (holed,))])
        (image,) = imported(name, data, tmp_path)
        assert isinstance(image, LabelledImage) and "polygon-with-holes-as-mask" in lost
        pixels = area_of(image.shapes[0])
        assert pixels.sum() == 18 * 18 - 6 * 6 and not pixels[8, 8] and pixels[4, 4]
    data, lost = exported("voc", [LabelledImage("a.png", WIDTH, HEIGHT, (), (holed,))])
    (image,) = imported("voc", data, tmp_path)
    assert isinstance(image, LabelledImage) and "polygon-as-box" in lost
    assert image.shapes[0].geometry == Box(2, 2, 18, 18)


def test_a_byte_has_no_room_for_so_many_classes() -> None:
    words = Vocabulary(tuple(f"class {number}" for number in range(256)))
    with pytest.raises(Refused, match="too-many-classes"):
        list(write("masks-indexed", SAMPLE, words, Losses()))


def test_an_outline_covers_its_mask_but_for_half_a_pixel(tmp_path: Path) -> None:
    drawn = np.zeros((HEIGHT, WIDTH), bool)
    drawn[5:15, 8:30] = True
    drawn[20, 3:9] = True
    mask = Shape("m", "crack", marks.mask(drawn), origin=Origin.IMPORT)
    data, lost = exported("yolo-segmentation", [LabelledImage("a.png", WIDTH, HEIGHT, (), (mask,))])
    (image,) = imported("yolo-segmentation", data, tmp_path)
    assert isinstance(image, LabelledImage) and "mask-as-outline" in lost
    again = np.logical_or.reduce([area_of(shape) for shape in image.shapes])
    assert not (again & ~drawn).any() and (drawn & ~again).sum() <= 2 * (10 + 22)


def test_coco_is_read_by_pycocotools_as_by_us(tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    data, _ = exported("coco", SAMPLE)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extract("annotations.json", tmp_path)
    theirs = coco.COCO(str(tmp_path / "annotations.json"))
    ours = {item.name: item for item in imported("coco", data, tmp_path) if isinstance(item, LabelledImage)}
    names = {category["id"]: category["name"] for category in theirs.loadCats(theirs.getCatIds())}
    for image in theirs.loadImgs(theirs.getImgIds()):
        annotations = theirs.loadAnns(theirs.getAnnIds(imgIds=[image["id"]]))
        shapes = ours[image["file_name"]].shapes
        assert [names[annotation["category_id"]] for annotation in annotations] == [
            s.class_name for s in shapes
        ]
        for annotation, shape in zip(annotations, shapes, strict=True):
            if isinstance(shape.geometry, Mask | Polygon):
                pixels = area_of(shape)
                differing = int((theirs.annToMask(annotation).astype(bool) != pixels).sum())
                assert differing <= (0 if isinstance(shape.geometry, Mask) else 6)
            if isinstance(shape.geometry, Box):
                box = shape.geometry
                assert annotation["bbox"] == [box.x, box.y, box.width, box.height]
            if isinstance(shape.geometry, KeyPoints):
                assert annotation["num_keypoints"] == len(shape.geometry.points)
