"""Who may do what, and what accounts, passwords and waiting times obey: without a database."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from dataset_registry import openapi
from dataset_registry.api.labeling_shapes import NextIn, TaskReviewIn
from dataset_registry.domain import accounts, rights
from dataset_registry.domain.accounts import Principal, Role
from dataset_registry.domain.refusals import Refused

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def operations() -> set[str]:
    """All operations of the API, those that do several things once for each."""
    document = json.loads(openapi.contract())
    kinds: dict[str, Any] = {"take_next_task": NextIn, "review_task": TaskReviewIn}
    assert set(kinds) == set(rights.QUALIFIERS)
    names = set[str]()
    for operation in (one for path in document["paths"].values() for one in path.values()):
        name = operation["operationId"]
        if name in rights.QUALIFIERS:
            field = kinds[name].model_fields[rights.QUALIFIERS[name]]
            names |= {f"{name} {value}" for value in get_args(field.annotation)}
        else:
            names.add(name)
    return names


def test_every_operation_has_its_rights_and_every_right_its_operation(operations: set[str]) -> None:
    assert operations == set(rights.RIGHTS) | rights.OPEN | rights.OWN


def somebody(*roles: Role, name: str = "ada") -> Principal:
    return Principal(name, name, frozenset(roles))


@pytest.mark.parametrize(
    ("operation", "may"),
    [
        ("annotate", {"labeler", "reviewer", "qa-owner"}),
        ("answer_review", {"reviewer", "qa-owner"}),
        ("adjudicate_review", {"qa-owner"}),
        ("review_task decide", {"qa-owner"}),
        ("publish_draft", {"qa-owner"}),
        ("lock_standard", {"qa-owner"}),
        ("read_holdout", {"qa-owner", "ml-lead"}),
        ("promote_release", {"mlops"}),
        ("roll_back_release", {"mlops"}),
        ("create_account", {"admin"}),
        ("read_lines", {role.value for role in Role}),
        ("what nobody has thought of", set()),
    ],
)
def test_each_role_may_what_its_duty_is(operation: str, may: set[str]) -> None:
    allowed = set()
    for role in Role:
        try:
            rights.check(operation, somebody(role))
            allowed.add(role.value)
        except Refused as refused:
            assert refused.reason == "role-missing"
            assert refused.more["roles"] == [one.value for one in Role if one.value in may]
    assert allowed == may
    assert (operation in rights.rights_of([])) is False


def test_who_has_no_role_still_has_a_session_and_a_password() -> None:
    assert set(rights.rights_of([])) == rights.OWN
    rights.check("set_password", somebody())
    with pytest.raises(Refused, match="anybody who has a role"):
        rights.check("read_lines", somebody())


def test_nobody_acts_under_another_name() -> None:
    rights.check_name("closed_by", "ada", somebody())
    with pytest.raises(Refused, match="closed_by says ben, but ada is signed in"):
        rights.check_name("closed_by", "ben", somebody())


@pytest.mark.parametrize("name", ["m.ricci", " M.Ricci ", "a", "line-tools", "x" * 60])
def test_names_are_written_in_one_way(name: str) -> None:
    assert accounts.name_of(name) == name.strip().lower()


@pytest.mark.parametrize("name", ["", "-a", "a.", "a b", "ä", "a/b", "x" * 61, "a\x00"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(Refused, match="name-unsuitable"):
        accounts.name_of(name)


@pytest.mark.parametrize(
    ("password", "why"),
    [("short", "at least 12"), ("aaaaaaaaaaaaaaaa", "same few"), ("Ada-in-wonderland", "name is part")],
)
def test_passwords_that_are_easy_to_guess_are_refused(password: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        accounts.check_password("ada", password)


def test_a_good_password() -> None:
    accounts.check_password("ada", "four words are enough")


def test_a_session_ends_when_nobody_is_there_and_at_the_latest_after_a_week() -> None:
    assert accounts.session_end(NOW, NOW) == NOW + timedelta(hours=12)
    assert accounts.session_end(NOW, NOW + timedelta(days=6, hours=20)) == NOW + timedelta(days=7)


def test_each_wrong_password_beyond_the_free_ones_doubles_the_wait() -> None:
    free = accounts.subjects("ada", "10.0.0.1")
    pair = next(iter(free))

    def wait(count: int, ago_s: float = 0) -> float:
        return accounts.wait_s({pair: (count, NOW - timedelta(seconds=ago_s))}, free, NOW)

    assert wait(2) == 0
    assert [wait(count) for count in (3, 4, 5, 6)] == [1, 2, 4, 8]
    assert wait(400) == 300
    assert wait(5, ago_s=3) == 1
    assert wait(5, ago_s=5) <= 0
    assert wait(400, ago_s=86_401) == 0


def test_an_account_and_an_address_are_slowed_after_more_and_the_longest_wait_counts() -> None:
    free = accounts.subjects("ada", "10.0.0.1")
    pair, account, address = free
    assert free[pair] < free[account] < free[address]
    failures = {pair: (4, NOW), account: (free[account] + 3, NOW), address: (1, NOW)}
    assert accounts.wait_s({account: (4000, NOW)}, free, NOW) == 60
    assert accounts.wait_s({address: (4000, NOW)}, free, NOW) == 10
    assert accounts.wait_s(failures, free, NOW) == 8
    assert accounts.pardoned(free) == [pair, account]
