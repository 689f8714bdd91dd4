"""The file of decisions: a line for each, also after a crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from edge_agent.adapters.journal import JsonLines
from edge_agent.ports import Record
from test_edge_queue import opened, taken


def records(folder: Path, count: int) -> list[Record]:
    queue = opened(folder)
    return [queue.add(taken(str(number)))[0] for number in range(count)]


def numbers(path: Path) -> list[int]:
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            found.append(json.loads(line)["seq"])
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("torn", [b"", b'{"seq": 2, "li', b"\0" * 50])
def test_lines_that_a_crash_swallowed_are_written_at_the_next_start(tmp_path: Path, torn: bytes) -> None:
    path, queue = tmp_path / "decisions.jsonl", opened(tmp_path)
    first, *_ = records(tmp_path, 3)
    JsonLines(path).write(first)
    with path.open("ab") as file:
        file.write(torn)
    JsonLines(path).catch_up(lambda after: queue.records(after, 100))
    assert numbers(path) == [1, 2, 3]
    JsonLines(path).catch_up(lambda after: queue.records(after, 100))
    assert numbers(path) == [1, 2, 3]


def test_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    journal = JsonLines(path, most_bytes=1000)
    for record in records(tmp_path, 20):
        journal.write(record)
    aside = path.with_name("decisions.jsonl.1")
    assert path.stat().st_size + aside.stat().st_size < 3000
    assert numbers(path)[-1] == 20 and numbers(aside)[-1] + 1 == numbers(path)[0]


def test_a_file_that_cannot_be_written_holds_nothing_up(tmp_path: Path) -> None:
    (tmp_path / "decisions.jsonl").mkdir()
    JsonLines(tmp_path / "decisions.jsonl").write(records(tmp_path, 1)[0])
