"""The audit trail: one entry for each command, and nothing past that changes unseen."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from dataset_registry import audit
from dataset_registry.adapters.audit_store import PostgresTrail
from dataset_registry.domain.audit_chain import START, End, Entry, Link, actor_of, entry, hash_of, verify

from .conftest import Registry

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


def chain(length: int) -> list[Link]:
    links, last = list[Link](), START
    for sequence in range(1, length + 1):
        made = Entry(NOW + timedelta(seconds=sequence), "ada", "close", f"action-{sequence}", "{}")
        links.append(Link(sequence, made, last, hash_of(sequence, last, made)))
        last = links[-1].hash
    return links


def end(links: list[Link]) -> End:
    return End(links[-1].sequence, links[-1].hash)


class TestChain:
    def test_a_sound_chain(self) -> None:
        links = chain(5)
        assert verify(links, end(links)) == verify(links, end(links), [End(3, links[2].hash)])
        assert verify(links, end(links)).broken is None
        assert verify([], End(0, START)).broken is None

    @pytest.mark.parametrize(
        "change", [{"actor": "eve"}, {"subject": "b"}, {"detail": '{"a":1}'}, {"at": NOW}, {"action": "x"}]
    )
    def test_a_changed_entry_is_named(self, change: dict[str, Any]) -> None:
        links = chain(5)
        links[2] = replace(links[2], entry=replace(links[2].entry, **change))
        broken = verify(links, End(5, links[4].hash)).broken
        assert broken is not None
        assert (broken.sequence, "content" in broken.what) == (3, True)

    def test_who_mends_the_hash_of_a_changed_entry_breaks_the_next(self) -> None:
        links = chain(5)
        changed = replace(links[2].entry, actor="eve")
        links[2] = Link(3, changed, links[2].previous_hash, hash_of(3, links[2].previous_hash, changed))
        broken = verify(links, End(5, links[4].hash)).broken
        assert broken is not None
        assert broken.sequence == 4

    @pytest.mark.parametrize(("gone", "named"), [(slice(0, 1), 1), (slice(2, 4), 3), (slice(3, 5), 4)])
    def test_entries_that_are_gone_are_named(self, gone: slice, named: int) -> None:
        links = chain(5)
        last = end(links)
        del links[gone]
        broken = verify(links, last).broken
        assert broken is not None
        assert (broken.sequence, "gone" in broken.what) == (named, True)

    def test_a_reordered_entry_is_named(self) -> None:
        links = chain(5)
        links[1], links[2] = replace(links[2], sequence=2), replace(links[1], sequence=3)
        broken = verify(links, end(chain(5))).broken
        assert broken is not None
        assert broken.sequence == 2

    def test_a_chain_that_was_written_anew_does_not_fit_an_export(self) -> None:
        known = end(chain(3))
        forged = chain(2)
        made = replace(forged[1].entry, subject="other")
        forged.append(Link(3, made, forged[1].hash, hash_of(3, forged[1].hash, made)))
        assert verify(forged, end(forged)).broken is None
        broken = verify(forged, end(forged), [known]).broken
        assert broken is not None
        assert broken.sequence == 3
        assert verify(forged[:2], end(forged[:2]), [known]).broken is not None

    @pytest.mark.parametrize(
        ("body", "who"),
        [
            ({"person": "ada", "added_by": "ben"}, "ada"),
            ({"published_by": "olga"}, "olga"),
            ({"by": "dana"}, "dana"),
            ({"reviewer": "ada"}, "ada"),
            ({"by": None, "note": "x"}, "unnamed"),
        ],
    )
    def test_the_actor_is_named_in_the_body(self, body: dict[str, Any], who: str) -> None:
        assert actor_of(body) == who

    def test_a_long_body_is_summarized_and_hashed(self) -> None:
        body = {"approved_by": "ada", "labels": [{"n": n} for n in range(500)], "note": "x" * 500}
        detail = json.loads(entry(NOW, "import labels", body, 201, {"added": 500}).detail)
        assert detail["body"] == {"approved_by": "ada", "labels": "500 items", "note": "x" * 120 + "…"}
        assert len(detail["body_sha256"]) == 64


class TestTrail:
    def publish(self, registry: Registry, version: str, **headers: str) -> Any:
        body = {"capture_standard_version": version, "published_by": "olga"}
        return registry.http.put("/v1/stations/line-a/cell-1", json=body, headers=headers)

    def verification(self, registry: Registry) -> Any:
        return registry.get("/v1/audit/verification")

    def tamper(self, registry: Registry, statement: str) -> None:
        """As a superuser who switches the refusal off."""
        with registry.database.transaction() as tx:
            tx.connection.execute("ALTER TABLE audit_entries DISABLE TRIGGER ALL")
            tx.connection.execute(statement.encode())
            tx.connection.execute("ALTER TABLE audit_entries ENABLE TRIGGER ALL")

    def test_each_command_has_one_entry(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        assert self.publish(registry, "1").status_code == 201
        page = registry.get("/v1/audit")["items"]
        assert [(e["sequence"], e["actor"], e["action"], e["subject"]) for e in page] == [
            (2, "olga", "station", "line-a/cell-1"),
            (1, "olga", "taxonomy", "t1"),
        ]
        assert page[0]["previous_hash"] == page[1]["hash"]
        assert page[0]["detail"]["status"] == 201
        assert page[0]["detail"]["body"]["capture_standard_version"] == "1"
        assert self.verification(registry) == {
            "intact": True,
            "entries": 2,
            "final_hash": page[0]["hash"],
            "broken": None,
        }

    def test_what_was_refused_or_repeated_has_none(self, registry: Registry) -> None:
        for _ in range(2):
            assert self.publish(registry, "1", **{"Idempotency-Key": "k"}).status_code == 201
        registry.publish_taxonomy()
        classes = [{"name": "ok", "severity": "minor", "is_defect": False}]
        assert registry.http.put("/v1/taxonomies/t1", json={"classes": classes}).status_code == 409
        assert len(registry.get("/v1/audit")["items"]) == 2

    def test_it_is_read_in_pages_and_by_filter(self, registry: Registry) -> None:
        for version in "12345":
            self.publish(registry, version)
            registry.clock.advance(60)
        registry.publish_taxonomy()
        seen, cursor = list[int](), None
        while True:
            query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = registry.get("/v1/audit", subject="line-a/cell-1", **query)
            seen += [e["sequence"] for e in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == [5, 4, 3, 2, 1]
        since = (registry.clock.now() - timedelta(seconds=130)).isoformat()
        assert [e["sequence"] for e in registry.get("/v1/audit", actor="olga", since=since)["items"]] == [
            6,
            5,
            4,
        ]
        assert registry.get("/v1/audit", action="close")["items"] == []

    def test_the_database_refuses_to_change_it(self, registry: Registry) -> None:
        self.publish(registry, "1")
        for statement in ("UPDATE audit_entries SET actor = 'eve'", "DELETE FROM audit_entries"):
            refused = pytest.raises(psycopg.errors.RaiseException, match="append-only")
            with refused, registry.database.transaction() as tx:
                tx.connection.execute(statement.encode())

    @pytest.mark.parametrize(
        ("statement", "sequence", "what"),
        [
            ("UPDATE audit_entries SET actor = 'eve' WHERE sequence = 2", 2, "content"),
            ("UPDATE audit_entries SET detail = '{}' WHERE sequence = 3", 3, "content"),
            ("DELETE FROM audit_entries WHERE sequence = 2", 2, "entry 2 is gone"),
            ("DELETE FROM audit_entries WHERE sequence >= 3", 3, "entries 3 to 4 are gone"),
            (
                "UPDATE audit_entries SET sequence = CASE sequence WHEN 2 THEN -3 ELSE -2 END"
                " WHERE sequence IN (2, 3);"
                " UPDATE audit_entries SET sequence = -sequence WHERE sequence < 0",
                2,
                "appended to another entry",
            ),
        ],
    )
    def test_a_tampered_row_is_found_and_named(
        self,
        registry: Registry,
        statement: str,
        sequence: int,
        what: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        for version in "1234":
            self.publish(registry, version)
        for part in statement.split(";"):
            self.tamper(registry, part)
        found = self.verification(registry)
        assert (found["intact"], found["broken"]["sequence"]) == (False, sequence)
        assert what in found["broken"]["what"]
        assert audit.main(["--database", registry.database.url, "verify"]) == 1
        assert f"broken at entry {sequence}: " in capsys.readouterr().out

    def test_eight_write_at_once_and_the_chain_holds(self, registry: Registry) -> None:
        start = threading.Barrier(8)

        def person(name: str) -> None:
            start.wait()
            for n in range(5):
                body = {"capture_standard_version": str(n), "published_by": name}
                assert registry.http.put(f"/v1/stations/line-a/{name}", json=body).status_code == 201

        people = [threading.Thread(target=person, args=(f"p{n}",)) for n in range(8)]
        for thread in people:
            thread.start()
        for thread in people:
            thread.join()
        found = self.verification(registry)
        assert (found["intact"], found["entries"]) == (True, 40)

    def test_a_command_that_fails_leaves_no_gap(self, registry: Registry) -> None:
        self.publish(registry, "1")
        lost = Entry(registry.clock.now(), "ada", "close", "x", "{}")
        with pytest.raises(RuntimeError), registry.database.transaction() as tx:
            PostgresTrail(tx.connection).append(lost)
            raise RuntimeError("the plug is pulled")
        self.publish(registry, "2")
        assert [e["sequence"] for e in registry.get("/v1/audit")["items"]] == [2, 1]
        assert self.verification(registry)["intact"]

    def test_an_export_can_be_checked_without_us(
        self, registry: Registry, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for version in "12":
            self.publish(registry, version)
        assert audit.main(["--database", registry.database.url, "export"]) == 0
        *lines, last = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        previous = START
        for line in lines:
            assert line.pop("previous_hash") == previous
            sequence, hash_ = line.pop("sequence"), line.pop("hash")
            content = json.dumps(line, sort_keys=True, separators=(",", ":"))
            previous = hashlib.sha256(f"{sequence}\n{previous}\n{content}".encode()).hexdigest()
            assert previous == hash_
        assert last == {"entries": 2, "final_hash": previous}
        self.publish(registry, "3")
        address = ["--database", registry.database.url, "verify"]
        assert audit.main([*address, "--known", f"2:{previous}"]) == 0
        assert audit.main([*address, "--known", f"2:{START}"]) == 1
