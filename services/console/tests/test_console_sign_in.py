"""Signing in at the console: the gate, the cookie, what each role is offered, and accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from andon_chassis.health import Health
from axe_playwright_python.sync_playwright import Axe
from console import visitors
from console.adapters.registry import HttpRegistry
from console.api import create_app
from console.domain import people
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Page, expect

from .annotate_page import drag, shown
from .conftest import SIZES, ForwardClock, identity
from .sign_in_registry import PASSWORD, GuardedRoom

PAGES = {"accounts": "/accounts", "account": "/account", "accounts-one": "/accounts/ada"}
SHOTS = Path(__file__).parents[3] / "build" / "console"


@pytest.fixture
def registry() -> GuardedRoom:
    room = GuardedRoom()
    room.add_task("1")
    room.add_task("2")
    room.add_capture("one")
    return room


@pytest.fixture
def app(registry: GuardedRoom, clock: ForwardClock) -> FastAPI:
    transport = httpx.ASGITransport(app=registry.app)
    return create_app(HttpRegistry("http://registry", transport), clock, Health(clock))


def sign_in(client: httpx.Client, name: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    return client.post("/sign-in", data={"name": name, "password": password, **more})


@pytest.fixture
def ada(client: httpx.Client) -> httpx.Client:
    assert sign_in(client, "ada").status_code == 303
    return client


@pytest.fixture
def root(client: httpx.Client) -> Iterator[httpx.Client]:
    assert sign_in(client, "root").status_code == 303
    return client


class TestTheGate:
    @pytest.mark.parametrize("path", ["/", "/captures", "/annotate", "/accounts", "/quality/audit?actor=x"])
    def test_a_page_leads_to_the_door_and_back(self, client: httpx.Client, path: str) -> None:
        answer = client.get(path)
        assert answer.status_code == 303
        at = httpx.URL(answer.headers["location"])
        assert (at.path, at.params.get("next", "/")) == ("/sign-in", path)

    @pytest.mark.parametrize("path", ["/parts/board", "/annotate/api/tasks/1"])
    def test_scripts_are_told(self, client: httpx.Client, path: str) -> None:
        answer = client.get(path)
        assert (answer.status_code, answer.json()["title"]) == (401, "signed-out")

    def test_what_shows_nothing_is_open(self, client: httpx.Client) -> None:
        assert client.get("/sign-in").status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/static/app.css").status_code == 200

    def test_a_command_of_nobody_is_not_carried_out(
        self, client: httpx.Client, registry: GuardedRoom
    ) -> None:
        headers = {"Referer": f"{client.base_url}/actions?state=open"}
        answer = client.post(f"/actions/{identity('a')}/close", data={"note": "x"}, headers=headers)
        at = httpx.URL(answer.headers["location"])
        assert (at.path, at.params["next"], at.params["again"]) == ("/sign-in", "/actions?state=open", "1")
        assert registry.commands == []

    def test_a_registry_that_is_away_is_no_reason_to_sign_in_again(
        self, ada: httpx.Client, registry: GuardedRoom, clock: ForwardClock
    ) -> None:
        clock.ahead_s += visitors.REMEMBERED_S
        registry.away = True
        assert ada.get("/captures").status_code == 503


class TestTheCookie:
    def test_no_script_reads_it_and_no_other_site_sends_it(
        self, client: httpx.Client, registry: GuardedRoom
    ) -> None:
        answer = sign_in(client, "ada", next="/captures?line=line-a")
        assert (answer.status_code, answer.headers["location"]) == (303, "/captures?line=line-a")
        said = answer.headers["set-cookie"].lower()
        assert "httponly" in said and "samesite=lax" in said and "path=/" in said
        assert "secure" not in said
        assert registry.addresses == ["127.0.0.1"]

    def test_where_people_come_by_https_it_goes_no_other_way(
        self, registry: GuardedRoom, clock: ForwardClock
    ) -> None:
        transport = httpx.ASGITransport(app=registry.app)
        app = create_app(HttpRegistry("http://registry", transport), clock, Health(clock), https=True)
        client = TestClient(app, base_url="https://console", headers={"Origin": "https://console"})
        answer = client.post("/sign-in", data={"name": "ada", "password": PASSWORD}, follow_redirects=False)
        said = answer.headers["set-cookie"]
        assert said.startswith("__Host-andon_session=") and "Secure" in said and "Domain" not in said
        assert client.get("/captures").status_code == 200

    @pytest.mark.parametrize(
        "elsewhere",
        ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/a\nb", "/sign-out"],
    )
    def test_signing_in_leads_nowhere_else(self, client: httpx.Client, elsewhere: str) -> None:
        assert sign_in(client, "ada", next=elsewhere).headers["location"] == "/"

    def test_a_wrong_password_is_said_and_sets_nothing(self, client: httpx.Client) -> None:
        answer = sign_in(client, "ada", "wrong")
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "do not fit" in answer.text and "wrong" not in answer.text

    def test_another_site_signs_nobody_in_and_nobody_out(self, ada: httpx.Client) -> None:
        stranger = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
        for path in ("/sign-in", "/sign-out"):
            assert ada.post(path, data={}, headers=stranger).status_code == 403
        assert ada.get("/captures").status_code == 200

    def test_who_signs_out_is_out_here_and_at_the_registry(
        self, ada: httpx.Client, registry: GuardedRoom
    ) -> None:
        kept = dict(ada.cookies)
        answer = ada.post("/sign-out")
        assert (answer.headers["location"], registry.sessions) == ("/sign-in", {})
        assert ada.get("/captures").status_code == 303
        assert ada.get("/captures", cookies=kept).status_code == 303

    def test_a_session_that_ended_elsewhere_ends_here(
        self, ada: httpx.Client, registry: GuardedRoom, clock: ForwardClock
    ) -> None:
        assert ada.get("/captures").status_code == 200
        registry.sessions.clear()
        assert ada.get("/captures").status_code == 303, "the registry refuses at once"
        clock.ahead_s += visitors.REMEMBERED_S
        assert ada.get("/parts/board").status_code == 401, "what is kept here ends soon after"

    def test_pages_are_kept_by_no_browser(self, ada: httpx.Client) -> None:
        assert ada.get("/captures").headers["cache-control"] == "no-store"


class TestRoles:
    def test_the_signed_in_name_acts(self, client: httpx.Client, registry: GuardedRoom) -> None:
        sign_in(client, "ben")
        registry.add_review("one")
        client.cookies.set("andon_reviewer", "olga")
        client.post(f"/reviews/{identity('r one')}/answer", data={"key": "k", "verdict": "good"})
        ((_, body, _),) = registry.commands
        assert body["reviewer"] == "ben"

    @pytest.mark.parametrize(
        ("name", "offered"),
        [("ada", {"Annotate"}), ("ben", {"Annotate", "Review"}), ("olga", {"Annotate", "Review", "Disputes"}),
         ("root", {"Accounts"})],
    )  # fmt: skip
    def test_each_is_offered_what_they_may(self, client: httpx.Client, name: str, offered: set[str]) -> None:
        sign_in(client, name)
        page = client.get("/").text
        part = client.get("/parts/badges?at=/").text
        for entry in ("Annotate", "Review", "Disputes", "Accounts"):
            assert (f">{entry}<" in page) == (f">{entry}<" in part) == (entry in offered), entry

    def test_parts_that_are_kept_are_kept_apart(self, client: httpx.Client, clock: ForwardClock) -> None:
        clock.stopped = 100.0
        sign_in(client, "root")
        assert ">Accounts<" in client.get("/parts/badges?at=/").text
        sign_in(client, "ada")
        assert ">Accounts<" not in client.get("/parts/badges?at=/").text

    def test_asking_for_more_is_refused_kindly(self, ada: httpx.Client) -> None:
        answer = ada.get("/quality/audit")
        assert answer.status_code == 403
        assert "This is for somebody else" in answer.text and "Labeler" in answer.text

    def test_marks_of_one_person_are_never_sent_as_another(self, ada: httpx.Client) -> None:
        at = f"/annotate/api/tasks/{identity('task 1')}"
        assert ada.get(at, headers={"Andon-Person": "ada"}).status_code == 200
        answer = ada.get(at, headers={"Andon-Person": "ben"})
        assert (answer.status_code, answer.json()["title"]) == (401, "somebody-else")

    def test_no_name_is_taken_on_trust(self, ada: httpx.Client) -> None:
        assert ada.post("/who", data={"name": "olga"}).status_code == 404
        assert "You are" not in ada.get("/").text

    def test_somebody_without_a_role_is_told(self, client: httpx.Client, registry: GuardedRoom) -> None:
        registry.accounts["ada"]["roles"] = []
        sign_in(client, "ada")
        assert "no role yet" in client.get("/account").text


class TestAccounts:
    def test_a_first_password_is_shown_once_and_works(
        self, root: httpx.Client, registry: GuardedRoom
    ) -> None:
        form = {"name": "nia", "display_name": "Nia", "role": ["labeler", "reviewer"], "kind": "person"}
        page = root.post("/accounts", data=form).text
        secret = registry.passwords["nia"]
        assert secret in page and len(secret) == 19
        assert registry.accounts["nia"]["roles"] == ["labeler", "reviewer"]
        assert secret not in root.get("/accounts").text
        again = root.post("/accounts", data=form)
        assert again.status_code == 409 and "already" in again.text and 'value="nia"' in again.text

    def test_roles_are_changed_and_somebody_is_disabled(
        self, root: httpx.Client, registry: GuardedRoom
    ) -> None:
        root.post("/accounts/ada", data={"display_name": "Ada", "role": "reviewer", "disabled": "on"})
        assert registry.accounts["ada"]["roles"] == ["reviewer"]
        assert "Disabled" in root.get("/accounts/ada").text

    def test_a_password_is_replaced(self, root: httpx.Client, registry: GuardedRoom) -> None:
        page = root.post("/accounts/ada/password").text
        assert registry.passwords["ada"] != PASSWORD
        assert registry.passwords["ada"] in page

    def test_a_program_has_tokens(self, root: httpx.Client) -> None:
        root.post("/accounts", data={"name": "tools", "kind": "machine", "role": "mlops"})
        assert "andon_t_secret" in root.post("/accounts/tools/tokens", data={"label": "ci"}).text
        page = root.get("/accounts/tools").text
        assert "andon_t_secret" not in page and "ci" in page
        token_id = page.split("/tokens/")[1].split("/")[0]
        assert root.post(f"/accounts/tools/tokens/{token_id}/revoke").status_code == 303
        assert "Revoked" in root.get("/accounts/tools").text

    def test_somebody_changes_their_own_password(self, ada: httpx.Client, registry: GuardedRoom) -> None:
        new = {"new": "another four words", "repeated": "another four words"}
        assert "another one" in ada.post("/account/password", data={"current": "no", **new}).text
        differing = {"current": PASSWORD, **new, "repeated": "x"}
        assert "differ" in ada.post("/account/password", data=differing).text
        assert ada.post("/account/password", data={"current": PASSWORD, **new}).status_code == 303
        assert registry.passwords["ada"] == "another four words"
        assert ada.get("/captures").status_code == 303

    def test_made_passwords_are_long_and_different(self) -> None:
        made = {people.first_password() for _ in range(100)}
        assert len(made) == 100
        assert all(len(set(one)) >= 6 for one in made)


def come_in(page: Page, name: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


class TestInABrowser:
    def test_in_and_out(self, open_page: Callable[..., Page]) -> None:
        page = open_page("/captures?line=line-a", person=None)
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        come_in(page, "ben")
        page.wait_for_url("**/captures?line=line-a")
        expect(page.get_by_role("link", name="Signed in as Ben Reviewer")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.go_back()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_it_works_without_javascript(self, open_page: Callable[..., Page]) -> None:
        page = open_page("/captures", person=None, java_script_enabled=False)
        come_in(page, "ben")
        expect(page.get_by_role("link", name="Signed in as Ben Reviewer")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    def test_what_was_typed_survives_the_end_of_a_session(
        self, open_page: Callable[..., Page], registry: GuardedRoom
    ) -> None:
        registry.add_review("one")
        page = open_page("/review", person=None)
        come_in(page, "ben")
        page.get_by_label("Note").fill("a long thought")
        registry.sessions.clear()
        page.get_by_role("button", name="Good").click()
        expect(page.locator("#session-over")).to_contain_text("Nothing on this page is lost")
        assert page.get_by_label("Note").input_value() == "a long thought"
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="sign in in another window").click()
        come_in(opened.value, "ben")
        expect(opened.value.get_by_role("button", name="Sign out")).to_be_visible()
        page.get_by_role("button", name="Good").click()
        expect(page.get_by_text("All clear")).to_be_visible()
        ((_, body, _),) = registry.commands
        assert (body["reviewer"], body["note"]) == ("ben", "a long thought")

    def test_no_stroke_is_lost_when_a_session_ends(
        self, open_page: Callable[..., Page], registry: GuardedRoom
    ) -> None:
        page = open_page("/annotate", person=None)
        come_in(page, "ada")
        shown(page, "1")
        registry.sessions.clear()
        page.keyboard.press("2")
        drag(page, (100, 60), (200, 150))
        notice = page.locator("#signed-out")
        expect(notice).to_contain_text("You are signed out")
        page.screenshot(path=SHOTS / "annotate-signed-out.png")
        with page.context.expect_page() as opened:
            notice.get_by_role("link").click()
        come_in(opened.value, "ben")
        expect(opened.value.get_by_role("button", name="Sign out")).to_be_visible()
        expect(notice).to_contain_text("ben is signed in now")
        assert registry.drafts == {}, "another person's session carries nothing of hers"
        opened.value.get_by_role("button", name="Sign out").click()
        come_in(opened.value, "ada")
        expect(notice).to_be_hidden()
        expect(page.locator("#save")).to_have_text("Saved")
        draft = registry.draft_of(identity("task 1"), "ada")
        assert draft is not None and len(draft["shapes"]) == 1

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing(self, open_page: Callable[..., Page], console: str, scheme: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page = open_page("/sign-in", person=None, color_scheme=scheme, reduced_motion="reduce")
        page.get_by_label("Name").fill("root")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        looked_at(page, f"sign-in-{scheme}")
        come_in(page, "root")
        page.wait_for_url(f"{console}/")
        for name, path in {**PAGES, "refused": "/models/x"}.items():
            page.goto(console + path)
            looked_at(page, f"{name}-{scheme}")

    @pytest.mark.parametrize("size", [*SIZES, "mobile"])
    def test_nothing_is_wider_than_the_screen(
        self, open_page: Callable[..., Page], console: str, size: str
    ) -> None:
        width, height = SIZES.get(size, (390, 844))
        page = open_page("/sign-in", person=None)
        page.set_viewport_size({"width": width, "height": height})
        come_in(page, "root")
        page.wait_for_url(f"{console}/")
        for name, path in PAGES.items():
            page.goto(console + path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
            page.screenshot(path=SHOTS / f"{name}-{size.replace(' ', '-')}.png", full_page=True)


def looked_at(page: Page, name: str) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{name}: {found.generate_report()}"
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
