"""What the tests of the edge agent share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import edge_support


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> edge_support.Release:
    return edge_support.make_release(tmp_path_factory.mktemp("releases"))


@pytest.fixture
def plant() -> Iterator[edge_support.FakePlant]:
    with edge_support.serving(edge_support.FakePlant()) as served:
        yield served
