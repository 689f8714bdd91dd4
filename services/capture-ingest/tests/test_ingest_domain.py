"""Metadata and times, without I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from capture_ingest.domain.metadata import (
    CONTEXT_FIELDS,
    EXPECTED_FIELDS,
    MetadataError,
    missing_from,
    read_metadata,
)
from capture_ingest.domain.timing import event_time
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HERE = {"line": "L1", "station": "S1"}


def test_what_is_known_is_kept_and_what_is_missing_is_named() -> None:
    metadata = read_metadata({**HERE, "camera": " c-7 ", "batch": 1234, "shift": "", "operator": None})
    assert metadata.fields == {**HERE, "camera": "c-7", "batch": "1234"}
    assert missing_from(metadata.fields) == [
        "part_number",
        "product_variant",
        "shift",
        "origin",
        "capture_standard_version",
    ]


def test_names_nobody_knows_are_told_and_not_kept() -> None:
    metadata = read_metadata({**HERE, "part_numer": "P1", "zoom": 3})
    assert metadata.ignored == ("part_numer", "zoom")
    assert metadata.fields == HERE


def test_settings_come_as_an_object_or_flat_and_the_object_comes_first() -> None:
    flat = {"settings.lens": "25 mm", "settings.exposure_us": "4000", "settings.zoom": "3"}
    metadata = read_metadata(
        {**HERE, **flat, "settings": {"exposure_us": 5000, "angle_deg": 90.5, "mood": "calm"}}
    )
    assert metadata.settings == {"lens": "25 mm", "exposure_us": "5000", "angle_deg": "90.5"}
    assert metadata.ignored == ("settings.mood", "settings.zoom")
    assert (
        read_metadata({**HERE, "settings": None}).settings
        == read_metadata({**HERE, "settings": ""}).settings
        == {}
    )


@pytest.mark.parametrize("name", ["line", "station"])
def test_without_line_or_station_nothing_can_be_filed(name: str) -> None:
    with pytest.raises(MetadataError) as caught:
        read_metadata({k: v for k, v in HERE.items() if k != name})
    assert caught.value.reason == f"missing-{name}"


@pytest.mark.parametrize("bad", ["a/b", "a#", "+", "*", "..", "x\ny", "a" * 101, "\\"])
def test_a_line_can_be_a_key_a_topic_level_and_a_folder(bad: str) -> None:
    with pytest.raises(MetadataError):
        read_metadata({**HERE, "line": bad})


@pytest.mark.parametrize(
    "bad",
    [
        {"batch": ["B1"]},
        {"batch": {"id": 1}},
        {"batch": True},
        {"batch": "x" * 201},
        {"batch": "a\x00b"},
        {"batch": "\ud800"},
        {"origin": "attic"},
        {"trigger_id": {"a": 1}},
        {"customer": ["ACME"]},
        {"settings": "4 ms"},
        {"settings": 0},
        {"settings": {"exposure_us": "4 ms"}},
        {"settings": {"gain_db": True}},
        {"settings.distance_mm": "nan"},
        {"settings.mm_per_pixel": "inf"},
        {"settings": {"lens": ["25 mm"]}},
        {"settings": {"lens": "x" * 201}},
    ],
)
def test_what_is_there_but_unusable_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(MetadataError) as caught:
        read_metadata({**HERE, **bad})
    assert caught.value.reason == "invalid-metadata"


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=250) | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([*CONTEXT_FIELDS, "trigger_id", "captured_at", "x"]), values))
def test_any_metadata_are_read_or_refused_with_a_reason(raw: dict[str, Any]) -> None:
    try:
        metadata = read_metadata(raw)
    except MetadataError as error:
        assert error.reason and error.advice
        return
    assert metadata.line and metadata.station
    assert all(v and v.encode() for v in metadata.fields.values())
    assert set(missing_from(metadata.fields)) == set(EXPECTED_FIELDS) - set(metadata.fields)


@pytest.mark.parametrize(
    ("written", "trusted"),
    [
        ((NOW - timedelta(minutes=3)).isoformat(), True),
        ((NOW - timedelta(days=30)).isoformat(), True),
        ((NOW + timedelta(seconds=4)).isoformat(), True),
        ((NOW + timedelta(seconds=6)).isoformat(), False),
        ("1970-01-01T00:00:00+00:00", False),
        ("2026-05-01T11:59:00", False),
        ("2026-05-01T11:59:00Z", True),
        ("yesterday", False),
        ("1777636740", False),
        (None, False),
    ],
)
def test_a_time_that_cannot_be_true_is_replaced_by_the_time_of_arrival(
    written: str | None, trusted: bool
) -> None:
    at, was_trusted = event_time(written, NOW)
    assert was_trusted is trusted
    assert (at == NOW) is not trusted
    assert at.tzinfo is UTC


def test_another_time_zone_is_the_same_moment() -> None:
    there = timezone(timedelta(hours=8))
    at, trusted = event_time((NOW - timedelta(hours=1)).astimezone(there).isoformat(), NOW)
    assert (at, trusted) == (NOW - timedelta(hours=1), True)
