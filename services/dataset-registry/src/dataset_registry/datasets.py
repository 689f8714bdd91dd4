"""What changed between two dataset versions, from a shell: `python -m dataset_registry.datasets diff BEFORE AFTER`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

from dataset_registry.deploy import URL, authorization

_SHOWN = 20


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(prog="python -m dataset_registry.datasets")
    whole.add_argument(
        "--url", default=os.environ.get(URL), help=f"the registry's address; {URL} when left out"
    )
    commands = whole.add_subparsers(dest="command", required=True)
    diff = commands.add_parser(
        "diff",
        help="what was added, removed, relabelled and moved; the exit status is 2 when the holdout changed sides",
    )
    diff.add_argument("before", help="hash of a version")
    diff.add_argument("after")
    diff.add_argument("--json", action="store_true", help="everything, as JSON")
    return whole


def lines(diff: dict[str, Any]) -> Iterator[str]:
    """A diff as text: what changed, and the first images of each kind."""
    for what, count in diff["counts"].items():
        yield f"{count:8d}  {what}"
        for entry in diff[what][:_SHOWN]:
            yield f"          {entry['id']}  {entry['was'] or '-'} -> {entry['now'] or '-'}"
        if count > _SHOWN:
            yield f"          and {count - _SHOWN} more; --json has them"
    hidden = ", ".join(f"{count} {what}" for what, count in diff["in_holdout"].items())
    yield f"inside the holdout: {hidden}"


def main(words: Sequence[str] | None = None) -> int:
    """Ask the registry and print what it says; gives the exit status."""
    whole = parser()
    arguments = whole.parse_args(words)
    if not arguments.url:
        whole.error(f"no address of the registry: give --url or set {URL}")
    path = f"/v1/datasets/{arguments.before}/diff/{arguments.after}?limit=10000"
    try:
        asked = urllib.request.Request(arguments.url.rstrip("/") + path, headers=authorization())
        with urllib.request.urlopen(asked, timeout=300) as reply:
            diff = json.load(reply)
    except urllib.error.HTTPError as refused:
        problem = json.loads(refused.read() or b"{}")
        print(f"refused: {problem.get('title', refused.code)}: {problem.get('detail', '')}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"no answer from {arguments.url}: {error}", file=sys.stderr)
        return 1
    for text in [json.dumps(diff, indent=1)] if arguments.json else lines(diff):
        print(text)
    for alarm in diff["alarms"]:
        print(f"!!! {alarm}", file=sys.stderr)
    return 2 if diff["alarms"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
