"""What all shapes have in common."""

from __future__ import annotations

from pydantic import BaseModel, PrivateAttr


class Shape(BaseModel):
    """A body or an answer."""

    _etag: str | None = PrivateAttr(default=None)
    _repeated: bool = PrivateAttr(default=False)

    @property
    def etag(self) -> str | None:
        """The ETag that an answer came with, for `if_match`."""
        return self._etag

    @property
    def repeated(self) -> bool:
        """Whether the answer is that of an earlier request with the same idempotency key."""
        return self._repeated

    def arrived(self, etag: str | None, repeated: bool) -> None:
        """Remember what the headers of the answer said."""
        self._etag, self._repeated = etag, repeated
