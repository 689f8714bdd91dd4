"""Signing in and out, and knowing people by their tokens: the local accounts behind the port Identity."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace

import structlog
from andon_chassis.clock import Clock

from dataset_registry.domain import accounts
from dataset_registry.domain.accounts import Principal
from dataset_registry.domain.refusals import invalid
from dataset_registry.ports import Sessions
from dataset_registry.ports_accounts import Passwords

log = structlog.get_logger()

_SESSION, _SERVICE = "andon_s_", "andon_t_"
"""What tokens begin with, so that one that leaked is recognized as such."""


class LocalAccounts:
    """Identity by the accounts of this registry.

    Args:
        sessions: Opens transactions of the database.
    """

    def __init__(self, sessions: Sessions, passwords: Passwords, clock: Clock) -> None:
        self._sessions = sessions
        self._passwords = passwords
        self._clock = clock

    def sign_in(self, name: str, password: str, address: str) -> tuple[str, Principal]:
        """A new session: its token and whose it is.

        The try is counted as a wrong one before it is looked at, so that many at once are as slow as one after the
        other. Raises Refused when name and password do not fit, or when it is too soon after others that did not.
        """
        now = self._clock.now()
        name = name.strip().lower()
        free = accounts.subjects(name, address)
        with self._sessions() as session:
            wait = accounts.wait_s(session.accounts.failures(list(free)), free, now)
            if wait <= 0:
                session.accounts.count_failure(list(free), now, now - accounts.FAILURES_KEPT)
            account = session.accounts.account(name)
        if wait > 0:
            log.warning("sign-in.slowed", name=name, address=address)
            raise accounts.slowed(wait)
        usable = None if account is None or account.disabled else account
        if not self._passwords.fits(usable.password if usable else None, password) or usable is None:
            log.warning("sign-in.failed", name=name, address=address)
            raise accounts.wrong()
        token, principal = self._begin(usable, password, list(free))
        log.info("sign-in", name=name, address=address)
        return token, principal

    def _begin(self, known: accounts.Account, password: str, subjects: list[str]) -> tuple[str, Principal]:
        now = self._clock.now()
        token = new_token(_SESSION)
        with self._sessions() as session:
            account = session.accounts.lock_account(known.name)
            if account is None or account.disabled or account.password != known.password:
                raise accounts.wrong()  # changed while the password was compared
            if account.password and self._passwords.outdated(account.password):
                account = replace(account, password=self._passwords.hashed(password))
                session.accounts.change_account(account, now)
            session.accounts.add_session(hash_of(token), account.name, now)
            session.accounts.forgive(accounts.pardoned(subjects), subjects)
        return token, account.principal(accounts.session_end(now, now))

    def sign_out(self, token: str) -> None:
        """End a session; the token of a program stays."""
        with self._sessions() as session:
            session.accounts.end_session(hash_of(token), self._clock.now())

    def principal(self, token: str) -> Principal | None:
        if token.startswith(_SESSION):
            return self._of_session(hash_of(token))
        return self._of_service(hash_of(token)) if token.startswith(_SERVICE) else None

    def _of_session(self, token_hash: bytes) -> Principal | None:
        now = self._clock.now()
        with self._sessions() as session:
            found = session.accounts.session(token_hash)
            if found is None:
                return None
            account, began, seen = found
            if account.disabled or now >= accounts.session_end(began, seen):
                return None
            if now - seen >= accounts.SEEN_EVERY:
                session.accounts.seen(token_hash, now)
                seen = now
        return account.principal(accounts.session_end(began, seen))

    def _of_service(self, token_hash: bytes) -> Principal | None:
        now = self._clock.now()
        with self._sessions() as session:
            found = session.accounts.token(token_hash, now)
            if found is None or found[0].disabled:
                return None
            account, token_id, used = found
            if used is None or now - used >= accounts.SEEN_EVERY:
                session.accounts.token_used(token_id, now)
        return account.principal()


def new_token(kind: str = _SERVICE) -> str:
    """Nobody guesses it: 256 bits."""
    return kind + secrets.token_urlsafe(32)


def hash_of(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def check_token(token: str) -> None:
    """Raises Refused when a token that somebody chose is none."""
    if not token.startswith(_SERVICE) or len(token) < len(_SERVICE) + 32:
        raise invalid("token-unsuitable", f"A token begins with {_SERVICE} and has 32 characters more.")
