"""Settings reach the rules."""

from __future__ import annotations

import pytest
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.main import SOURCES, Settings


def test_defaults_of_the_settings_are_those_of_the_rules() -> None:
    assert Settings().thresholds() == Thresholds()


def test_every_threshold_can_be_set_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Thresholds.__dataclass_fields__:
        assert name in Settings.model_fields
    monkeypatch.setenv("ANDON_WINDOW_S", "120")
    monkeypatch.setenv("ANDON_SLOW_MS", "400")
    monkeypatch.setenv("ANDON_DRIFT_CHANGE", '{"brightness": 0.1}')
    limits = Settings().thresholds()
    assert (limits.window_ms, limits.slow_ms, limits.drift_change) == (120_000, 400.0, {"brightness": 0.1})


def test_all_sources_have_the_table_s_partitions() -> None:
    from andon_events.topics import TOPICS
    from feedback_collector.main import PARTITIONS

    assert {TOPICS[name].partitions for name in SOURCES} == {PARTITIONS}
