"""The live table, with and without a terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from andon_demo.live import LiveTable
from andon_demo.rehearsal import Factory
from rich.console import Console


@pytest.fixture
def factory(tmp_path: Path) -> Factory:
    return Factory(tmp_path, images=60)


def test_without_a_terminal_it_tells_a_line_now_and_then(factory: Factory) -> None:
    out = io.StringIO()
    with LiveTable(Console(file=out, width=200), 60) as table:
        for _ in range(50):
            table.show(factory.ledger, 60, "cameras send")
    text = out.getvalue()
    assert text.count("sent 60/60") == 1
    assert "line-a: captured 29" in text and "line-b: captured" in text


def test_on_a_terminal_it_shows_every_column(factory: Factory) -> None:
    out = io.StringIO()
    with LiveTable(Console(file=out, width=160, force_terminal=True), 60) as table:
        table.show(factory.ledger, 60, "quiet")
    for word in (
        "captured",
        "audited",
        "inferred",
        "decided",
        "in review",
        "signals",
        "actions",
        "p50 ms",
        "line-b",
    ):
        assert word in out.getvalue()
