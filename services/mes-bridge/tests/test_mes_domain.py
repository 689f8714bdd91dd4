"""What answers, findings and cursors mean, without I/O."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mes_bridge.domain.cursor import InvalidCursor, read_cursor, write_cursor
from mes_bridge.domain.delivery import Answer, Judgement, Patience, State, judge, part_key, wanted_by
from mes_bridge.domain.finding import MOST_CHARACTERS, MalformedFinding, read_finding

NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
CAPTURE = "0b8f7f0e-7d55-5a6a-9c7e-0d2f6f1c2b3a"


def judged(answer: Answer, attempts: int = 1, age_s: float = 0.0, chance: float = 1.0) -> Judgement:
    return judge(answer, attempts, age_s, Patience(1.0, 60.0, 3600.0), chance)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_acknowledges(status: int) -> None:
    assert judged(Answer(status)) == Judgement(State.DELIVERED)


@pytest.mark.parametrize("status", [301, 308, 400, 401, 403, 404, 409, 410, 413, 415, 422, 451])
def test_a_refusal_is_stuck_and_says_why(status: int) -> None:
    stuck = judged(Answer(status))
    assert stuck.state is State.STUCK
    assert str(status) in (stuck.reason or "")


@pytest.mark.parametrize(
    "answer", [Answer(s) for s in (408, 425, 429, 500, 502, 503, 504)] + [Answer(None, "timeout")]
)
def test_what_may_pass_is_tried_again_until_patience_ends(answer: Answer) -> None:
    again = judged(answer, age_s=3599)
    assert again.state is State.PENDING
    assert again.delay_s > 0
    given_up = judged(answer, age_s=3600)
    assert given_up.state is State.STUCK
    assert (given_up.reason or "").startswith("gave-up: ")


def test_the_delay_doubles_up_to_its_limit_and_is_drawn_from_its_upper_half() -> None:
    full = [judged(Answer(500), attempts=n).delay_s for n in range(1, 9)]
    assert full == [1, 2, 4, 8, 16, 32, 60, 60]
    assert judged(Answer(500), attempts=4, chance=0.0).delay_s == 4
    assert judged(Answer(500), attempts=10_000).delay_s == 60


def test_the_endpoint_may_ask_for_more_time_within_reason() -> None:
    assert judged(Answer(503, retry_after_s=30.0)).delay_s == 30
    assert judged(Answer(503, retry_after_s=0.0)).delay_s == 1
    assert judged(Answer(429, retry_after_s=1e9)).delay_s == 3600


def test_a_part_keeps_its_order_and_an_unknown_part_its_captures() -> None:
    assert part_key("a", "1", "SN-7", CAPTURE) == "a/1/SN-7"
    assert part_key("a", "1", None, CAPTURE) == CAPTURE
    assert part_key("a", "1", "", CAPTURE) == CAPTURE


def test_an_endpoint_gets_its_lines() -> None:
    assert wanted_by((), "a")
    assert wanted_by(("a", "b"), "a")
    assert not wanted_by(("b",), "a")


@given(position=st.integers(0, 2**63 - 1))
def test_a_cursor_comes_back_as_it_went(position: int) -> None:
    assert read_cursor(write_cursor(position)) == position


@pytest.mark.parametrize(
    "text", ["x", "cDE6", "cDE6LTE", "cDE6YQ", "äö", "cDE6OTk5OTk5OTk5OTk5OTk5OTk5OTk", "cDI6MQ"]
)
def test_a_cursor_nobody_gave_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidCursor):
        read_cursor(text)


def test_the_empty_cursor_is_the_beginning() -> None:
    assert read_cursor("") == 0


def body(**changes: Any) -> bytes:
    plain = {
        "kind": "escape",
        "capture_id": CAPTURE,
        "class_name": "crack",
        "reported_by": "end-of-line test",
        "note": "seen at final test",
        "found_at": "2026-01-31T07:30:00+01:00",
    }
    return json.dumps({k: v for k, v in {**plain, **changes}.items() if v != "left out"}).encode()


def test_a_finding_is_read_and_its_time_is_utc() -> None:
    finding = read_finding(body(), NOW)
    assert (finding.kind, finding.capture_id, finding.class_name) == ("escape", CAPTURE, "crack")
    assert finding.found_at == datetime(2026, 1, 31, 6, 30, tzinfo=UTC)
    assert finding.found_at.tzinfo is UTC


def test_what_a_finding_need_not_say_has_a_default() -> None:
    few = read_finding(
        body(class_name=None, note="left out", reported_by="left out", found_at="left out"), NOW
    )
    assert (few.class_name, few.note, few.reported_by, few.found_at) == (None, None, "unknown", NOW)
    late = (NOW + timedelta(minutes=4)).astimezone(timezone(timedelta(hours=9)))
    assert read_finding(body(found_at=late.isoformat()), NOW).found_at == late


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (b"\xff", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (body(kind="rumour"), "kind"),
        (body(kind="left out"), "kind"),
        (body(capture_id="17"), "capture_id"),
        (body(capture_id=17), "capture_id"),
        (body(capture_id="left out"), "capture_id"),
        (body(note="n" * (MOST_CHARACTERS + 1)), "note"),
        (body(note="a\0b"), "note"),
        (body(note="\ud800"), "note"),
        (body(reported_by="ada \udfff"), "reported_by"),
        (b"[" * 5000, "JSON"),
        (b'{"note":' * 5000, "JSON"),
        (body(found_at="yesterday"), "found_at"),
        (body(found_at="0001-01-01T00:00:00+14:00"), "found_at"),
        (body(found_at="0001-01-01T00:00:00"), "time zone"),
        (body(found_at="2026-01-31T07:30:00"), "time zone"),
        (body(found_at="2026-02-01T07:30:00Z"), "future"),
    ],
)
def test_what_is_no_finding_is_refused_with_advice(wrong: bytes, told: str) -> None:
    with pytest.raises(MalformedFinding, match=told):
        read_finding(wrong, NOW)
