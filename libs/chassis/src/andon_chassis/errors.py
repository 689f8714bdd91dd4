"""The three kinds of failure, never mixed.

Invalid      this message can never work: dead letter, counted; too many of them stop the consumer
Unavailable  a dependency is down: pause, back off, try the same work again
anything else is a bug: the process crashes loudly and the work is done again after the restart
"""

from __future__ import annotations


class Invalid(Exception):
    """Input that can never be handled, however often it is tried.

    Args:
        reason: Stable code, lower-case with dashes, for counting ("wrong-hash").
        advice: What a person should do about it, as a colleague would say it.
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}: {advice}")
        self.reason = reason
        self.advice = advice


class Unavailable(Exception):
    """A dependency does not answer now; the same work is tried again later.

    Args:
        dependency: Its name ("triton"), for health and metrics.
        detail: What was seen.
    """

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(f"{dependency} is unavailable: {detail}")
        self.dependency = dependency
        self.detail = detail
