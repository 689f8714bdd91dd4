"""The queue in SQLite: one transaction takes an image with its metadata and its decision.

Write-ahead log and `synchronous=FULL`: a commit has reached the disk when it returns. What a crash leaves:

| dies | then |
| --- | --- |
| before or in the commit of `add` | nothing; the camera was not answered and sends again |
| after it, before the answer | the image waits; the camera sends again and finds it known |
| while it is sent, or when the answer is lost | it waits; it is sent again, and the plant knows it |
| after the plant's answer, before the commit of `delivered` | the same |
| after that commit | done |

The bytes lie in a table of their own, so that lists do not read past them. Pages of delivered images are used again.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from andon_chassis.errors import Unavailable

from edge_agent.ports import DELIVERED, SET_ASIDE, TAKEN_OUT, WAITING, Fill, Full, Record, Taken

DISK: Final = "disk"
MB: Final = 1_000_000

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS captures (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    line TEXT NOT NULL, station TEXT NOT NULL, identity TEXT NOT NULL,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, media_type TEXT NOT NULL,
    metadata TEXT NOT NULL, traceparent TEXT NOT NULL, decision TEXT NOT NULL, taken_at TEXT NOT NULL,
    state TEXT NOT NULL, answer TEXT,
    UNIQUE (line, station, identity)
);
CREATE INDEX IF NOT EXISTS held ON captures (state, line, station, seq, size)
    WHERE state IN ('{WAITING}', '{SET_ASIDE}');
CREATE TABLE IF NOT EXISTS images (seq INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
_COLUMNS = (
    "seq, line, station, sha256, size, media_type, metadata, traceparent, decision, taken_at, state, answer"
)
_HELD = f"state IN ('{WAITING}', '{SET_ASIDE}')"


class SqliteQueue:
    """See `ports.Queue`. Several processes may open one file; one of them is the agent.

    Args:
        most_bytes: Of all images that are held.
        free_bytes: What the disk keeps free for everybody else.
        most_records: Records kept of images that the plant has.
    """

    def __init__(
        self, path: Path, *, most_bytes: int, free_bytes: int = 0, most_records: int = 200_000
    ) -> None:
        self._folder = path.parent
        self._most_bytes = most_bytes
        self._free_bytes = free_bytes
        self._most_records = most_records
        self._lock = threading.Lock()
        with _disk():
            self._db = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA journal_size_limit = {64 * MB}")
            self._db.executescript(_SCHEMA)

    # --- taking ---

    def find(self, line: str, station: str, identity: str) -> Record | None:
        """See `ports.Queue`."""
        with self._reading() as db:
            return _find(db, line, station, identity)

    def check_room(self, size: int) -> None:
        """See `ports.Queue`."""
        with self._reading() as db:
            self._check_room(db, size)

    def add(self, taken: Taken) -> tuple[Record, bool]:
        """See `ports.Queue`."""
        with self._transaction() as db:
            known = _find(db, taken.line, taken.station, taken.identity)
            if known is not None:
                return known, False
            self._check_room(db, len(taken.data))
            seq = _insert(db, taken)
            added = _find(db, taken.line, taken.station, taken.identity)
            assert added is not None and added.seq == seq
        return added, True

    def _check_room(self, db: sqlite3.Connection, size: int) -> None:
        held = _held(db)
        if held + size > self._most_bytes:
            raise Full(
                f"The queue holds {held / MB:.0f} of at most {self._most_bytes / MB:.0f} MB that the plant does "
                "not have yet."
            )
        free = shutil.disk_usage(self._folder).free
        if free - size < self._free_bytes:
            raise Full(
                f"The disk has {free / MB:.0f} MB free, and {self._free_bytes / MB:.0f} MB are left for others."
            )

    # --- handing on ---

    def heads(self) -> list[Record]:
        """See `ports.Queue`."""
        first = f"SELECT min(seq) FROM captures WHERE state = '{WAITING}' GROUP BY line, station"
        with self._reading() as db:
            rows = db.execute(f"SELECT {_COLUMNS} FROM captures WHERE seq IN ({first}) ORDER BY seq")
            return [_record(row) for row in rows]

    def image(self, seq: int) -> bytes | None:
        """See `ports.Queue`."""
        with self._reading() as db:
            row = db.execute("SELECT data FROM images WHERE seq = ?", (seq,)).fetchone()
            return None if row is None else bytes(row[0])

    def delivered(self, seq: int, answer: dict[str, Any]) -> None:
        """See `ports.Queue`."""
        self._let_go(seq, DELIVERED, answer)

    def taken_out(self, seq: int, where: str) -> None:
        """A person has the image now: its bytes go."""
        self._let_go(seq, TAKEN_OUT, {"where": where})

    def set_aside(self, seq: int, answer: dict[str, Any]) -> None:
        """See `ports.Queue`."""
        with self._transaction() as db:
            _mark(db, seq, SET_ASIDE, answer)

    def send_again(self) -> int:
        """Everything that was set aside waits again, in its old place; gives how many."""
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE captures SET state = ?, answer = NULL WHERE state = ?", (WAITING, SET_ASIDE)
            )
            return changed.rowcount

    def _let_go(self, seq: int, state: str, answer: dict[str, Any]) -> None:
        with self._transaction() as db:
            _mark(db, seq, state, answer)
            db.execute("DELETE FROM images WHERE seq = ?", (seq,))
            db.execute(
                f"DELETE FROM captures WHERE NOT {_HELD} AND seq <= ?",
                (_last(db) - self._most_records,),
            )

    # --- looking ---

    def fill(self) -> Fill:
        """See `ports.Queue`."""
        with self._reading() as db:
            counts = dict(
                db.execute(f"SELECT state, count(*) FROM captures WHERE {_HELD} GROUP BY state").fetchall()
            )
            return Fill(counts.get(WAITING, 0), counts.get(SET_ASIDE, 0), _held(db), self._most_bytes)

    def records(self, after: int, most: int, state: str | None = None) -> Sequence[Record]:
        """See `ports.Queue`."""
        condition, values = "seq > ?", [after]
        if state is not None:
            condition += " AND state = ?"
        bound = [*values, *([] if state is None else [state]), most]
        with self._reading() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM captures WHERE {condition} ORDER BY seq LIMIT ?", bound
            )
            return [_record(row) for row in rows]

    # --- sessions ---

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _disk():
            yield self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _disk():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


@contextmanager
def _disk() -> Iterator[None]:
    """What SQLite says, in the words of the ports."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise Full("The disk is full.") from error
        raise Unavailable(DISK, str(error)) from error
    except (sqlite3.DatabaseError, OSError) as error:
        raise Unavailable(DISK, str(error)) from error


def _insert(db: sqlite3.Connection, taken: Taken) -> int:
    row = (
        taken.line,
        taken.station,
        taken.identity,
        taken.sha256,
        len(taken.data),
        taken.media_type,
        taken.metadata,
        taken.traceparent,
        taken.decision,
        taken.taken_at,
        WAITING,
    )
    inserted = db.execute(
        "INSERT INTO captures (line, station, identity, sha256, size, media_type, metadata, traceparent, decision,"
        " taken_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    seq = inserted.lastrowid
    assert seq is not None
    db.execute("INSERT INTO images (seq, data) VALUES (?, ?)", (seq, taken.data))
    return seq


def _mark(db: sqlite3.Connection, seq: int, state: str, answer: dict[str, Any]) -> None:
    db.execute("UPDATE captures SET state = ?, answer = ? WHERE seq = ?", (state, json.dumps(answer), seq))


def _find(db: sqlite3.Connection, line: str, station: str, identity: str) -> Record | None:
    row = db.execute(
        f"SELECT {_COLUMNS} FROM captures WHERE line = ? AND station = ? AND identity = ?",
        (line, station, identity),
    ).fetchone()
    return None if row is None else _record(row)


def _held(db: sqlite3.Connection) -> int:
    (held,) = db.execute(f"SELECT coalesce(sum(size), 0) FROM captures WHERE {_HELD}").fetchone()
    return int(held)


def _last(db: sqlite3.Connection) -> int:
    (last,) = db.execute("SELECT coalesce(max(seq), 0) FROM captures").fetchone()
    return int(last)


def _record(row: tuple[Any, ...]) -> Record:
    seq, line, station, sha256, size, media_type, metadata, trace, decision, taken_at, state, answer = row
    return Record(
        seq=seq,
        line=line,
        station=station,
        sha256=sha256,
        size=size,
        media_type=media_type,
        metadata=json.loads(metadata),
        traceparent=trace,
        decision=json.loads(decision),
        taken_at=taken_at,
        state=state,
        answer=None if answer is None else json.loads(answer),
    )
