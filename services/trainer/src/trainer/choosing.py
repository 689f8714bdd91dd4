"""Two ways to learn "defective or not" from the same images, and the better of them by validation."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from andon_vision import Preprocessing
from andon_vision.release_bundle import DESCRIPTION, SIGNATURE, load_private_key, write_bundle

from trainer.anomaly import ANOMALY, QUICK_METHODS, TOP_SHARES, Grid, train_anomaly
from trainer.domain.snapshot import Snapshot, SnapshotError
from trainer.training import CLASSIFICATION, DEFAULT_INPUT, Outcome, Plan, train_classification
from trainer.workshop import Workshop

FIGURE: Final = "auroc"


def train_auto(snapshot: Snapshot, plan: Plan, workshop: Workshop) -> Outcome:
    """Trains a classification and an anomaly model and keeps the one that ranks validation better.

    The release's description names the AUROC of both under `chosen_by_validation`. Its own figures come from the same
    images, so they are those of the better of two. Where the images allow one kind only, that one is kept.

    Raises:
        SnapshotError: The images allow neither; with the reasons of both.
        LeakError: The snapshot's own split parts near-duplicates.
    """
    # The images that choose also carry the guarantees, so each model must keep its share.
    plan = replace(plan, guarantees=tuple(replace(wish, among=2) for wish in plan.guarantees))
    found, refused = dict[str, Outcome](), dict[str, str]()
    shops = {name: _own(workshop, name) for name in (CLASSIFICATION, ANOMALY)}
    for name, shop in shops.items():
        try:
            found[name] = (
                train_classification(snapshot, plan, shop)
                if name == CLASSIFICATION
                else train_anomaly(snapshot, plan, shop, _quick_grid(plan.preprocessing))
            )
        except SnapshotError as error:
            workshop.report(f"{name}: {error}")
            refused[name] = str(error)
    if not found:
        raise SnapshotError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    ranks = {
        name: round(outcome.metrics[FIGURE].value, 6)
        for name, outcome in found.items()
        if FIGURE in outcome.metrics
    }
    best = max(ranks, key=lambda name: ranks[name]) if ranks else next(iter(found))
    workshop.report(f"kept {best}; AUROC on validation: {ranks}")
    release = _rewritten(shops[best], workshop, plan.name, ranks)
    for shop in shops.values():
        shutil.rmtree(shop.folder, ignore_errors=True)
    return replace(found[best], release=release, chosen_by_validation=ranks)


def _quick_grid(spec: Preprocessing | None) -> Grid:
    return Grid((spec or DEFAULT_INPUT,), QUICK_METHODS, TOP_SHARES).with_usual_backbone()


def _own(workshop: Workshop, name: str) -> Workshop:
    """The same workshop with a folder for this kind of model alone; only quick kinds are trained in it."""
    return replace(
        workshop,
        folder=workshop.folder.with_name(f"{workshop.folder.name}.{name}"),
        work=workshop.work.with_name(f"{workshop.work.name}.{name}"),
        rich=None,
        other_backbone=None,
    )


def _rewritten(made: Workshop, workshop: Workshop, name: str, ranks: Mapping[str, float]) -> str:
    """The bundle that was made, signed again with what it was chosen by; gives its release id."""
    files = {file.name: file.read_bytes() for file in made.folder.iterdir()}
    described = json.loads(files.pop(DESCRIPTION))
    del files[SIGNATURE]
    described["chosen_by_validation"] = dict(ranks)
    return write_bundle(workshop.folder, name, described, files, load_private_key(workshop.key))
