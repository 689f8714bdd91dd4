"""The Standard Webhooks signature scheme, for what goes out and for what comes in."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from standardwebhooks.webhooks import Webhook

TOLERANCE = timedelta(minutes=5)


class BadSignature(Exception):
    """The request is not to be trusted.

    Args:
        reason: Stable code.
        advice: What its sender should do.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason
        self.advice = advice


class Keyring:
    """Shared secrets: while one is being replaced, both sign and both are accepted.

    Args:
        secrets: `whsec_` and base64. Raises ValueError for anything else.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [_key(secret) for secret in secrets]

    def sign(self, webhook_id: str, at: datetime, body: str) -> dict[str, str]:
        """The three headers of one attempt."""
        return {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(key.sign(webhook_id, at, body) for key in self._keys),
        }

    def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> str:
        """The webhook id of a request whose signature is good. Raises BadSignature."""
        webhook_id, stamp, given = (
            headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
        )
        if not (webhook_id and stamp and given):
            raise BadSignature(
                "signature-missing",
                "Send webhook-id, webhook-timestamp and webhook-signature; see the contract.",
            )
        try:
            at = datetime.fromtimestamp(int(stamp), UTC)
            text = body.decode()
        except (ValueError, OverflowError, OSError) as error:
            raise BadSignature(
                "signature-malformed", "webhook-timestamp is Unix time in seconds, the body is UTF-8."
            ) from error
        if abs(now - at) > TOLERANCE:
            raise BadSignature(
                "timestamp-outside-tolerance",
                f"webhook-timestamp may differ from our clock by {TOLERANCE.seconds // 60} minutes; ours shows "
                f"{int(now.timestamp())}. Is your clock right? Sign every retry anew, with the same webhook-id.",
            )
        wanted = [key.sign(webhook_id, at, text).encode() for key in self._keys]
        offered = [one.encode() for one in given.split(" ")]
        if not any(hmac.compare_digest(w, o) for w in wanted for o in offered):
            raise BadSignature(
                "signature-wrong",
                "Sign `id.timestamp.body` with the shared secret, over the body's very bytes.",
            )
        return webhook_id


def _key(secret: str) -> Webhook:
    advice = "a webhook secret is whsec_ and base64 of its bytes"
    if not secret.startswith("whsec_"):
        raise ValueError(advice)
    try:
        return Webhook(secret)
    except Exception as error:  # the library raises what base64 does, and its own for an empty key
        raise ValueError(advice) from error
