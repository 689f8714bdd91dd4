"""Run the MES stand-in: `python -m andon_demo.mes --secret whsec_…`; prints its port as JSON."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from andon_demo.mes.server import MesServer


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m andon_demo.mes", description="An MES to try deliveries with."
    )
    parser.add_argument("--secret", required=True, help="the shared webhook secret, whsec_<base64>")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--trouble", type=float, default=0.05, help="share of deliveries that go wrong at first"
    )
    parser.add_argument("--silence-s", type=float, default=3.0, help="how long a silent answer takes")
    options = parser.parse_args()
    server = MesServer(
        options.secret,
        port=options.port,
        seed=options.seed,
        trouble=options.trouble,
        silence_s=options.silence_s,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    server.start()
    # Whoever started it holds the other end of stdin: when that process is gone, however it ended, so are we.
    threading.Thread(target=_until_closed, args=(stop,), daemon=True).start()
    print(json.dumps({"port": server.port}), flush=True)
    stop.wait()
    server.stop()
    return 0


def _until_closed(stop: threading.Event) -> None:
    while sys.stdin.buffer.read(1024):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
