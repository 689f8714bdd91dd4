"""The client: the operations, and what takes more than one of them."""

from __future__ import annotations

import time
from types import TracebackType

from andon_registry_client import models as m
from andon_registry_client.operations import Operations


class RegistryClient(Operations):
    """The dataset registry. Closes its connections at the end of a `with` block."""

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def sign_in_as(self, name: str, password: str) -> m.SignedIn:
        """Sign in; every call from now on is this person's."""
        session = self.sign_in(m.SignInIn(name=name, password=password))
        self.token = session.token
        return session

    def wait_for_import(self, import_id: str, *, patience_s: float = 600.0, every_s: float = 0.5) -> m.Import:
        """An import when it has come to its end: `done`, `refused` (see `each_import_problem`) or `failed`.

        Raises TimeoutError; the import goes on.
        """
        until = time.monotonic() + patience_s
        while True:
            found = self.read_import(import_id)
            if found.state in {"done", "refused", "failed"}:
                return found
            if time.monotonic() > until:
                raise TimeoutError(f"import {import_id} is still {found.state} after {patience_s:g} s")
            time.sleep(every_s)
