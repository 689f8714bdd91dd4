"""Deterministic ids."""

from __future__ import annotations

import uuid

from andon_chassis.consuming import Batching
from andon_chassis.events import NAMESPACE, deterministic_id
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.text(), min_size=1))
def test_an_id_is_the_standard_uuid_version_5(parts: list[str]) -> None:
    assert deterministic_id(*parts) == str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


def test_a_batch_waits_for_company_only_when_there_is_some() -> None:
    batching = Batching(most=200, linger_s=0.02)
    assert batching.patience_s(last=1) < batching.patience_s(last=50) == 0.02
    assert Batching(linger_s=0.0).patience_s(last=1) == 0.0
