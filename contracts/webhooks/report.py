"""Reports a finding: signs it and sends it, again with the same id until it is answered. Standard library only.

python report.py whsec_… http://mes-bridge:8080/v1/findings escape 0b8f7f0e-7d55-5a6a-9c7e-0d2f6f1c2b3a
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from typing import Any


def signed_headers(secret: str, webhook_id: str, body: bytes, now: float) -> dict[str, str]:
    """The headers of one attempt; each attempt is signed anew, under the same id."""
    timestamp = str(int(now))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def report(
    secret: str, url: str, finding: dict[str, Any], *, attempts: int = 5
) -> tuple[int, dict[str, Any]]:
    """Status and answer; raises OSError when nobody answers."""
    webhook_id, body = f"msg_{uuid.uuid4().hex}", json.dumps(finding).encode()
    for attempt in range(attempts):
        request = urllib.request.Request(
            url, body, signed_headers(secret, webhook_id, body, time.time()), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            if error.code < 500 or attempt == attempts - 1:
                return error.code, json.loads(error.read())
        except OSError:
            if attempt == attempts - 1:
                raise
        time.sleep(2.0**attempt)
    raise AssertionError("unreachable")


if __name__ == "__main__":
    secret, url, kind, capture_id = sys.argv[1:5]
    print(*report(secret, url, {"kind": kind, "capture_id": capture_id, "reported_by": "by hand"}))
