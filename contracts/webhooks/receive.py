"""A receiver of dispositions: checks the signature, takes each delivery once, keeps the highest revision.

Standard library only; copy what you need.

    python receive.py whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw --port 9100
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_S = 300


def is_genuine(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether the sender knows the secret and sent this just now."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    offered = headers.get("webhook-signature", "").split(" ")
    return any(hmac.compare_digest(wanted.encode(), one.encode()) for one in offered)


class Book:
    """What was received. Yours is a table with a unique key on the webhook id."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.latest: dict[str, dict[str, Any]] = {}

    def take(self, webhook_id: str, disposition: dict[str, Any]) -> bool:
        """Keep a disposition; False when this delivery had been taken before."""
        if webhook_id in self.taken:
            return False
        self.taken.add(webhook_id)
        known = self.latest.get(disposition["capture_id"])
        if known is None or disposition["revision"] > known["revision"]:
            self.latest[disposition["capture_id"]] = disposition
        return True


def make_server(secret: str, book: Book, port: int = 0) -> ThreadingHTTPServer:
    """An HTTP server that receives dispositions."""

    class Receiver(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = 204
            if not is_genuine(secret, headers, body, time.time()):
                status = 401
            elif book.take(headers["webhook-id"], json.loads(body)["data"]):
                self.log_message("%s", json.loads(body)["data"]["kind"])
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

    return ThreadingHTTPServer(("127.0.0.1", port), Receiver)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Receive dispositions.")
    parser.add_argument("secret")
    parser.add_argument("--port", type=int, default=9100)
    given = parser.parse_args()
    make_server(given.secret, Book(), given.port).serve_forever()
