"""Capture standards, imports and exports: what their forms send, refuse, and keep of what was typed."""

from __future__ import annotations

import html
import json
import re

import httpx
import pytest

from .conftest import identity
from .desk_registry import Desk
from .room_registry import V2

IMPORT = f"/quality/imports/{identity('import')}"
ARCHIVE = {
    "source": "neu-det",
    "mapping": "free = good\n\ncrazing=crack",
    "line": "line-a",
    "synthetic": "yes",
}


@pytest.fixture
def registry() -> Desk:
    return Desk()


@pytest.fixture
def dana(client: httpx.Client) -> httpx.Client:
    """The data lead at the desk."""
    client.cookies.set("andon_reviewer", "dana")
    return client


class TestStandards:
    EDIT = "/quality/standards/line-a/cell-1/edit"

    def filled(self, client: httpx.Client, **typed: str) -> dict[str, str]:
        """The form as it stands in the page, with what somebody types."""
        found = re.findall(r'<input[^>]* name="([^"]+)" value="([^"]*)"', client.get(self.EDIT).text)
        return {name: html.unescape(value) for name, value in found} | typed

    def test_what_is_in_force_stands_in_the_form(self, dana: httpx.Client, registry: Desk) -> None:
        form = self.filled(dana, capture_standard_version="cs-3", focus="Fixed at 320 mm")
        answer = dana.post("/quality/standards", data=form)
        assert answer.headers["location"] == "/quality/standards/line-a/cell-1"
        ((path, body, _),) = registry.sent
        assert path == "/v1/stations/line-a/cell-1"
        kept = {name: registry.station[name] for name in ("lens", "width", "mm_per_pixel", "rejection_rules")}
        assert {name: body[name] for name in kept} == kept
        assert (body["focus"], body["background"], body["media_types"]) == (
            "Fixed at 320 mm",
            None,
            ["image/png"],
        )
        assert (body["capture_standard_version"], body["published_by"]) == ("cs-3", "dana")

    @pytest.mark.parametrize(
        ("field", "text"),
        [
            ("width", "1600.5"),
            ("mm_per_pixel", "0"),
            ("angle_deg", "400"),
            ("distance_mm", "inf"),
            ("takt_ms", ""),
            ("capture_standard_version", ""),
            ("rule-1", "Too dark"),
        ],
    )
    def test_what_cannot_be_meant_is_said_beside_its_field(
        self, dana: httpx.Client, registry: Desk, field: str, text: str
    ) -> None:
        answer = dana.post("/quality/standards", data=self.filled(dana, **{field: text, "lens": "50 mm"}))
        assert answer.status_code == 422
        wrong = field.replace("rule-", "reason-")
        assert f'id="wrong-{wrong}"' in answer.text and f'aria-describedby="wrong-{wrong}"' in answer.text
        assert 'value="50 mm"' in answer.text
        assert registry.sent == []

    def test_who_publishes_over_another_is_told(self, dana: httpx.Client, registry: Desk) -> None:
        form = self.filled(dana, lens="50 mm")
        registry.station |= {"lens": "35 mm"}
        answer = dana.post("/quality/standards", data=form)
        assert answer.status_code == 412
        assert "Somebody published another standard" in answer.text and 'value="50 mm"' in answer.text
        assert registry.sent == []

    def test_a_locked_version_is_refused_with_all_that_was_typed(
        self, dana: httpx.Client, registry: Desk
    ) -> None:
        form = self.filled(dana, lens="50 mm")
        registry.refused = "Capture standard cs-2 was locked by eve."
        answer = dana.post("/quality/standards", data=form)
        assert answer.status_code == 409
        assert "was locked by eve" in answer.text and 'value="50 mm"' in answer.text

    def test_a_station_is_new_once(self, dana: httpx.Client, registry: Desk) -> None:
        form = {"line": "line-a", "station": "cell-1", "capture_standard_version": "1", "takt_ms": "900"}
        assert "open it to change it" in dana.post("/quality/standards", data=form).text
        dana.post("/quality/standards", data=form | {"station": "cell 2"})
        assert registry.sent[0][0] == "/v1/stations/line-a/cell 2"
        assert dana.get("/quality/standards/line-a/nowhere/edit").status_code == 404


class TestExchange:
    def test_an_archive_is_handed_on_with_what_is_known_of_it(
        self, dana: httpx.Client, registry: Desk
    ) -> None:
        answer = dana.post("/quality/imports", data=ARCHIVE, files={"archive": ("a.zip", b"PK")})
        assert answer.headers["location"] == f"/quality/imports/{identity('import')}"
        ((archive, fields),) = registry.handed_in
        assert (archive, fields["imported_by"], fields["only_good"]) == ("a.zip PK", "dana", "false")
        assert json.loads(fields["mapping"]) == {"free": "good", "crazing": "crack"}
        assert json.loads(fields["context"]) == {"line": "line-a", "synthetic": "true"}
        assert "format" not in fields

    def test_what_is_missing_is_said_beside_its_field(self, dana: httpx.Client, registry: Desk) -> None:
        answer = dana.post(
            "/quality/imports", data={"source": " ", "mapping": "free"}, files={"archive": b""}
        )
        assert answer.status_code == 422
        assert all(f'id="wrong-{name}"' in answer.text for name in ("source", "mapping"))
        assert "Choose a file." in dana.post("/quality/imports", data=ARCHIVE).text
        assert registry.handed_in == []

    def test_problems_have_file_and_line(self, client: httpx.Client) -> None:
        text = client.get(IMPORT).text
        assert "Nothing was imported: 1 problem" in text
        assert "ANNOTATIONS/crazing_1.xml" in text and "<td>17</td>" in text
        assert "/progress" not in text, "what is over changes no more"

    def test_a_running_import_is_followed(self, client: httpx.Client, registry: Desk) -> None:
        registry.state = "importing"
        assert f'data-live="{IMPORT}/progress"' in client.get(IMPORT).text
        part = client.get(f"{IMPORT}/progress").text
        assert "1\u202f200 of 1\u202f800 images written" in part and 'width="66.7"' in part

    def test_losses_are_shown_before_the_download(self, client: httpx.Client, registry: Desk) -> None:
        text = client.get("/quality/exports?format=yolo&line=line-a&as_of=2026-03-01T12:00&pictures=yes").text
        asked = {"format": "yolo", "line": "line-a", "as_of": "2026-03-01T12:00:00+00:00"}
        assert registry.asked_for == asked
        assert "Written as the box around it." in text
        (link,) = re.findall(r'href="(/quality/exports/file[^"]+)"', text)
        found = client.get(html.unescape(link))
        assert registry.asked_for == asked | {"pictures": "true"}
        assert found.headers["content-disposition"] == 'attachment; filename="labels-yolo.zip"'

    def test_a_version_is_exported_as_it_is(self, client: httpx.Client, registry: Desk) -> None:
        client.get(f"/quality/exports?format=coco&dataset={V2}&line=line-a")
        assert registry.asked_for == {"format": "coco", "dataset": V2}
