"""`dataclass`, for values of which thousands are made each second.

`frozen=True` is kept by the type checker: assigning to a field is an error in `make lint`. At run time it would only make
each value cost twice as much, for Python then sets every field through `object.__setattr__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses

    def dataclass(*, frozen: bool, **how: Any) -> Any:
        """As `dataclasses.dataclass`; a frozen class has a hash, and this one as well."""
        assert frozen, "for values that never change"
        return dataclasses.dataclass(unsafe_hash=True, **how)


__all__ = ["dataclass"]
