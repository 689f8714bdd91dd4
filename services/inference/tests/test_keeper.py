"""Triton serves exactly what the plant has assigned, whatever breaks meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from andon_chassis.clock import FakeClock
from andon_chassis.errors import Unavailable
from andon_chassis.events import event
from andon_chassis.health import Health
from andon_chassis.objects import MODELS, MemoryObjectStore
from andon_chassis.testing import START
from andon_events import records as r
from andon_vision.release_bundle import make_keys, pack_bundle
from inference.adapters.keeper import ReleaseKeeper
from inference.domain.releases import Place
from inference.serving import SHARED_MODULES, ServingLimits, model_files
from inference.testing import SignedRelease, StubServer

Signed = Callable[[str], SignedRelease]


def keeper_of(server: StubServer, objects: MemoryObjectStore, public_key: Path) -> ReleaseKeeper:
    return ReleaseKeeper(server, objects, public_key, ServingLimits(), Health(FakeClock()))


def assign(
    keeper: ReleaseKeeper,
    objects: MemoryObjectStore,
    packed: bytes,
    release: str,
    minutes: int,
    mode: str = "active",
    fallbacks: Sequence[SignedRelease] = (),
) -> None:
    data = r.ModelReleased(
        release=release,
        bundle=objects.put(MODELS, packed, "application/x-tar"),
        scope=r.Scope(),
        mode=mode,
        fallbacks=[
            r.ReleaseRef(
                release=known.bundle.release,
                bundle=objects.put(MODELS, pack_bundle(known.folder), "application/x-tar"),
            )
            for known in fallbacks
        ],
        released_by="lead",
        released_at=START + timedelta(minutes=minutes),
    )
    keeper.apply(event(data, source="test", key="*/*", time=START, cause=release))


@pytest.fixture
def objects() -> MemoryObjectStore:
    return MemoryObjectStore()


def deciding(keeper: ReleaseKeeper) -> str | None:
    """Who decides now."""
    place = Place("line-a", "cell-1")
    choice = keeper.table.choose(place, "c", lambda name: keeper.loaded(name) is not None)
    return choice and choice.deciding


def test_new_is_loaded_before_old_is_unloaded_and_the_one_before_stays(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    releases = [signed("v1"), signed("v2"), signed("v3")]
    keeper = keeper_of(server, objects, releases[0].public_key)
    for minutes, release in enumerate(releases):
        assign(keeper, objects, pack_bundle(release.folder), release.bundle.release, minutes)
        keeper.synchronise()
    steps = [step.split("-")[0] for step in server.history]
    assert steps == ["load v1", "load v2", "load v3", "unload v1"]
    assert keeper.loaded(releases[0].bundle.release) is None
    assert keeper.loaded(releases[1].bundle.release) == releases[1].bundle
    assert deciding(keeper) == releases[2].bundle.release


def test_a_release_that_triton_cannot_run_holds_up_nobody_and_is_tried_again_later(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    good, bad, later = signed("v1"), signed("v2"), signed("v3")
    server.unloadable.add(bad.bundle.release)
    keeper = keeper_of(server, objects, good.public_key)
    assign(keeper, objects, pack_bundle(good.folder), good.bundle.release, 0)
    keeper.synchronise()
    assign(keeper, objects, pack_bundle(bad.folder), bad.bundle.release, 1)
    with structlog.testing.capture_logs() as logs:
        keeper.synchronise()
        keeper.synchronise()
    said = [log for log in logs if log["event"] == "release.not-loaded"]
    assert [(log["release"], log["reason"]) for log in said] == [(bad.bundle.release, "no such operator")], (
        "at once it is not tried again: each attempt costs a process"
    )
    assert deciding(keeper) == good.bundle.release
    assign(keeper, objects, pack_bundle(later.folder), later.bundle.release, 2)
    keeper.synchronise()
    assert deciding(keeper) == later.bundle.release


def test_after_a_restart_a_bad_release_does_not_stop_the_station(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    """All that a compacted topic still knows is the bad release, and who decided before it."""
    good, bad = signed("v1"), signed("v2")
    keeper = keeper_of(server, objects, good.public_key)
    assign(keeper, objects, b"no archive", bad.bundle.release, 1, fallbacks=[good])
    keeper.synchronise()
    assert deciding(keeper) == good.bundle.release


def test_a_mode_of_a_later_version_changes_nothing(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    one, two = signed("v1"), signed("v2")
    keeper = keeper_of(server, objects, one.public_key)
    assign(keeper, objects, pack_bundle(one.folder), one.bundle.release, 0)
    assign(keeper, objects, pack_bundle(two.folder), two.bundle.release, 1, mode="quorum")
    keeper.synchronise()
    assert deciding(keeper) == one.bundle.release
    assert server.loaded_names == {one.bundle.release}


def test_a_restarted_triton_gets_its_releases_again(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    one = signed("v1")
    keeper = keeper_of(server, objects, one.public_key)
    assign(keeper, objects, pack_bundle(one.folder), one.bundle.release, 0)
    keeper.synchronise()
    server.loaded_names.clear()
    keeper.synchronise()
    assert server.loaded_names == {one.bundle.release}
    keeper.lost(one.bundle.release)
    assert keeper.loaded(one.bundle.release) is None


def test_a_release_whose_process_died_is_started_again(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    one = signed("v1")
    keeper = keeper_of(server, objects, one.public_key)
    assign(keeper, objects, pack_bundle(one.folder), one.bundle.release, 0)
    keeper.synchronise()
    keeper.died(one.bundle.release)
    assert keeper.loaded(one.bundle.release) is None
    keeper.synchronise()
    assert [step.split()[0] for step in server.history] == ["load", "unload", "load"]
    assert keeper.loaded(one.bundle.release) == one.bundle


def test_a_release_that_triton_has_already_is_not_loaded_twice(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    one = signed("v1")
    server.loaded_names.add(one.bundle.release)
    keeper = keeper_of(server, objects, one.public_key)
    assign(keeper, objects, pack_bundle(one.folder), one.bundle.release, 0)
    keeper.synchronise()
    assert server.history == [] and keeper.loaded(one.bundle.release) == one.bundle


def test_a_tampered_bundle_is_refused_and_the_old_release_goes_on(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    one, two = signed("v1"), signed("v2")
    keeper = keeper_of(server, objects, one.public_key)
    assign(keeper, objects, pack_bundle(one.folder), one.bundle.release, 0)
    keeper.synchronise()
    packed = bytearray(pack_bundle(two.folder))
    at = packed.index(b'"pass_below": 0.25')
    packed[at : at + 18] = b'"pass_below": 0.95'
    assign(keeper, objects, bytes(packed), two.bundle.release, 1)
    keeper.synchronise()
    assert deciding(keeper) == one.bundle.release
    assert server.loaded_names == {one.bundle.release}


def test_another_plants_signature_and_a_false_name_are_refused(
    server: StubServer,
    objects: MemoryObjectStore,
    signed: Signed,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    one = signed("v1")
    stranger = make_keys(tmp_path_factory.mktemp("stranger"))[1]
    foreign = keeper_of(server, objects, stranger)
    assign(foreign, objects, pack_bundle(one.folder), one.bundle.release, 0)
    foreign.synchronise()
    named = keeper_of(server, objects, one.public_key)
    assign(named, objects, pack_bundle(one.folder), "v1-000000000000", 0)
    named.synchronise()
    assert server.loaded_names == set()


def test_an_absent_triton_is_unavailable_and_tried_again(
    server: StubServer, objects: MemoryObjectStore, signed: Signed
) -> None:
    one = signed("v1")
    keeper = keeper_of(server, objects, one.public_key)
    assign(keeper, objects, pack_bundle(one.folder), one.bundle.release, 0)
    server.down = True
    with pytest.raises(Unavailable):
        keeper.synchronise()
    server.down = False
    keeper.synchronise()
    assert keeper.loaded(one.bundle.release) == one.bundle


def test_a_plant_can_start_before_its_first_key(
    server: StubServer, objects: MemoryObjectStore, signed: Signed, tmp_path: Path
) -> None:
    one = signed("v1")
    keeper = keeper_of(server, objects, tmp_path / "release.pub")
    keeper.synchronise()
    assign(keeper, objects, pack_bundle(one.folder), one.bundle.release, 0)
    with pytest.raises(Unavailable, match="python -m trainer keys"):
        keeper.synchronise()
    (tmp_path / "release.pub").write_bytes(one.public_key.read_bytes())
    keeper.synchronise()
    assert keeper.loaded(one.bundle.release) == one.bundle


def test_shared_code_travels_unchanged(signed: Signed) -> None:
    """What Triton imports is, byte for byte, what training imported."""
    import andon_vision

    one = signed("v1")
    files = model_files(one.files, one.public_key.read_bytes())
    folder = andon_vision.__path__[0]
    for module in SHARED_MODULES:
        with open(f"{folder}/{module}.py", "rb") as source:
            assert files[f"1/andon_vision/{module}.py"] == source.read()
    assert files["1/model.onnx"] == one.files["model.onnx"]
