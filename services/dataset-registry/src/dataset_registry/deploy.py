"""Promotes and withdraws releases from a shell, over the registry's API: `python -m dataset_registry.deploy --help`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from typing import Any

URL = "ANDON_REGISTRY_API_URL"
TOKEN = "ANDON_REGISTRY_TOKEN"
"""Of who orders it: the token of a session or a program."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="python -m dataset_registry.deploy",
        description="Let a release decide, decide a share of the captures, or watch; or take it back.",
    )
    whole.add_argument(
        "--url", default=os.environ.get(URL), help=f"the registry's address; {URL} when left out"
    )
    commands = whole.add_subparsers(dest="command", required=True)
    promote = commands.add_parser("promote", help="let a release decide, everywhere or in a scope")
    beside = promote.add_mutually_exclusive_group()
    beside.add_argument(
        "--canary", type=float, metavar="SHARE", help="decide this share of the captures, above 0, below 1"
    )
    beside.add_argument("--shadow", action="store_true", help="only watch: results are marked, never decide")
    rollback = commands.add_parser("rollback", help="withdraw a release wherever it decides in a scope")
    rollback.add_argument("--reason", default="no reason given")
    for command in (promote, rollback):
        command.add_argument("release")
        command.add_argument("--line", help="every line when left out")
        command.add_argument("--station", help="every station when left out")
        command.add_argument("--by", help="who ordered it; whoever the token is of, when left out")
    return whole


def request(arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Path and body of the command."""
    body: dict[str, Any] = {"scope": {"line": arguments.line, "station": arguments.station}}
    if arguments.command == "rollback":
        body |= {"reason": arguments.reason}
    elif arguments.canary is not None:
        body |= {"mode": "canary", "share": arguments.canary}
    else:
        body |= {"mode": "shadow" if arguments.shadow else "active"}
    if arguments.by:
        body["rolled_back_by" if arguments.command == "rollback" else "released_by"] = arguments.by
    return f"/v1/releases/{arguments.release}/{arguments.command}", body


def authorization() -> dict[str, str]:
    """The header that lets in whoever has a token."""
    token = os.environ.get(TOKEN)
    return {"authorization": f"Bearer {token}"} if token else {}


def main(words: list[str] | None = None) -> int:
    """Send one command and say what came of it; gives the exit status."""
    whole = parser()
    arguments = whole.parse_args(words)
    if not arguments.url:
        whole.error(f"no address of the registry: give --url or set {URL}")
    path, body = request(arguments)
    asked = urllib.request.Request(
        arguments.url.rstrip("/") + path,
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", **authorization()},
    )
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:
            answer = json.load(reply)
    except urllib.error.HTTPError as refused:
        problem = json.loads(refused.read() or b"{}")
        print(f"refused: {problem.get('title', refused.code)}: {problem.get('detail', '')}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"no answer from {arguments.url}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
