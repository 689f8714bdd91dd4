"""Accounts from a shell: the first admin, and what an installation provisions."""

from __future__ import annotations

import io
import json

import pytest
from dataset_registry import accounts
from dataset_registry.adapters.audit_store import PostgresTrail
from dataset_registry.adapters.session import sessions
from dataset_registry.handlers import audit
from dataset_registry.handlers.sign_in import LocalAccounts

from .conftest import Registry
from .test_registry_sign_in import PASSWORDS

WORDS = "four words are enough"
TOKEN = "andon_t_" + "x" * 40


@pytest.fixture
def shell(registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(registry, monkeypatch, capsys)


class Shell:
    def __init__(
        self, registry: Registry, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]
    ) -> None:
        self._registry, self._patch, self._capture = registry, patch, capture
        self.identity = LocalAccounts(sessions(registry.database), PASSWORDS, registry.clock)

    def run(self, words: str, stdin: str = "") -> tuple[int, str, str]:
        self._patch.setattr("sys.stdin", io.StringIO(stdin))
        status = accounts.main(["--database", self._registry.database.url, *words.split()])
        return status, *self._capture.readouterr()


def test_the_first_admin_is_made_on_the_database(shell: Shell) -> None:
    assert shell.run("add --name Ada --role admin", f"{WORDS}\n")[:2] == (0, "ada is added\n")
    _, who = shell.identity.sign_in("ada", WORDS, "10.1.1.1")
    assert [*who.roles] == ["admin"]
    assert shell.run("list")[1].endswith("ada\tada\tadmin\t\n")
    status, _, said = shell.run("disable --name ada")
    assert (status, "last-admin" in said) == (1, True)


def test_a_forgotten_password_is_replaced(shell: Shell) -> None:
    shell.run("add --name ada --role admin", WORDS)
    token, _ = shell.identity.sign_in("ada", WORDS, "10.1.1.1")
    assert shell.run("reset --name ada", "short")[0] == 1
    assert shell.run("reset --name ada", "another four words")[0] == 0
    assert shell.identity.principal(token) is None
    assert shell.identity.sign_in("ada", "another four words", "10.1.1.1")[1].name == "ada"


def test_a_program_gets_a_token(shell: Shell) -> None:
    shell.run("add --name tools --role mlops --machine")
    _, token, _ = shell.run("token --name tools --label ci --days 3")
    found = shell.identity.principal(token.strip())
    assert found is not None
    assert (found.name, found.machine) == ("tools", True)


def test_an_installation_adds_what_is_missing_and_leaves_what_is_there(
    shell: Shell, registry: Registry
) -> None:
    wanted = [
        {"name": "lea", "display_name": "Lea", "roles": ["labeler"], "password": WORDS},
        {"name": "tools", "roles": ["mlops"], "token": TOKEN},
    ]
    for _ in range(2):
        assert shell.run("provision", json.dumps(wanted))[0] == 0
    wanted[0]["password"] = "something else entirely"
    assert shell.run("provision", json.dumps(wanted))[0] == 0
    assert shell.identity.sign_in("lea", WORDS, "10.1.1.1")[1].display_name == "Lea"
    found = shell.identity.principal(TOKEN)
    assert found is not None
    assert found.name == "tools"
    with registry.database.transaction() as tx:
        trail = audit.verification(PostgresTrail(tx.connection), [])
    assert (trail.broken, trail.end.sequence) == (None, 2)
