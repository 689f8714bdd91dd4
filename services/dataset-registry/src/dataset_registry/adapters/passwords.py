"""Argon2id, with the effort that OWASP asks for at least: 19 MiB, two passes."""

from __future__ import annotations

from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_AT_ONCE = 4
"""Each takes memory and a core: many who sign in at once wait for each other, not for the whole service."""


class Argon2Passwords:
    """Passwords by argon2-cffi."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._room = BoundedSemaphore(_AT_ONCE)
        self._nobodys = self._hasher.hash("what is compared where there is nothing to compare")

    def hashed(self, password: str) -> str:
        with self._room:
            return self._hasher.hash(password)

    def fits(self, hashed: str | None, password: str) -> bool:
        with self._room:
            try:
                return self._hasher.verify(hashed or self._nobodys, password) and hashed is not None
            except (VerificationError, InvalidHashError):
                return False

    def outdated(self, hashed: str) -> bool:
        return self._hasher.check_needs_rehash(hashed)
