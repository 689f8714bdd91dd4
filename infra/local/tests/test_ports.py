"""Ports are chosen once, kept, and never given twice."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from andon_local import ports


def test_ports_are_distinct_free_and_below_the_ephemeral_range(tmp_path: Path) -> None:
    chosen = ports.choose(tmp_path / "one", [f"p{n}" for n in range(60)], remembered={}, fixed={})
    assert len(set(chosen.values())) == 60
    lowest_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(chosen.values()) < lowest_ephemeral
    assert all(ports.is_free(port) for port in chosen.values())


def test_a_remembered_port_is_kept_while_it_is_free(tmp_path: Path) -> None:
    first = ports.choose(tmp_path / "one", ["a", "b"], remembered={}, fixed={})
    assert ports.choose(tmp_path / "one", ["a", "b"], remembered=first, fixed={}) == first
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first["a"]))
        taken.listen()
        second = ports.choose(tmp_path / "one", ["a", "b"], remembered=first, fixed={})
    assert second["b"] == first["b"] and second["a"] not in first.values()


def test_neighbours_that_are_down_keep_their_ports(tmp_path: Path) -> None:
    names = [f"p{n}" for n in range(20)]
    mine = ports.choose(tmp_path / "one", names, remembered={}, fixed={})
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "endpoints.json").write_text(json.dumps({"ports": mine}))
    other = ports.choose(tmp_path / "one", names, remembered=mine, fixed={})
    assert not set(mine.values()) & set(other.values())


def test_a_fixed_port_that_is_taken_is_refused_by_name(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ports.PortsTakenError, match=f"{port}.*kafka"):
            ports.choose(tmp_path, ["kafka"], remembered={}, fixed={"kafka": port})


def test_ports_can_be_fixed_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDON_PORT_HTTP_CONSOLE", "8080")
    assert ports.from_environment() == {"http-console": 8080}
