"""The signature scheme, held against the published library and the documents' own example."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from mes_bridge.adapters.signature import BadSignature, Keyring
from standardwebhooks.webhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of thirty-two byt").decode()
NOW = datetime(2026, 1, 31, 8, 0, 0, 250_000, tzinfo=UTC)
BODY = json.dumps({"type": "disposition.decided", "data": {"note": "Größe ✓"}}, ensure_ascii=False)


def test_what_is_sent_is_what_the_scheme_asks_for() -> None:
    headers = Keyring([SECRET]).sign("msg-1", NOW, BODY)
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"msg-1.{int(NOW.timestamp())}.".encode() + BODY.encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers == {
        "webhook-id": "msg-1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": f"v1,{expected}",
    }


def test_a_receiver_with_the_published_library_accepts_it() -> None:
    headers = Keyring([SECRET]).sign("msg-1", datetime.now(UTC), BODY)
    assert Webhook(SECRET).verify(BODY, headers) == json.loads(BODY)


def test_while_a_secret_is_replaced_both_are_good() -> None:
    headers = Keyring([SECRET, OTHER]).sign("msg-1", NOW, BODY)
    for receiver in (Keyring([SECRET]), Keyring([OTHER]), Keyring([OTHER, SECRET])):
        assert receiver.verify(headers, BODY.encode(), NOW) == "msg-1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"webhook-signature": ""}, "signature-missing"),
        ({"webhook-id": ""}, "signature-missing"),
        ({"webhook-timestamp": "soon"}, "signature-malformed"),
        ({"webhook-timestamp": "9" * 30}, "signature-malformed"),
        ({"webhook-id": "msg-2"}, "signature-wrong"),
        ({"webhook-signature": "v1,"}, "signature-wrong"),
        ({"webhook-signature": "nonsense"}, "signature-wrong"),
        ({"webhook-signature": "v1,Gr\xfc\xdfe"}, "signature-wrong"),
        ({"webhook-timestamp": str(int(NOW.timestamp()) + 1)}, "signature-wrong"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(change: dict[str, str], reason: str) -> None:
    headers = Keyring([SECRET]).sign("msg-1", NOW, BODY) | change
    with pytest.raises(BadSignature) as refused:
        Keyring([SECRET]).verify(headers, BODY.encode(), NOW)
    assert refused.value.reason == reason


def test_another_body_another_secret_and_no_secret_are_refused() -> None:
    headers = Keyring([SECRET]).sign("msg-1", NOW, BODY)
    for keyring, body in (
        (Keyring([SECRET]), b"{}"),
        (Keyring([OTHER]), BODY.encode()),
        (Keyring([]), BODY.encode()),
    ):
        with pytest.raises(BadSignature, match="signature-wrong"):
            keyring.verify(headers, body, NOW)
    with pytest.raises(BadSignature, match="signature-malformed"):
        Keyring([SECRET]).verify(headers, b"\xff\xfe", NOW)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_clock_that_is_wrong_is_named(minutes: int) -> None:
    headers = Keyring([SECRET]).sign("msg-1", NOW + timedelta(minutes=minutes), BODY)
    with pytest.raises(BadSignature, match="timestamp-outside-tolerance"):
        Keyring([SECRET]).verify(headers, BODY.encode(), NOW)


@pytest.mark.parametrize("secret", ["plain", "whsec_", "whsec_@@@"])
def test_a_secret_that_is_none_stops_the_start(secret: str) -> None:
    with pytest.raises(ValueError, match="webhook secret"):
        Keyring([secret])
