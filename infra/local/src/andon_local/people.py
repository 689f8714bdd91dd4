"""The people of an instance: one for each duty of a plant, so that whoever starts the system can sign in at once.

Their passwords are made up for each instance and lie in its secrets; here are only names and roles.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """Somebody who may sign in.

    Attributes:
        roles: As dataset-registry calls them.
    """

    name: str
    display_name: str
    roles: tuple[str, ...]


STAFF = (
    Person("admin", "Administrator", ("admin",)),
    Person("r.alvarez", "R. Alvarez", ("labeler", "reviewer")),
    Person("s.dubois", "S. Dubois", ("labeler", "reviewer")),
    Person("t.nakamura", "T. Nakamura", ("labeler", "reviewer")),
    Person("q.weiss", "Q. Weiss", ("qa-owner",)),
    Person("d.okafor", "D. Okafor", ("data-lead",)),
    Person("m.ricci", "M. Ricci", ("ml-lead", "mlops")),
    Person("o.haddad", "O. Haddad", ("mlops",)),
    Person("e.berg", "E. Berg", ("engineer",)),
    Person("p.silva", "P. Silva", ("operator",)),
)
TOOLS = "tools"
"""The account of programs and shells that act as the instance's administrator."""
TOKEN = "registry-token"
"""The secret that lets them in."""
_TOOLS_ROLES = ("qa-owner", "data-lead", "ml-lead", "engineer", "mlops")
_ALPHABET = string.ascii_lowercase.translate({ord(letter): None for letter in "ilo"}) + "23456789"


def secret_name(name: str) -> str:
    """Under which name a person's password lies in an instance's secrets."""
    return f"person-{name}"


def new_secrets() -> dict[str, str]:
    """Secrets for everybody, made up now; passwords can be read out and typed."""
    made = {secret_name(person.name): _password() for person in STAFF}
    return made | {TOKEN: f"andon_t_{secrets.token_urlsafe(32)}"}


def passwords(known: Mapping[str, str]) -> dict[str, str]:
    """First passwords by name."""
    named = ((person.name, known.get(secret_name(person.name))) for person in STAFF)
    return {name: password for name, password in named if password}


def accounts(known: Mapping[str, str]) -> list[dict[str, object]]:
    """What `python -m dataset_registry.accounts provision` is told."""
    people: list[dict[str, object]] = [
        {
            "name": person.name,
            "display_name": person.display_name,
            "roles": person.roles,
            "password": known[secret_name(person.name)],
        }
        for person in STAFF
    ]
    return [*people, {"name": TOOLS, "display_name": "Tools", "roles": _TOOLS_ROLES, "token": known[TOKEN]}]


def _password() -> str:
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))
