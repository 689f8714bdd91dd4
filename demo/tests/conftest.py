"""Parts without images, for everything that needs none."""

from __future__ import annotations

import pytest
from andon_demo.parts import Part
from andon_demo.rehearsal import unseen_parts


@pytest.fixture
def parts() -> list[Part]:
    return unseen_parts(600)
