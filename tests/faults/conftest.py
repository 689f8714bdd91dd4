"""One plant for all fault tests: real components behind toxiproxy, all services, an MES that notices everything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from andon_demo.catalogue import load_parts
from andon_demo.main import put_in_force
from andon_demo.parts import Split, split_parts
from andon_demo.plant import Plant
from andon_demo.scenario import Plan, write_plan
from andon_demo.settings import service_settings, windows_for
from andon_demo.training import Trained, Trainer, manifest
from andon_local import layout

SEED = int(os.environ.get("ANDON_FAULTS_SEED", "11"))
"""Decides what is broken, in which order: another one makes another bad day."""
IMAGES = 600
TRAINING_SHARE = 0.1


@dataclass(frozen=True)
class Faulty:
    """A plant that is about to have a bad day."""

    plant: Plant
    plan: Plan
    split: Split
    trained: Trained


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    cache = layout.runtime_dir() / "cache" / "demo"
    log: Path = tmp_path_factory.mktemp("faults") / "trainer.log"
    trainer = Trainer(cache, layout.runtime_dir() / "keys", log)
    trainer.prepare()
    split = split_parts(load_parts("elpv", cache), TRAINING_SHARE, SEED)
    plan = write_plan(split.stream, IMAGES, SEED)
    trained = trainer.train(manifest("elpv", split.training, "elpv-dataset: CC BY-NC-SA 4.0"), "faults")
    with Plant("faults", SEED, behind_proxies=True) as plant:
        plant.start_infrastructure()
        plant.start_services(service_settings(windows_for(plan), plant.mes_url, trainer.public_key))
        trainer.publish(trained, plant.instance.training_env())
        put_in_force(plant, plan, trained, split.defects)
        plant.begin_inspection(
            {
                shot.metadata["part_id"]: {
                    "defect": shot.part.is_defect,
                    "class": shot.part.label if shot.part.is_defect else None,
                }
                for shot in plan.shots
            }
        )
        plant.wait_for_model(str(trained.summary["release"]), 120)
        yield Faulty(plant, plan, split, trained)
