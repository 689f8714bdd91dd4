"""What goes in and out of sign-in and accounts. Passwords are secrets to pydantic: no log, trail or answer has one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from dataset_registry.api.shapes import In, Name, Out, Text
from dataset_registry.domain.accounts import Role

Password = Annotated[SecretStr, Field(min_length=1, max_length=200)]
Roles = Annotated[list[Role], Field(max_length=len(Role))]


class SignInIn(In):
    """Who signs in."""

    name: Name
    password: Password


class Who(Out):
    """Who is signed in, and what they may do.

    Attributes:
        rights: Operations of this contract by operationId; "review_task decide" is one with that `decision`.
    """

    sign_in: Literal["required", "on-trust"]
    name: str | None = Field(description="null where names are taken on trust.")
    display_name: str
    roles: list[Role]
    machine: bool
    rights: list[str]
    expires_at: datetime | None = Field(description="null for the token of a program.")


class SignedIn(Who):
    """A new session; the token is shown once."""

    token: str


class AccountIn(In):
    """Somebody new."""

    name: Name = Field(description="Lower case; what records call them, for ever.")
    display_name: Text = ""
    roles: Roles = Field(default_factory=list)
    password: Password | None = Field(None, description="At least 12 characters. A program has none.")
    machine: bool = Field(False, description="A program: it signs in with tokens.")


class AccountChangeIn(In):
    """What changes; what is left out stays."""

    display_name: Name | None = None
    roles: Roles | None = None
    disabled: bool | None = None


class PasswordIn(In):
    """A new password."""

    password: Password
    current_password: Password | None = Field(None, description="Needed for one's own.")


class Account(Out):
    """Somebody who may sign in, or might once."""

    name: str
    display_name: str
    roles: list[Role]
    machine: bool
    has_password: bool
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    last_seen_at: datetime | None


class TokenIn(In):
    """What a program is let in by."""

    label: Name = Field(description="Where it is used.")
    days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        None, description="How long it is valid; null until it is revoked."
    )


class Token(Out):
    """A token, without what it is."""

    token_id: str
    label: str
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None


class TokenMade(Out):
    """A new token; it is shown this once."""

    token_id: str
    label: str
    token: str


class Nothing(In):
    """A command that needs no words."""
