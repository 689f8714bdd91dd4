"""What cannot be imported, and what the refusal says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from trainer.adapters.onnx_import.checking import check
from trainer.adapters.onnx_import.decoding import Scaling
from trainer.adapters.onnx_import.inspection import ImportRefused, read_original
from trainer.adapters.onnx_import.layouts import recognise
from trainer.adapters.onnx_import.reading import read_pictures
from trainer.adapters.onnx_import.reference import Numbers, Reference, probes
from trainer.adapters.onnx_import.surgery import wrap
from trainer.adapters.release_graph import HeatScale

KNOWN = {"stride": "32", "names": "['scratch', 'dent']"}


@pytest.fixture
def refused(imports, tmp_path: Path):
    """Imports a model that must be refused, and gives the reason; nothing may be left behind."""

    def reason(model: Path, *words: str, licence: str | None = "MIT") -> str:
        with pytest.raises(ImportRefused) as caught:
            imports(model, *words, licence=licence)
        assert not list(tmp_path.glob("out/*"))
        return str(caught.value)

    return reason


def plain(
    exported, path: Path, picture=(1, 3, 64, 64), kind=TensorProto.FLOAT, operator="Relu", **wanted
) -> Path:
    """One node between a picture and a map."""
    made = exported.Exported(**{"opset": 18, **wanted})
    made.nodes.append(
        helper.make_node(operator, ["input"], ["output"], domain="plug.in" if operator != "Relu" else "")
    )
    return made.save(path, ("input", picture, kind), [("output", picture, kind)])


def test_files_that_are_no_onnx(refused, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"these are not the weights you are looking for")
    assert "text.onnx is not an ONNX file" in refused(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "is not an ONNX file" in refused(tmp_path / "empty.onnx")


def test_a_graph_that_breaks_the_rules_of_onnx(exported, refused, tmp_path: Path) -> None:
    model = onnx.load(plain(exported, tmp_path / "m.onnx"))
    model.graph.node[0].input[0] = "nobody"
    onnx.save(model, tmp_path / "m.onnx")
    assert "m.onnx is not valid ONNX" in refused(tmp_path / "m.onnx")


def test_an_unknown_operator_is_named_with_its_domain(exported, refused, tmp_path: Path) -> None:
    reason = refused(plain(exported, tmp_path / "m.onnx", operator="EfficientNMS_TRT"))
    assert "EfficientNMS_TRT of domain plug.in" in reason and "without plug-ins" in reason


def test_an_opset_from_the_future(exported, refused, tmp_path: Path) -> None:
    model = onnx.load(plain(exported, tmp_path / "m.onnx"))
    model.opset_import[0].version = 999
    onnx.save(model, tmp_path / "m.onnx")
    assert "uses opset 999" in refused(tmp_path / "m.onnx")


def test_weights_that_were_left_behind(exported, refused, tmp_path: Path) -> None:
    model = onnx.load(exported.yolo_v8(tmp_path / "m.onnx", **KNOWN))
    onnx.save(
        model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx.data", size_threshold=0
    )
    (tmp_path / "m.onnx.data").unlink()
    assert "m.onnx.data, which is not beside it" in refused(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("picture", "kind", "expected"),
    [
        ((1, 1, 64, 64), TensorProto.FLOAT, "a picture of 3 channels is expected"),
        ((16, 3, 64, 64), TensorProto.FLOAT, "exactly 16 pictures at once"),
        ((1, 3), TensorProto.FLOAT, "has 3 or 4 axes"),
        ((1, 3, 64, 64), TensorProto.INT32, "is of type INT32"),
        ((1, 3, "height", "width"), TensorProto.FLOAT, "--size 640"),
        ((1, 3, 64, "width"), TensorProto.FLOAT, "--size 640"),
    ],
)
def test_an_input_that_is_no_picture(exported, refused, tmp_path: Path, picture, kind, expected) -> None:
    assert expected in refused(plain(exported, tmp_path / "m.onnx", picture, kind))


def test_two_inputs_are_named(exported, refused, tmp_path: Path) -> None:
    model = onnx.load(plain(exported, tmp_path / "m.onnx"))
    model.graph.input.append(helper.make_tensor_value_info("orig_size", TensorProto.INT64, [1, 2]))
    onnx.save(model, tmp_path / "m.onnx")
    assert "this one has input, orig_size" in refused(tmp_path / "m.onnx")


def test_a_size_that_the_model_does_not_take(exported, refused, tmp_path: Path) -> None:
    fixed = exported.yolo_v5(tmp_path / "fixed.onnx", **KNOWN)
    assert "takes pictures of 64 x 64 pixels and no others" in refused(fixed, "--size", "128")
    half_open = plain(exported, tmp_path / "half.onnx", (1, 3, 64, "width"))
    assert "height is 64 pixels, not 96" in refused(half_open, "--size", "96")


def test_what_the_file_leaves_open_is_asked_for(exported, refused, tmp_path: Path) -> None:
    nameless = exported.yolo_v5(tmp_path / "nameless.onnx")
    assert "--licence TEXT" in refused(nameless, licence=None)
    assert "--scale 1/255" in refused(nameless)
    assert "--classes scratch,dent; output0 is (1, 3, 7)" in refused(nameless, "--scale", "1/255")
    unscaled = exported.anomalib_1(tmp_path / "unscaled.onnx")
    assert "--range GOOD,BAD" in refused(unscaled, "--scale", "1/255")
    ambiguous = exported.yolo_v5(tmp_path / "one.onnx", [[16, 24, 16, 16, 0.5, 0.8]])
    assert "--layout yolo-v5" in refused(ambiguous, "--scale", "1/255", "--classes", "dent")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("a,b,c", "does not fit 3 classes"),
        ("a", "a background class, which cannot be imported"),
        ("a,a", "must differ"),
        ("a,normal", "must differ from each other and from 'normal'"),
    ],
)
def test_classes_that_do_not_fit(exported, refused, tmp_path: Path, names: str, expected: str) -> None:
    model = exported.yolo_v5(tmp_path / "m.onnx", **KNOWN)
    assert expected in refused(model, "--classes", names)


def test_other_tasks_and_unknown_outputs(exported, refused, tmp_path: Path) -> None:
    pose = exported.yolo_v8(tmp_path / "pose.onnx", task="pose", imgsz="[64, 64]", **KNOWN)
    assert "its task is pose" in refused(pose)
    made = exported.Exported(opset=18)
    axes = made.constant("axes", [2, 3], np.int64)
    made.node("ReduceMean", ["input", axes], "logits", keepdims=0)
    outputs = [("logits", (1, 3), TensorProto.FLOAT)]
    classifier = made.save(
        tmp_path / "classifier.onnx", ("input", (1, 3, 64, 64), TensorProto.FLOAT), outputs
    )
    reason = refused(classifier, "--scale", "1/255")
    assert "logits (1, 3)" in reason and "known are yolo-v5" in reason
    boxes = exported.mask_rcnn(tmp_path / "boxes.onnx", masked=False)
    words = ("--scale", "1/255", "--classes", "a,b", "--size", "64")
    assert "are not those of yolo-v8" in refused(boxes, *words, "--layout", "yolo-v8")
    assert "--range and --metadata are for anomaly models" in refused(boxes, *words, "--range", "0,1")


def test_raw_numbers_that_mean_something_else(exported, refused, tmp_path: Path) -> None:
    known = {**KNOWN, "imgsz": "[64, 64]"}
    logits = exported.yolo_v8(tmp_path / "logits.onnx", scores=((-3.0, 2.0), (9.0, 1.0)), **known)
    assert "with the sigmoid of its head" in refused(logits)
    softmax = exported.yolo_v5(tmp_path / "soft.onnx", [[16, 24, 16, 16, 0.9, 0.7, 0.3]], **KNOWN)
    assert "one of them is the background" in refused(softmax)
    shares = exported.yolo_v8(
        tmp_path / "shares.onnx", boxes=((0.5, 0.5, 0.2, 0.2), (0.1, 0.1, 0.1, 0.1)), **known
    )
    assert "they are shares of the picture" in refused(shares)
    outside = exported.yolo_v8(tmp_path / "outside.onnx", boxes=((160, 24, 16, 16), (40, 40, 8, 8)), **known)
    assert "1 of 2 sure boxes lie outside the picture" in refused(outside)
    corners = exported.yolo_nms(tmp_path / "nms.onnx", [[24, 32, 8, 16, 1, 1]], task="detect", **KNOWN)
    assert "end before they begin" in refused(corners)
    endless = exported.yolo_v8(tmp_path / "nan.onnx", scores=((float("nan"), 0.1), (0.2, 0.1)), **known)
    assert "output0 holds numbers that are not finite" in refused(endless)


def test_mask_rcnn_that_is_not_torchvisions(exported, refused, tmp_path: Path) -> None:
    words = ("--scale", "1/255", "--classes", "scratch,dent", "--size", "64")
    from_zero = exported.mask_rcnn(tmp_path / "zero.onnx", labels=(0, 1))
    assert "answers with label 0" in refused(from_zero, *words)
    more = exported.mask_rcnn(tmp_path / "more.onnx", labels=(7, 1))
    assert "answers with label 7; 2 classes are named" in refused(more, *words)
    small = exported.mask_rcnn(tmp_path / "small.onnx", pasted=False)
    assert "masks are 28 x 28 cells for a picture of 64 x 64" in refused(small, *words)


def test_the_scale_of_an_anomaly_score(exported, refused, tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('{"image_threshold": 0.5}')
    model = exported.anomalib_1(tmp_path / "m.onnx")
    reason = refused(model, "--scale", "1/255", "--metadata", str(tmp_path / "metadata.json"))
    assert "metadata.json lacks image_threshold, or min and max of pred_scores" in reason
    assert "knows one class" in refused(model, "--scale", "1/255", "--range", "0,1", "--classes", "a,b")
    # Named as anomalib 2 names what it has normalised, but exported without its post-processor.
    raw = exported.anomalib_2(tmp_path / "raw.onnx")
    assert "is not between 0 and 1; give the scores" in refused(raw, "--scale", "1")


def test_a_sample_that_cannot_be_read(exported, refused, tmp_path: Path) -> None:
    model = exported.yolo_v5(tmp_path / "m.onnx", **KNOWN)
    samples = tmp_path / "samples"
    samples.mkdir()
    assert "holds no image" in refused(model, "--check", str(samples))
    (samples / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "broken.png cannot be used" in refused(model, "--check", str(samples))


def test_a_graph_that_says_something_else_is_caught(exported, tmp_path: Path) -> None:
    original = read_original(exported.yolo_v5(tmp_path / "m.onnx", **KNOWN))
    pictures = {"noise": probes(64, 64)[0]}
    reference = Reference(original, Numbers(1 / 255))
    layout = recognise(reference.outputs(pictures["noise"]), original.metadata, (), None)
    readings = list(read_pictures(reference, layout, Scaling(), pictures))

    def checked(numbers: Numbers, scaling: Scaling = Scaling()) -> float:  # noqa: B008
        graph = wrap(original, layout, numbers, 64, 64, scaling)
        return check(graph.SerializeToString(), scaling, pictures, readings).largest_difference

    assert checked(Numbers(1 / 255)) < 1e-5
    with pytest.raises(
        ImportRefused, match=r"noise: the release would not .*: its scores differ from the original's by 0"
    ):
        checked(Numbers(1 / 128))
    (said,) = readings
    more = np.vstack([[[50, 50, 60, 60, 0.8, 1]], said.finds]).astype(np.float32)
    readings = [replace(said, finds=more)]
    with pytest.raises(ImportRefused, match=r"it lacks the box \[50.0, 50.0, 60.0, 60.0"):
        checked(Numbers(1 / 255))
    readings = [replace(said, finds=said.finds[1:])]
    with pytest.raises(ImportRefused, match=r"it adds the box \[8.0, 16.0, 24.0, 32.0"):
        checked(Numbers(1 / 255))


def test_a_heat_map_that_shows_something_else_is_caught(exported, tmp_path: Path) -> None:
    original = read_original(exported.anomalib_2(tmp_path / "m.onnx"))
    pictures, numbers = {"noise": probes(64, 64)[2]}, Numbers(1 / 255)
    reference = Reference(original, numbers)
    layout = recognise(reference.outputs(pictures["noise"]), {}, (), None)
    readings = list(read_pictures(reference, layout, Scaling(), pictures))
    graph = wrap(original, layout, numbers, 64, 64, Scaling(heat=HeatScale(0.2, 1))).SerializeToString()
    with pytest.raises(ImportRefused, match="64 of 64 cells of its heat_map differ"):
        check(graph, Scaling(), pictures, readings)


def test_lifting_that_goes_wrong_is_caught(exported, refused, tmp_path: Path) -> None:
    """Opset 10 resized from the corner of a pixel; the converter takes it for what came later, from its middle."""
    made = exported.Exported(opset=10)
    made.node("ReduceMean", ["input"], "mean", axes=[1], keepdims=1)
    made.node("AveragePool", ["mean"], "pooled", kernel_shape=[4, 4], strides=[4, 4])
    made.node("Resize", ["pooled", made.constant("factors", [1, 1, 4, 4])], "resized", mode="linear")
    made.node(
        "AveragePool", ["resized"], "anomaly_map", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]
    )
    model = made.save(
        tmp_path / "m.onnx",
        ("input", ("batch_size", 3, 64, 64), TensorProto.FLOAT),
        [("anomaly_map", ("batch_size", 1, 64, 64), TensorProto.FLOAT)],
    )
    reason = refused(model, "--scale", "1/255")
    assert "the release would not answer as the model does" in reason and "opset_version=18" in reason
