"""Who is at the console: known by the session that the registry gave them, for as long as the registry says so.

The session's token lies in a cookie that no script can read. Every request of somebody goes to the registry with their
own token, so the registry decides what they may; what is remembered here only saves asking it who they are each time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from andon_chassis.clock import Clock
from starlette.requests import HTTPConnection

from console.ports import RefusedByRegistry, Registry

SignIn = Literal["required", "on-trust"]

COOKIE, SECURE_COOKIE = "andon_session", "__Host-andon_session"
REVIEWER = "andon_reviewer"
"""Cookie with the name that is taken on trust."""
REMEMBERED_S = 5.0
"""Who is signed out elsewhere sees what the console keeps of the lines for so long; anything else at most once more."""
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request.

    Attributes:
        name: What records call them; None where nobody has said so yet.
        rights: Operations of the registry; None where names are taken on trust, and everybody may everything.
        token: What they are let in by at the registry; "" where names are taken on trust.
    """

    name: str | None
    display_name: str = ""
    roles: tuple[str, ...] = ()
    rights: frozenset[str] | None = None
    token: str = ""

    def may(self, operation: str) -> bool:
        """Whether the registry would let them."""
        return self.rights is None or operation in self.rights


_NOBODY = Visitor(None, rights=frozenset())
_present: ContextVar[Visitor] = ContextVar("visitor", default=_NOBODY)
_token: ContextVar[str] = ContextVar("token", default="")


def present() -> Visitor:
    """Who sent the request that is being answered."""
    return _present.get()


def enter(visitor: Visitor) -> None:
    """From here on, in this request, it is they."""
    _present.set(visitor)
    _token.set(visitor.token)


def may(*operations: str) -> bool:
    """Whether who sent the request may do any of these; for templates."""
    return any(map(present().may, operations))


def token() -> str:
    """What the registry is asked with."""
    return _token.get()


def at_desk(request: HTTPConnection) -> str | None:
    """The name of who sent a request; None where names are taken on trust and nobody has said one."""
    return present().name


def on_trust(request: HTTPConnection) -> Visitor:
    """Who a request says it is from."""
    said = request.cookies.get(REVIEWER)
    return Visitor(unquote(said) if said else None)


class Sessions:
    """Asks the registry whose sessions these are.

    Args:
        registry: Is asked with the token of the session that is looked at.
    """

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, Visitor]] = OrderedDict()

    async def visitor(self, cookies: dict[str, str]) -> Visitor | None:
        """Whose session the cookies hold; None when there is none, or no longer. Raises Unavailable."""
        token = cookies.get(SECURE_COOKIE) or cookies.get(COOKIE) or ""
        if not token:
            return None
        at, known = self._known.get(token, (float("-inf"), None))
        if known is not None and self._clock.monotonic() - at < REMEMBERED_S:
            return known
        self.forget(token)
        _token.set(token)
        try:
            found = await self._registry.get("/v1/sessions/current")
        except RefusedByRegistry:
            return None
        visitor = Visitor(
            found["name"], found["display_name"], tuple(found["roles"]), frozenset(found["rights"]), token
        )
        self._known[token] = (self._clock.monotonic(), visitor)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return visitor

    def forget(self, token: str) -> None:
        """Ask anew the next time."""
        self._known.pop(token, None)


def own_path(text: str, closed: Collection[str] = ("/sign-in", "/sign-out")) -> str:
    """Where to go after signing in: a place of this console, and never of another one."""
    path = text.split("?", 1)[0]
    harmless = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if harmless and path not in closed else "/"
