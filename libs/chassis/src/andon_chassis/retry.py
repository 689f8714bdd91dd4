"""Bounded back-off with jitter for dependencies that are away."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Doubles from `first_s` to `most_s`; each delay is drawn evenly from its upper half, so replicas spread out."""

    first_s: float = 0.1
    most_s: float = 5.0
    attempts: int = field(default=0, init=False)

    def delay(self) -> float:
        """Seconds to wait before the next attempt."""
        full = min(self.most_s, self.first_s * float(2**self.attempts))
        self.attempts = min(self.attempts + 1, 32)
        return full * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """The dependency answered."""
        self.attempts = 0
