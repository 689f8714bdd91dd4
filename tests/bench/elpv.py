"""The release that the benchmarks serve: trained on part of ELPV as the demo does, kept between runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from andon_demo.catalogue import load_parts
from andon_demo.parts import Part, split_parts
from andon_demo.settings import TRAINING_SHARE
from andon_demo.training import Trainer, manifest
from andon_local import layout
from andon_vision.release_bundle import ReleaseBundle, load_public_key, read_bundle


@dataclass(frozen=True)
class Served:
    """A signed release, the parts that it learned from, and others that it never saw.

    Attributes:
        images: Encoded, of parts that it never saw; `is_defect` says what they are.
    """

    bundle: ReleaseBundle
    files: dict[str, bytes]
    public_key: Path
    training: Sequence[Part]
    images: list[bytes]
    is_defect: list[bool]


def release_and_images(count: int) -> Served:
    """Train, or take what was trained before."""
    cache = layout.runtime_dir() / "cache" / "demo"
    trainer = Trainer(cache, layout.runtime_dir() / "keys", layout.root() / "build" / "bench" / "trainer.log")
    trainer.prepare()
    split = split_parts(load_parts("elpv", cache), TRAINING_SHARE, seed=7)
    trained = trainer.train(manifest("elpv", split.training, "elpv-dataset: CC BY-NC-SA 4.0"), "bench")
    folder = Path(trained.summary["folder"])
    # Spread over the whole stream: neighbours by name come from one module, and some modules are far harder.
    unseen = split.stream[:: max(1, len(split.stream) // count)][:count]
    return Served(
        read_bundle(folder, load_public_key(trainer.public_key)),
        {path.name: path.read_bytes() for path in folder.iterdir()},
        trainer.public_key,
        split.training,
        [part.path.read_bytes() for part in unseen],
        [part.is_defect for part in unseen],
    )
