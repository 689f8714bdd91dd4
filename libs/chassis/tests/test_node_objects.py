"""The machine's object cache: fast when it can be, never wrong, never needed."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from andon_chassis.errors import Invalid
from andon_chassis.objects import IMAGES, MemoryObjectStore, NodeObjectStore, object_ref


def test_what_one_service_wrote_another_reads_without_the_store(tmp_path: Path) -> None:
    store = MemoryObjectStore()
    ref = NodeObjectStore(store, tmp_path, 10_000).put(IMAGES, b"pixels", "image/png")
    assert store.get(ref) == b"pixels", "the store has it before the put is done"
    store.objects.clear()
    assert NodeObjectStore(store, tmp_path, 10_000).get(ref) == b"pixels"


def test_a_torn_file_is_a_miss(tmp_path: Path) -> None:
    store = NodeObjectStore(MemoryObjectStore(), tmp_path, 10_000)
    ref = store.put(IMAGES, b"pixels", "image/png")
    (tmp_path / ref.sha256).write_bytes(b"pix")
    assert store.get(ref) == b"pixels"
    assert (tmp_path / ref.sha256).read_bytes() == b"pixels"


def test_the_oldest_files_go(tmp_path: Path) -> None:
    store = NodeObjectStore(MemoryObjectStore(), tmp_path, 1_000)
    for number in range(100):
        store.put(IMAGES, number.to_bytes(100, "big"), "image/png")
        assert sum(f.stat().st_size for f in tmp_path.iterdir()) <= 1_200


def test_an_image_that_would_push_out_all_others_is_not_kept(tmp_path: Path) -> None:
    store = NodeObjectStore(MemoryObjectStore(), tmp_path, 1_000)
    store.put(IMAGES, b"x" * 900, "image/png")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_went_away_costs_nothing_but_speed(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    store = NodeObjectStore(MemoryObjectStore(), folder, 10_000)
    folder.rmdir()
    ref = store.put(IMAGES, b"pixels", "image/png")
    assert store.get(ref) == b"pixels"


def test_what_nobody_stored_is_missing(tmp_path: Path) -> None:
    store = NodeObjectStore(MemoryObjectStore(), tmp_path, 10_000)
    with pytest.raises(Invalid, match="missing-object"):
        store.get(object_ref(IMAGES, b"never stored", "image/png"))


def test_what_an_event_calls_a_hash_opens_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not an image")
    store = NodeObjectStore(MemoryObjectStore(), tmp_path / "cache", 10_000)
    ref = replace(object_ref(IMAGES, b"not an image", "image/png"), sha256="../secret")
    with pytest.raises(Invalid, match="missing-object"):
        store.get(ref)
    fifo = tmp_path / "cache" / "endless"
    os.mkfifo(fifo)  # reading it would never end
    with pytest.raises(Invalid, match="missing-object"):
        store.get(replace(ref, sha256="endless"))


def test_a_file_that_vanishes_under_the_sweep_does_not_stop_it(tmp_path: Path) -> None:
    # A link to nowhere behaves like a temporary file that another service has just renamed.
    (tmp_path / "tmpvanished").symlink_to(tmp_path / "nowhere")
    store = NodeObjectStore(MemoryObjectStore(), tmp_path, 1_000)
    for number in range(100):
        store.put(IMAGES, number.to_bytes(100, "big"), "image/png")
    assert sum(f.stat().st_size for f in tmp_path.iterdir() if f.is_file()) <= 1_200
