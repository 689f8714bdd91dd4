"""What the key of whoever trains opens in the object store, and that no holdout is among it."""

from __future__ import annotations

import pytest
from andon_chassis.errors import Unavailable
from andon_chassis.objects import DATASETS, HOLDOUT, MODELS, S3ObjectStore
from andon_local.provision import TRAINING_KEY
from andon_local.testing import Infra


@pytest.fixture(scope="module")
def owner(infra: Infra) -> S3ObjectStore:
    return S3ObjectStore(infra.s3, infra.s3_access_key, infra.s3_secret_key)


@pytest.fixture(scope="module")
def training(infra: Infra) -> S3ObjectStore:
    env = infra.instance.training_env()
    assert env["ANDON_S3_ACCESS_KEY"] == TRAINING_KEY
    assert "ANDON_DATABASE_URL" not in env
    return S3ObjectStore(infra.s3, env["ANDON_S3_ACCESS_KEY"], env["ANDON_S3_SECRET_KEY"])


def test_training_reads_datasets_and_stores_models(owner: S3ObjectStore, training: S3ObjectStore) -> None:
    manifest = owner.put(DATASETS, b"a manifest", "application/json")
    assert training.get(manifest) == b"a manifest"
    assert training.get(training.put(MODELS, b"a bundle", "application/x-tar")) == b"a bundle"


def test_a_holdout_stays_closed_even_to_those_who_know_its_hash(
    owner: S3ObjectStore, training: S3ObjectStore
) -> None:
    holdout = owner.put(HOLDOUT, b"kept back", "application/json")
    assert owner.get(holdout) == b"kept back"
    with pytest.raises(Unavailable, match=r"(?i)access ?denied"):
        training.get(holdout)
    with pytest.raises(Unavailable, match=r"(?i)access ?denied"):
        training.put(HOLDOUT, b"another", "application/json")


def test_training_changes_no_dataset(training: S3ObjectStore) -> None:
    with pytest.raises(Unavailable, match=r"(?i)access ?denied"):
        training.put(DATASETS, b"better for training", "application/json")
