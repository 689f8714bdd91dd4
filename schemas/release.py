"""Freeze the current schemas as released versions: schemas/released/<topic>/<number>.avsc.

Every version ever released is kept, because messages written with it are still on the topics. The contract test holds
the current schema against all of them, before the registry does.

    python schemas/release.py           freeze what differs from its latest released version
    python schemas/release.py --check   fail when something differs
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from generate import SCHEMAS, load_topics

RELEASED = SCHEMAS / "released"


def versions(topic: str) -> list[Path]:
    """Released versions of a topic's schema, oldest first."""
    return sorted((RELEASED / topic).glob("*.avsc"), key=lambda p: int(p.stem))


def unreleased() -> dict[str, Any]:
    """Current schemas that differ from their latest released version."""
    changed = {}
    for topic in load_topics():
        known = versions(topic.name)
        if not known or json.loads(known[-1].read_text()) != topic.record:
            changed[topic.name] = topic.record
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    changed = unreleased()
    for topic, schema in changed.items():
        path = RELEASED / topic / f"{len(versions(topic)) + 1}.avsc"
        print(f"{'differs' if check else 'released'}: {path.relative_to(SCHEMAS.parent)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(schema, indent=1) + "\n")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
