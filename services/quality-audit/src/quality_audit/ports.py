"""What the handler needs of the world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from andon_events.records import ObjectRef

from quality_audit.domain.duplicates import Fingerprint
from quality_audit.domain.measures import Grey
from quality_audit.domain.standard import Standard


@dataclass(frozen=True, slots=True)
class Look:
    """An image as the audit sees it.

    Attributes:
        grey: Brightness, 8 bits.
        fingerprint: The same, 32x32.
        perceptual_hash: 64 bits.
    """

    grey: Grey
    fingerprint: Fingerprint
    perceptual_hash: int


class UnreadableError(Exception):
    """The bytes are what was stored, but no picture comes out of them."""


class Images(Protocol):
    """Stored images."""

    def fetch(self, refs: Sequence[ObjectRef]) -> list[bytes | Exception]:
        """The verified bytes, in order; an Invalid in place of what is missing or changed. Raises
        Unavailable.
        """

    def keep(self, document: bytes) -> None:
        """Store a JSON document under its hash. Raises Unavailable."""


Looker = Callable[[bytes], Look]
"""Decodes; raises UnreadableError."""

StandardOf = Callable[[str, str], Standard | None]
"""The standard in force at (line, station), or None when nobody registered the station."""
