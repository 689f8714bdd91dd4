"""Makes the tests' own helpers importable, and a plant on in-memory twins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import ingest_support


@pytest.fixture
def plant() -> Iterator[ingest_support.Plant]:
    with ingest_support.plant() as made:
        yield made
