"""Standard Webhooks signatures, written from the specification and not shared with mes-bridge: an independent
check.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

TOLERANCE_S = 300


class BadSignatureError(Exception):
    """This message does not prove where it comes from."""


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header for a message. `timestamp` in Unix seconds."""
    digest = hmac.new(_key(secret), f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The message's id, which is its idempotency key. Raises BadSignatureError."""
    message_id, stamp, signatures = (
        headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
    )
    if not (message_id and stamp.isdigit() and signatures):
        raise BadSignatureError("webhook-id, webhook-timestamp or webhook-signature is missing or malformed")
    if abs(now - int(stamp)) > TOLERANCE_S:
        raise BadSignatureError("the timestamp is too far from now: a replay, or a clock that is wrong")
    expected = sign(secret, message_id, int(stamp), body)
    if not any(hmac.compare_digest(expected, given) for given in signatures.split(" ")):
        raise BadSignatureError("no signature fits")
    return message_id


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise BadSignatureError("the secret is not base64 after whsec_") from error
