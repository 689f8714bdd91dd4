"""The rules of the agent, and its settings."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from edge_agent.domain.decision import Scored, decide
from edge_agent.domain.metadata import MetadataError, parse, read
from edge_agent.settings import EdgeSettings, SettingsError
from edge_support import StubNetwork

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
PLACE = {"line": "L1", "station": "S1"}


@pytest.mark.parametrize("score", [float("nan"), -0.1, 1.1, float("inf")])
def test_a_score_that_is_no_probability_goes_to_a_person(score: float) -> None:
    decision = decide(StubNetwork.rules, Scored(score, (0.1, 0.2, 0.7), None))
    assert (decision.kind, decision.reason) == ("route-to-reviewer", "score-out-of-range")
    assert json.loads(json.dumps(decision.as_json(), allow_nan=False))["provisional"] is True


def test_an_image_without_a_score_goes_to_a_person() -> None:
    decision = decide(StubNetwork.rules, Scored(0.0, (), None, "damaged"))
    assert (decision.kind, decision.reason) == ("route-to-reviewer", "damaged")


def test_the_likeliest_class_is_named_from_one_half_on() -> None:
    assert decide(StubNetwork.rules, Scored(0.5, (0.1, 0.2, 0.7), None)).predicted_class == "stain"
    assert decide(StubNetwork.rules, Scored(0.4, (0.1, 0.2, 0.7), None)).predicted_class == "normal"


def test_gaps_are_filled_from_the_station_and_the_clock() -> None:
    said = read({"trigger_id": 4711, "batch": "B7", "camera": ""}, {**PLACE, "camera": "cam-1"}, NOW)
    assert (said.line, said.station, said.trigger_id) == ("L1", "S1", "4711")
    assert json.loads(said.text) == {
        **PLACE,
        "camera": "cam-1",
        "batch": "B7",
        "trigger_id": "4711",
        "captured_at": NOW.isoformat(),
    }


def test_what_the_camera_says_comes_first() -> None:
    said = read({"station": "S2", "captured_at": "2026-05-04T03:00:00+02:00", "new": [1]}, PLACE, NOW)
    told = json.loads(said.text)
    assert (said.station, told["captured_at"], told["new"]) == ("S2", "2026-05-04T03:00:00+02:00", [1])


def test_without_a_trigger_the_image_is_the_identity() -> None:
    assert read({}, PLACE, NOW).identity("abc") == "image:abc"
    assert read({"trigger_id": "7"}, PLACE, NOW).identity("abc") == "trigger:7"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], "invalid-metadata"),
        ({"line": None}, "missing-line"),
        ({"line": "L1"}, "missing-station"),
        ({**PLACE, "station": "a/b"}, "invalid-metadata"),
        ({**PLACE, "batch": True}, "invalid-metadata"),
        ({**PLACE, "batch": "x" * 201}, "invalid-metadata"),
        ({**PLACE, "trigger_id": "\ud800"}, "invalid-metadata"),
        ({**PLACE, "origin": "moon"}, "invalid-metadata"),
        ({**PLACE, "notes": "x" * 9000}, "invalid-metadata"),
        ({**PLACE, "settings": "4 ms"}, "invalid-metadata"),
        ({**PLACE, "settings": 0}, "invalid-metadata"),
        ({**PLACE, "settings": {"exposure_us": "4 ms"}}, "invalid-metadata"),
        ({**PLACE, "settings.distance_mm": "nan"}, "invalid-metadata"),
        ({**PLACE, "settings": {"lens": ["25 mm"]}}, "invalid-metadata"),
    ],
)
def test_what_the_plant_would_refuse_is_refused_at_once(said: object, reason: str) -> None:
    with pytest.raises(MetadataError) as refused:
        read(said, {}, NOW)
    assert refused.value.reason == reason


@pytest.mark.parametrize("text", [b"{", b'{"a": NaN}', b"[" * 100_000, b"\xff"])
def test_broken_json_is_a_sentence_not_a_crash(text: bytes) -> None:
    with pytest.raises(MetadataError, match="not JSON"):
        parse(text)


def test_settings_come_from_the_environment() -> None:
    settings = EdgeSettings.read(
        {"ANDON_HTTP_PORT": "8099", "ANDON_FOLDER": "/in", "ANDON_METADATA": '{"camera": "c"}', "OTHER": "x"}
    )
    assert (settings.http_port, settings.folder, settings.queue_mb) == (8099, Path("/in"), 4096)
    assert settings.defaults() == {"camera": "c"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ANDON_HTTP_PORT", "many"),
        ("ANDON_QUEUE_MB", "-1"),
        ("ANDON_FOLDER_SIDECAR_REQUIRED", "perhaps"),
        ("ANDON_METADATA", "[1]"),
        ("ANDON_SEND_TIMEOUT_S", "nan"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=name):
        EdgeSettings.read({name: text})
