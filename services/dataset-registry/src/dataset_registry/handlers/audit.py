"""The audit trail: followed from its start, and written out for those who keep it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from dataset_registry.domain.audit_chain import START, End, Link, Verification, canonical, verify
from dataset_registry.ports_audit import Trail


def verification(trail: Trail, known: Iterable[End] = ()) -> Verification:
    """Follow the whole chain.

    Args:
        known: Where earlier exports ended.
    """
    links, end = trail.chain()
    return verify(links, end, known)


def export(trail: Trail) -> Iterator[str]:
    """Lines of JSON: every entry as it was hashed, then where the chain ends."""
    links, _ = trail.chain()
    last = End(0, START)
    for link in links:
        yield _line(link)
        last = End(link.sequence, link.hash)
    yield canonical({"entries": last.sequence, "final_hash": last.hash})


def _line(link: Link) -> str:
    content = json.loads(link.entry.content)
    whole = {"sequence": link.sequence, "previous_hash": link.previous_hash, "hash": link.hash}
    return canonical(whole | content)
