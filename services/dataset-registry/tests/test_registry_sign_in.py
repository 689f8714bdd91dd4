"""The door: signing in, rights, names, accounts and tokens, over HTTP on real PostgreSQL."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from andon_chassis import http
from andon_chassis.errors import Unavailable
from andon_chassis.health import Health
from dataset_registry.adapters.passwords import Argon2Passwords
from dataset_registry.adapters.pictures import Pictures
from dataset_registry.adapters.session import sessions
from dataset_registry.api import create_app
from dataset_registry.api.context import Context
from dataset_registry.domain.accounts import Account, Role
from dataset_registry.handlers.sign_in import LocalAccounts
from fastapi.testclient import TestClient
from httpx import Response

from .conftest import Registry, review

PASSWORD = "four words are enough"
NAMES = {
    "root": [Role.ADMIN],
    "lea": [Role.LABELER],
    "ben": [Role.REVIEWER],
    "olga": [Role.QA_OWNER],
    "otto": [Role.MLOPS],
    "max": [Role.ML_LEAD],
}
PASSWORDS = Argon2Passwords()
HASHED = PASSWORDS.hashed(PASSWORD)


class Guarded:
    """A registry where people sign in."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.clock = registry.clock
        self.opened = sessions(registry.database)
        identity = LocalAccounts(self.opened, PASSWORDS, self.clock)
        pictures = Pictures(registry.objects, 1_000_000, registry.pyramids)
        app = create_app(Context(self.opened, registry.objects, pictures, self.clock, {}, identity=identity))
        http.install(app, Health(self.clock))
        self.http = TestClient(app)
        with self.opened() as session:
            for name, roles in NAMES.items():
                account = Account(name, name.title(), HASHED, frozenset(roles), machine=False, disabled=False)
                assert session.accounts.add_account(account, "test", self.clock.now())

    def sign_in(self, name: str, password: str = PASSWORD, address: str = "10.1.1.1") -> Response:
        client = TestClient(self.http.app, client=(address, 40_000))
        return client.post("/v1/sessions", json={"name": name, "password": password})

    def token(self, name: str) -> str:
        answer = self.sign_in(name)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def ask(self, method: str, path: str, token: str, **more: Any) -> Response:
        return self.http.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)

    def admin(self, method: str, path: str, **more: Any) -> Response:
        return self.ask(method, path, self.token("root"), **more)


@pytest.fixture
def guarded(registry: Registry) -> Guarded:
    return Guarded(registry)


def reason(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["title"]


class TestTheDoor:
    @pytest.mark.parametrize(
        "header", [None, "", "Bearer", "Bearer nonsense", "Basic cm9vdA==", "Bearer andon_s_x"]
    )
    def test_nobody_unknown_comes_in(self, guarded: Guarded, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        answer = guarded.http.get("/v1/lines", headers=headers)
        assert reason(answer) == (401, "signed-out")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"

    def test_whoever_is_nobody_learns_nothing_of_routes_and_bodies(self, guarded: Guarded) -> None:
        for path in ("/v1/nowhere", "/v1/accounts", f"/v1/reviews/{uuid4()}/answers"):
            assert guarded.http.post(path, json={"made": "up"}).status_code == 401

    def test_probes_and_the_contract_are_open(self, guarded: Guarded) -> None:
        assert guarded.http.get("/healthz").status_code == 200
        assert guarded.http.get("/openapi.json").status_code == 200

    def test_who_cannot_be_looked_up_now_may_ask_again(
        self, guarded: Guarded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(identity: LocalAccounts, token: str) -> None:
            raise Unavailable("postgresql", "it restarts")

        token = guarded.token("lea")
        monkeypatch.setattr(LocalAccounts, "principal", away)
        answer = guarded.ask("GET", "/v1/lines", token)
        assert reason(answer) == (503, "unavailable")
        assert answer.headers["Retry-After"]

    def test_who_signs_in_is_told_who_they_are_and_what_they_may(self, guarded: Guarded) -> None:
        made = guarded.sign_in(" Olga ")
        assert made.status_code == 201
        assert made.headers.get("cache-control") != "public"
        token = made.json().pop("token")
        current = guarded.ask("GET", "/v1/sessions/current", token).json()
        assert current == {name: value for name, value in made.json().items() if name != "token"}
        assert (current["sign_in"], current["name"], current["roles"]) == ("required", "olga", ["qa-owner"])
        assert "adjudicate_review" in current["rights"]
        assert "promote_release" not in current["rights"]
        with guarded.registry.database.transaction() as tx:
            (row,) = tx.connection.execute("SELECT token_hash FROM sessions").fetchall()
        assert bytes(row["token_hash"]) == hashlib.sha256(token.encode()).digest()

    def test_a_role_that_is_missing_is_named(self, guarded: Guarded) -> None:
        body = {"version": "r1", "scope": {}}
        answer = guarded.ask("POST", "/v1/releases/r1/promote", guarded.token("olga"), json=body)
        assert reason(answer) == (403, "role-missing")
        assert answer.json()["roles"] == ["mlops"]
        assert "mlops" in answer.json()["detail"]

    def test_what_is_in_the_body_is_nobodys_business_before_the_right(self, guarded: Guarded) -> None:
        answer = guarded.ask("POST", "/v1/batches", guarded.token("lea"), json={"rubbish": 1})
        assert answer.status_code == 403

    @pytest.mark.parametrize(
        ("kind", "who", "status"),
        [("label", "lea", 200), ("review", "lea", 403), ("review", "ben", 200), ("adjudicate", "ben", 403),
         ("adjudicate", "olga", 200)],
    )  # fmt: skip
    def test_one_route_may_need_several_rights(
        self, guarded: Guarded, kind: str, who: str, status: int
    ) -> None:
        answer = guarded.ask("POST", "/v1/work/next", guarded.token(who), json={"kind": kind})
        assert answer.status_code == status, answer.text

    def test_nobody_answers_under_another_name(self, guarded: Guarded) -> None:
        registry = guarded.registry
        registry.publish_taxonomy()
        registry.take(registry.captured("1"), registry.decided("1"), registry.requested("1"))
        path, token = f"/v1/reviews/{review('1')}/answers", guarded.token("ben")
        answer = guarded.ask("POST", path, token, json={"reviewer": "olga", "verdict": "good"})
        assert reason(answer) == (403, "not-your-name")
        done = guarded.ask("POST", path, token, json={"verdict": "good"})
        assert done.status_code == 200, done.text
        assert done.json()["decided_by"] == "ben" or done.json()["answers"][0]["reviewer"] == "ben"
        with guarded.registry.database.transaction() as tx:
            (entry,) = tx.connection.execute(
                "SELECT actor FROM audit_entries WHERE action = 'answer'"
            ).fetchall()
        assert entry["actor"] == "ben"

    def test_a_name_that_may_be_left_out_is_written_in(self, guarded: Guarded) -> None:
        classes = [{"name": "good", "severity": "minor", "is_defect": False}]
        made = guarded.ask("PUT", "/v1/taxonomies/t1", guarded.token("olga"), json={"classes": classes})
        assert made.status_code == 201, made.text
        read = guarded.ask("GET", "/v1/taxonomies/t1", guarded.token("lea")).json()
        assert read["published_by"] == "olga"

    def test_names_in_queries_and_forms_are_held_against_the_session_too(self, guarded: Guarded) -> None:
        token = guarded.token("max")
        asked = {"by": "olga", "purpose": "audit"}
        answer = guarded.ask("GET", f"/v1/datasets/snapshots/{'0' * 64}/holdout", token, params=asked)
        assert reason(answer) == (403, "not-your-name")
        form = {"source": "x", "imported_by": "ben"}
        files = {"archive": ("a.json", b"{}")}
        answer = guarded.ask("POST", "/v1/imports", guarded.token("olga"), data=form, files=files)
        assert reason(answer) == (403, "not-your-name")

    def test_people_are_those_who_have_accounts(self, guarded: Guarded) -> None:
        people = guarded.ask("GET", "/v1/people", guarded.token("lea")).json()["items"]
        assert [one["name"] for one in people] == sorted(NAMES)
        assert {"name": "olga", "roles": ["qa-owner"]} in people


class TestSessions:
    def test_it_ends_when_nobody_is_there(self, guarded: Guarded) -> None:
        token = guarded.token("lea")
        guarded.clock.advance(timedelta(hours=11).total_seconds())
        assert guarded.ask("GET", "/v1/lines", token).status_code == 200
        guarded.clock.advance(timedelta(hours=11).total_seconds())
        assert guarded.ask("GET", "/v1/lines", token).status_code == 200
        guarded.clock.advance(timedelta(hours=12, seconds=1).total_seconds())
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401

    def test_it_ends_after_a_week_whatever_happens(self, guarded: Guarded) -> None:
        token = guarded.token("lea")
        for _ in range(16):
            guarded.clock.advance(timedelta(hours=10).total_seconds())
            assert guarded.ask("GET", "/v1/lines", token).status_code == 200
        guarded.clock.advance(timedelta(hours=9).total_seconds())
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401

    def test_who_signs_out_is_out(self, guarded: Guarded) -> None:
        token, other = guarded.token("lea"), guarded.token("lea")
        assert guarded.ask("DELETE", "/v1/sessions/current", token).status_code == 204
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401
        assert guarded.ask("GET", "/v1/lines", other).status_code == 200

    def test_a_name_that_nobody_has_and_a_wrong_password_look_the_same(self, guarded: Guarded) -> None:
        unknown, wrong = guarded.sign_in("nobody"), guarded.sign_in("lea", "not this one, no")
        assert reason(unknown) == (401, "sign-in-failed")
        assert unknown.json() == wrong.json()
        guarded.admin("PATCH", "/v1/accounts/lea", json={"disabled": True})
        assert guarded.sign_in("lea").json() == wrong.json()

    def test_guessing_is_slowed_and_a_right_password_has_to_wait_as_well(self, guarded: Guarded) -> None:
        for _ in range(3):
            assert guarded.sign_in("lea", "wrong wrong").status_code == 401
        slowed = guarded.sign_in("lea")
        assert reason(slowed) == (429, "sign-in-slowed")
        assert slowed.headers["Retry-After"] == "1"
        assert guarded.sign_in("lea", address="10.1.1.2").status_code == 201, "only from that address"
        guarded.clock.advance(1)
        assert guarded.sign_in("lea").status_code == 201
        assert guarded.sign_in("lea", "wrong wrong").status_code == 401, "and from then on it starts anew"

    def test_names_that_nobody_has_are_slowed_alike(self, guarded: Guarded) -> None:
        answers = [guarded.sign_in("nobody", "wrong wrong").status_code for _ in range(4)]
        assert answers == [401, 401, 401, 429]

    def test_an_address_is_slowed_after_many_names(self, guarded: Guarded) -> None:
        for number in range(50):
            assert guarded.sign_in(f"guess-{number}", "wrong wrong").status_code == 401
        assert guarded.sign_in("lea").status_code == 429
        assert guarded.sign_in("lea", address="10.1.1.2").status_code == 201


class TestAccounts:
    def test_an_admin_adds_somebody_who_then_signs_in(self, guarded: Guarded) -> None:
        body = {"name": "Nia.K", "display_name": "Nia", "roles": ["labeler"], "password": "a new word or two"}
        made = guarded.admin("POST", "/v1/accounts", json=body)
        assert made.status_code == 201, made.text
        assert (made.json()["name"], made.json()["created_by"]) == ("nia.k", "root")
        assert guarded.sign_in("nia.k", "a new word or two").status_code == 201
        assert reason(guarded.admin("POST", "/v1/accounts", json=body)) == (409, "name-taken")

    def test_no_password_and_no_token_is_kept_in_words(self, guarded: Guarded) -> None:
        key = {"Idempotency-Key": str(uuid4()), "Authorization": f"Bearer {guarded.token('root')}"}
        body = {"name": "nia", "roles": [], "password": "a new word or two"}
        assert guarded.http.post("/v1/accounts", json=body, headers=key).status_code == 201
        guarded.admin("POST", "/v1/accounts", json={"name": "tools", "machine": True, "roles": ["mlops"]})
        token = guarded.admin("POST", "/v1/accounts/tools/tokens", json={"label": "ci"}).json()["token"]
        with guarded.registry.database.transaction() as tx:
            kept = str(tx.connection.execute("SELECT body FROM command_answers").fetchall())
            kept += str(tx.connection.execute("SELECT * FROM audit_entries").fetchall())
            kept += str(tx.connection.execute("SELECT * FROM accounts").fetchall())
            kept += str(tx.connection.execute("SELECT * FROM service_tokens").fetchall())
        assert "a new word or two" not in kept
        assert token not in kept
        assert "$argon2id$" in kept

    def test_only_admins_see_to_accounts(self, guarded: Guarded) -> None:
        token = guarded.token("olga")
        for method, path in (("GET", ""), ("POST", ""), ("GET", "/lea"), ("PATCH", "/lea")):
            assert reason(guarded.ask(method, f"/v1/accounts{path}", token, json={})) == (403, "role-missing")
        other = guarded.ask(
            "POST", "/v1/accounts/lea/password", token, json={"password": "a new word or two"}
        )
        assert reason(other) == (403, "role-missing")

    def test_who_is_disabled_is_out_at_once(self, guarded: Guarded) -> None:
        token = guarded.token("lea")
        assert guarded.admin("PATCH", "/v1/accounts/lea", json={"disabled": True}).json()["disabled_at"]
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401
        assert guarded.admin("PATCH", "/v1/accounts/lea", json={"disabled": False}).status_code == 200
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401, "the old session stays ended"
        assert guarded.sign_in("lea").status_code == 201

    def test_roles_hold_from_the_next_request_on(self, guarded: Guarded) -> None:
        token, ask = guarded.token("lea"), {"kind": "review"}
        assert guarded.ask("POST", "/v1/work/next", token, json=ask).status_code == 403
        guarded.admin("PATCH", "/v1/accounts/lea", json={"roles": ["reviewer"]})
        assert guarded.ask("POST", "/v1/work/next", token, json=ask).status_code == 200

    def test_an_admin_is_always_left(self, guarded: Guarded) -> None:
        for change in ({"disabled": True}, {"roles": ["labeler"]}):
            assert reason(guarded.admin("PATCH", "/v1/accounts/root", json=change)) == (409, "last-admin")
        guarded.admin("PATCH", "/v1/accounts/olga", json={"roles": ["admin"]})
        assert guarded.admin("PATCH", "/v1/accounts/root", json={"disabled": True}).status_code == 200

    def test_a_password_is_changed_by_who_has_it_and_ends_all_sessions(self, guarded: Guarded) -> None:
        token, new = guarded.token("lea"), "a new word or two"
        path = "/v1/accounts/lea/password"
        wrong = guarded.ask("POST", path, token, json={"password": new, "current_password": "not it"})
        assert reason(wrong) == (403, "password-wrong")
        right = guarded.ask("POST", path, token, json={"password": new, "current_password": PASSWORD})
        assert right.status_code == 200, right.text
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401
        assert (guarded.sign_in("lea").status_code, guarded.sign_in("lea", new).status_code) == (401, 201)

    def test_an_admin_resets_a_password_and_a_weak_one_is_refused(self, guarded: Guarded) -> None:
        path = "/v1/accounts/lea/password"
        assert reason(guarded.admin("POST", path, json={"password": "short"})) == (422, "password-weak")
        assert guarded.admin("POST", path, json={"password": "a new word or two"}).status_code == 200
        assert guarded.sign_in("lea", "a new word or two").status_code == 201

    def test_accounts_are_listed_in_pages(self, guarded: Guarded) -> None:
        first = guarded.admin("GET", "/v1/accounts", params={"limit": 4}).json()
        rest = guarded.admin("GET", "/v1/accounts", params={"cursor": first["next_cursor"]}).json()
        names = [one["name"] for one in (*first["items"], *rest["items"])]
        assert names == sorted(NAMES)
        assert rest["next_cursor"] is None
        assert not any("password" in one and one["password"] for one in first["items"])


class TestTokens:
    def machine(self, guarded: Guarded, **more: Any) -> tuple[str, str]:
        body = {"name": "tools", "roles": ["mlops"], "machine": True}
        assert guarded.admin("POST", "/v1/accounts", json=body).status_code == 201
        made = guarded.admin("POST", "/v1/accounts/tools/tokens", json={"label": "ci", **more}).json()
        return made["token_id"], made["token"]

    def test_a_program_comes_in_by_a_token_until_it_is_revoked(self, guarded: Guarded) -> None:
        token_id, token = self.machine(guarded)
        guarded.clock.advance(timedelta(days=300).total_seconds())
        current = guarded.ask("GET", "/v1/sessions/current", token).json()
        assert (current["name"], current["machine"], current["expires_at"]) == ("tools", True, None)
        (listed,) = guarded.admin("GET", "/v1/accounts/tools/tokens").json()["items"]
        assert listed["last_used_at"]
        assert "token" not in listed
        gone = guarded.admin("DELETE", f"/v1/accounts/tools/tokens/{token_id}")
        assert gone.json()["revoked_at"]
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401

    def test_a_token_may_end_by_itself(self, guarded: Guarded) -> None:
        _, token = self.machine(guarded, days=30)
        guarded.clock.advance(timedelta(days=30).total_seconds())
        assert guarded.ask("GET", "/v1/lines", token).status_code == 401

    def test_a_program_has_no_password(self, guarded: Guarded) -> None:
        self.machine(guarded)
        word = {"password": "a new word or two"}
        assert reason(guarded.admin("POST", "/v1/accounts/tools/password", json=word)) == (
            422,
            "machine-password",
        )
        assert guarded.sign_in("tools", "").status_code == 422
        assert guarded.sign_in("tools", "a new word or two").status_code == 401

    def test_nobody_gets_a_token_to_be_another_person(self, guarded: Guarded) -> None:
        answer = guarded.admin("POST", "/v1/accounts/olga/tokens", json={"label": "x"})
        assert reason(answer) == (403, "not-your-name")
        own = guarded.ask("POST", "/v1/accounts/olga/tokens", guarded.token("olga"), json={"label": "x"})
        assert own.status_code == 201
        assert guarded.ask("GET", "/v1/lines", own.json()["token"]).status_code == 200
        lea = guarded.token("lea")
        assert guarded.ask("GET", "/v1/accounts/olga/tokens", lea).status_code == 403


def test_on_trust_everybody_is_who_they_say(registry: Registry) -> None:
    current = registry.get("/v1/sessions/current")
    assert (current["sign_in"], current["name"]) == ("on-trust", None)
    assert "create_account" in current["rights"]
