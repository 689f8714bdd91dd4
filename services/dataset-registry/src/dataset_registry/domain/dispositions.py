"""Which of a capture's dispositions stands: the one with the highest revision, in whatever order they
come."""

from __future__ import annotations

from typing import NamedTuple


class Stand(NamedTuple):
    """What stands for a capture; revision 0 is "not decided yet"."""

    revision: int
    kind: str | None


def stands(now: Stand, revision: int) -> bool:
    """Whether a disposition with this revision replaces what stands; a correction may have overtaken its
    original."""
    return revision > now.revision
