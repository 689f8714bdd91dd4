"""The console as somebody sees it who is signed in, for a browser that cannot be given a cookie."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

_PASSED_ON = ("content-type", "content-security-policy", "cache-control", "etag")


@contextmanager
def looking_on(console: str, token: str) -> Iterator[str]:
    """An address of this machine that shows the console, to look at only, until the block is left.

    Args:
        console: Base URL.
        token: Of the session in which it is looked at.
    """
    client = httpx.Client(base_url=console, cookies={"andon_session": token}, timeout=20.0)

    class Window(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen = client.get(self.path)
            self.send_response(seen.status_code)
            for name in _PASSED_ON:
                if name in seen.headers:
                    self.send_header(name, seen.headers[name])
            self.send_header("content-length", str(len(seen.content)))
            self.end_headers()
            self.wfile.write(seen.content)

        def log_message(self, format: str, *values: Any) -> None:
            """Nothing: what is shown is the console's to tell."""

    with client, ThreadingHTTPServer(("127.0.0.1", 0), Window) as server:
        serving = threading.Thread(target=server.serve_forever, name="spectator", daemon=True)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()
