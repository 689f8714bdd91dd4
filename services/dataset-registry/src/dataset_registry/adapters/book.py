"""Answers of commands by idempotency key, beside the chassis' inbox that decides who was first."""

from __future__ import annotations

from andon_chassis.database import Transaction
from psycopg.types.json import Json

from dataset_registry.ports import Row


class PostgresAnswerBook:
    """AnswerBook in the command's own transaction."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx

    def claim(self, key: str) -> bool:
        return self._tx.first_time(key)

    def read(self, key: str) -> tuple[str, int, Row]:
        row = self._tx.connection.execute(
            "SELECT fingerprint, status, body FROM command_answers WHERE key = %s", (key,)
        ).fetchone()
        if row is None:
            raise LookupError(f"idempotency key {key} was claimed without an answer")
        return row["fingerprint"], row["status"], row["body"]

    def write(self, key: str, fingerprint: str, status: int, body: Row) -> None:
        self._tx.connection.execute(
            "INSERT INTO command_answers (key, fingerprint, status, body, answered_at) VALUES (%s, %s,"
            " %s, %s, now())",
            (key, fingerprint, status, Json(body)),
        )
