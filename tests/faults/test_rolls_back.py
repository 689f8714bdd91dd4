"""Releases change under load, and bad ones arrive: nothing is lost or decided twice, and what runs goes on deciding."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import onnx
import pytest
from andon_demo.observer import Observer
from andon_demo.parts import Part
from andon_events import records as r
from andon_vision.release_bundle import MODEL, make_keys
from inference.domain.releases import Trial
from onnx import TensorProto, helper

from .conftest import Faulty
from .shift import LINE, OTHER, PILOT, Shift

SHARE = 0.4
ROLLED_BACK_WITHIN = timedelta(seconds=5)
ENOUGH = 25


@pytest.fixture(scope="module")
def parts(faulty: Faulty) -> Iterator[Part]:
    """Those that no other test has shown."""
    shown = {shot.part.name for shot in faulty.plan.shots}
    return iter([part for part in faulty.split.stream if part.name not in shown])


@pytest.fixture
def shift(faulty: Faulty, parts: Iterator[Part], tmp_path: Path) -> Iterator[Shift]:
    endpoints = faulty.plant.instance.endpoints
    observer = Observer(endpoints.kafka, endpoints.registry)
    observer.start()
    yield Shift(faulty, parts, observer, tmp_path)
    observer.stop()


def test_promoted_and_rolled_back_under_load(shift: Shift) -> None:
    first, second, watcher = shift.first, shift.publish("second"), shift.publish("watcher")
    with shift.at_work():
        shift.promote(watcher, mode="shadow")
        shift.promote(second, mode="canary", share=SHARE, scope={"line": LINE, "station": PILOT})
        shift.wait(lambda: len(shift.by(second)) >= ENOUGH, "the canary's share")
        shift.promote(second)
        shift.wait(lambda: len(shift.by(second, OTHER)) >= ENOUGH, "captures by the promoted release")
        withdrawn_at = shift.roll_back(second)
        limit = withdrawn_at + ROLLED_BACK_WITHIN
        shift.wait(
            lambda: sum(late.received_at > limit for late in shift.decided().values()) >= ENOUGH,
            "captures long after the rollback",
        )

    decisions, results = shift.decided(), shift.results()
    late = [decision for decision in decisions.values() if decision.received_at > limit]
    assert {decision.evidence.model_release for decision in late} <= {first, None}
    assert first in {decision.evidence.model_release for decision in late}

    assert set(decisions) == set(shift.accepted), "no capture is lost"
    assert {found.first_decisions for found in shift.captures().values()} == {1}, "none is decided twice"
    deciding = {
        station: [result for result in said if not result.shadow] for station, said in results.items()
    }
    times = Counter(result.capture_id for said in deciding.values() for result in said)
    assert set(times.values()) == {1}

    assert one_after_the_other(deciding[OTHER]) == [first, second, first]
    check_canary(deciding[PILOT], first, second)

    shadows = {result.release for said in results.values() for result in said if result.shadow}
    assert shadows == {watcher}
    assert not shift.by(watcher), "a shadow never decides"
    assert all(result.heat_map is None for said in results.values() for result in said if result.shadow)


def one_after_the_other(results: list[r.InferenceCompleted]) -> list[str]:
    """The releases that decided at a station, in order."""
    return [
        result.release
        for before, result in zip([None, *results], results, strict=False)
        if before is None or before.release != result.release
    ]


def check_canary(results: list[r.InferenceCompleted], first: str, second: str) -> None:
    """First nothing, then exactly the canary's share, then all, then nothing is decided by the second release."""
    takes = Trial(second, datetime.now(UTC), SHARE).takes
    began = next(n for n, result in enumerate(results) if result.release == second)
    promoted = next(
        n for n, said in enumerate(results) if said.release == second and not takes(said.capture_id)
    )
    back = next(n for n, said in enumerate(results) if n > promoted and said.release == first)
    trial = results[began:promoted]
    by_rule = [second if takes(result.capture_id) else first for result in trial]
    assert [result.release for result in trial] == by_rule
    assert set(by_rule) == {first, second}
    assert by_rule.count(second) / len(by_rule) == pytest.approx(SHARE, abs=0.2)
    assert {result.release for result in results[:began]} <= {first}
    assert {result.release for result in results[promoted:back]} == {second}
    assert {result.release for result in results[back:]} == {first}


def test_a_triton_that_dies_under_load_is_waited_for(shift: Shift) -> None:
    with shift.at_work():
        shift.wait(lambda: len(shift.by(shift.first)) >= ENOUGH, "captures before")
        shift.plant.instance.kill("triton", signal.SIGKILL)
        died_at = datetime.now(UTC)
        shift.wait(
            lambda: sum(later.received_at > died_at for later in shift.by(shift.first)) >= ENOUGH,
            "captures by the release that ran before",
        )
    assert set(shift.decided()) == set(shift.accepted)
    assert {found.first_decisions for found in shift.captures().values()} == {1}


def unknown_operator() -> bytes:
    """A network that any reader of ONNX takes and no runtime can run."""
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 224, 224, 3])
    score = helper.make_tensor_value_info("defect_score", TensorProto.FLOAT, ["batch"])
    node = helper.make_node("ReadTheFuture", ["image"], ["defect_score"], domain="nobody.knows")
    graph = helper.make_graph([node], "unknown", [image], [score])
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("nobody.knows", 1)]
    data: bytes = helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString()
    onnx.load_from_string(data)
    return data


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("stranger", ("release.refused", "the signature does not match")),
        ("corrupt", ("release.refused", "the bundle is not a tar file")),
        ("unknown-operator", ("release.not-loaded", "ReadTheFuture")),
    ],
)
def test_a_bad_release_is_named_and_what_runs_goes_on(
    shift: Shift, tmp_path: Path, kind: str, words: tuple[str, ...]
) -> None:
    if kind == "stranger":
        bad = shift.publish(kind, signed_by=make_keys(tmp_path / "stranger")[0])
    elif kind == "corrupt":
        bad = "corrupt-0123456789ab"
        shift.announce(bad, b"half an archive" * 100)
    else:
        bad = shift.publish(kind, {MODEL: unknown_operator()})
    shift.promote(bad)
    try:
        shift.wait(lambda: shift.said("inference", bad, *words), "the reason why it is not served")
        with shift.at_work():
            shift.wait(lambda: len(shift.by(shift.first)) >= 5, "captures by the release that ran before")
            # What a fresh process knows comes from the compacted topic alone.
            shift.plant.instance.kill("inference", signal.SIGKILL)
            restarted_at = datetime.now(UTC)
            shift.wait(
                lambda: sum(later.received_at > restarted_at for later in shift.by(shift.first)) >= 5,
                "captures after a restart",
            )
    finally:
        shift.roll_back(bad)
    assert {decision.evidence.model_release for decision in shift.decided().values()} <= {shift.first, None}
