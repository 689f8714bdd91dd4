"""Accounts from a shell, on the database: the first admin, and the way back when no admin can sign in any more.

    python -m dataset_registry.accounts add --name m.ricci --role mlops --role ml-lead
    python -m dataset_registry.accounts reset --name m.ricci
    python -m dataset_registry.accounts disable --name m.ricci
    python -m dataset_registry.accounts token --name line-tools --label ci
    python -m dataset_registry.accounts list

A password is asked for, read from standard input where that is no terminal, or taken from ANDON_ACCOUNT_PASSWORD.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dataset_registry.adapters.accounts_store import AccountsStore
from dataset_registry.adapters.audit_store import PostgresTrail
from dataset_registry.adapters.passwords import Argon2Passwords
from dataset_registry.domain import audit_chain
from dataset_registry.domain.accounts import Role
from dataset_registry.domain.refusals import Refused
from dataset_registry.handlers import accounts
from dataset_registry.handlers.accounts import Change
from dataset_registry.settings import Settings

BY = "shell"
PASSWORD = "ANDON_ACCOUNT_PASSWORD"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog="python -m dataset_registry.accounts", description="Who may sign in to the registry."
    )
    whole.add_argument("--database", help="address of the database; ANDON_DATABASE_URL when left out")
    commands = whole.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add", help="somebody new")
    add.add_argument("--display-name", default="")
    add.add_argument("--role", action="append", default=[], choices=[role.value for role in Role])
    add.add_argument("--machine", action="store_true", help="a program: it gets tokens and no password")
    reset = commands.add_parser("reset", help="a new password; all sessions of the account end")
    disable = commands.add_parser("disable", help="let nobody in under the name")
    enable = commands.add_parser("enable", help="let them in again")
    token = commands.add_parser("token", help="a token for a program, shown once")
    token.add_argument("--label", required=True, help="where it is used")
    token.add_argument("--days", type=int, help="how long it is valid; until it is revoked when left out")
    for command in (add, reset, disable, enable, token):
        command.add_argument("--name", required=True)
    commands.add_parser("list", help="who there is")
    commands.add_parser("provision", help="add those of a JSON list on standard input that are missing")
    return whole


def main(words: Sequence[str] | None = None) -> int:
    """Do it; gives the exit status: 1 when it is refused."""
    whole = parser()
    arguments = whole.parse_args(words)
    url = arguments.database or Settings().database_url
    if not url:
        whole.error("no address of the database: give --database or set ANDON_DATABASE_URL")
    try:
        with psycopg.connect(url, row_factory=dict_row) as connection:
            _Shell(AccountsStore(connection), PostgresTrail(connection)).do(arguments)
    except Refused as refused:
        print(f"refused: {refused.reason}: {refused.advice}", file=sys.stderr)
        return 1
    return 0


class _Shell:
    def __init__(self, store: AccountsStore, trail: PostgresTrail) -> None:
        self._store = store
        self._trail = trail
        self._passwords = Argon2Passwords()
        self._now = datetime.now(UTC)

    def do(self, asked: argparse.Namespace) -> None:
        match asked.command:
            case "add":
                self._add(asked.name, asked.display_name, asked.role, asked.machine)
            case "reset":
                accounts.set_password(self._store, self._passwords, asked.name, _password(), self._now)
                self._note("set-password", asked.name)
                print(f"{asked.name} has a new password")
            case "disable" | "enable":
                off = asked.command == "disable"
                accounts.change(self._store, asked.name, Change(disabled=off), self._now)
                self._note("change-account", asked.name, disabled=off)
                print(f"{asked.name} is {asked.command}d")
            case "token":
                token_id, token = accounts.make_token(
                    self._store, asked.name, asked.label, BY, self._now, asked.days
                )
                self._note("make-token", asked.name, token_id=token_id)
                print(token)
            case "provision":
                for wanted in json.load(sys.stdin):
                    self._provision(wanted)
            case "list":
                self._list()

    def _add(self, name: str, display_name: str, roles: Sequence[str], machine: bool) -> None:
        password = None if machine else _password()
        made = accounts.create(
            self._store,
            self._passwords,
            name,
            display_name,
            map(Role, roles),
            password,
            BY,
            self._now,
            machine=machine,
        )
        self._note("create-account", made.name, roles=[*roles], machine=machine)
        print(f"{made.name} is added")

    def _provision(self, wanted: Mapping[str, Any]) -> None:
        """As `add`, and with a token that was made elsewhere; who is there already stays as they are."""
        name, token = wanted["name"], wanted.get("token")
        if self._store.account(name) is None:
            accounts.create(
                self._store,
                self._passwords,
                name,
                wanted.get("display_name", ""),
                map(Role, wanted["roles"]),
                wanted.get("password"),
                BY,
                self._now,
                machine=token is not None,
            )
            self._note("create-account", name, roles=wanted["roles"], machine=token is not None)
        if token is not None:
            accounts.make_token(self._store, name, "provisioned", BY, self._now, token=token)

    def _list(self) -> None:
        cursor: str | None = None
        while True:
            rows, cursor = self._store.accounts(200, cursor)
            for row in rows:
                marks = [
                    word for word, on in (("machine", row["machine"]), ("disabled", row["disabled_at"])) if on
                ]
                print("\t".join((row["name"], row["display_name"], ", ".join(row["roles"]), " ".join(marks))))
            if cursor is None:
                return

    def _note(self, command: str, name: str, **body: object) -> None:
        self._trail.append(audit_chain.entry(self._now, f"{command} {name}", body, 200, {}, BY))


def _password() -> str:
    known = os.environ.get(PASSWORD)
    if known:
        return known
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return getpass.getpass("password: ")


if __name__ == "__main__":
    raise SystemExit(main())
