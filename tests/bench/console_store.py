"""Fills a registry's store as it is after three months on the line: 100,000 captures, 200,000 labels, what is around.

Rows are made in PostgreSQL (console_store.sql), pictures and the audit trail here; what has an API goes through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import psycopg
from andon_chassis.objects import IMAGES, S3ObjectStore
from dataset_registry.domain import audit_chain
from psycopg.types.json import Jsonb

from .console_sign_in import OWNER

ROWS = Path(__file__).with_suffix(".sql")
CAPTURES = 100_000
WIDTH, HEIGHT, PICTURES = 1600, 1200, 24
CLASSES = ("good", "scratch", "dent", "crack", "stain", "rare-flaw")
AUDITED = 100_000
_COUNTED = ("captures", "labels", "images", "annotations", "tasks", "reviews", "actions", "audit_entries")


def fill(admin_url: str, role: str, objects: S3ObjectStore, registry: httpx.Client) -> dict[str, int]:
    """Fill the empty store of a running registry; rows by table.

    Args:
        admin_url: A superuser's URL, who works in the schema of `role`.
        registry: Its API; whoever asks may do everything.
    """
    publish(registry)
    with psycopg.connect(admin_url, autocommit=True, options=f"-c search_path={role}") as pg:
        pg.execute("CREATE TEMP TABLE pictures (number bigint PRIMARY KEY, image jsonb)")
        for number, image in enumerate(pictures(objects)):
            pg.execute("INSERT INTO pictures VALUES (%s, %s)", (number, Jsonb(image)))
        pg.execute("SELECT set_config('bench.captures', %s, false)", (str(CAPTURES),))
        pg.execute(ROWS.read_bytes())
        audit(pg)
        pg.execute("VACUUM ANALYZE")
        return {table: count(pg, table) for table in _COUNTED}


def publish(registry: httpx.Client) -> None:
    """A taxonomy, and what the stations keep to."""
    classes = [
        {"name": name, "severity": "major" if number else "minor", "is_defect": bool(number)}
        for number, name in enumerate(CLASSES)
    ]
    _put(registry, "/v1/taxonomies/t1", {"classes": classes, "published_by": OWNER})
    for line in ("line-a", "line-b", "line-c"):
        for cell in range(1, 6):
            body = {"capture_standard_version": "1", "takt_ms": 1000, "published_by": OWNER}
            _put(registry, f"/v1/stations/{line}/cell-{cell}", body)


def pictures(objects: S3ObjectStore) -> Iterator[dict[str, Any]]:
    """Photographs of a brushed surface, PNG, each in the store; as captures name them."""
    dice = np.random.default_rng(0)
    for number in range(PICTURES):
        grain = dice.normal(128 + number, 12, (HEIGHT, WIDTH // 8)).repeat(8, axis=1)
        pixels = cv2.GaussianBlur(grain, (5, 1), 0).clip(0, 255).astype(np.uint8)
        data = bytes(cv2.imencode(".png", pixels)[1])
        ref = objects.put(IMAGES, data, "image/png")
        yield {"object": ref.to_avro(), "width": WIDTH, "height": HEIGHT, "channels": 1, "bit_depth": 8}


def audit(pg: psycopg.Connection[Any]) -> None:
    """A sound trail behind what is there already."""
    found = pg.execute("SELECT sequence, hash FROM audit_end").fetchone()
    last = audit_chain.End(*found) if found else audit_chain.End(0, audit_chain.START)
    first = datetime.now(UTC) - timedelta(days=90)
    with pg.transaction(), pg.cursor() as cursor:
        with cursor.copy("COPY audit_entries FROM STDIN") as copy:
            for number in range(AUDITED):
                person = f"person-{1 + number % 50:02}"
                action = "review-task" if number % 7 == 0 else "annotate"
                at = first + number * (timedelta(days=90) / AUDITED)
                body = {"person": person, "number": number}
                entry = audit_chain.entry(at, f"{action} task-{number % 40_000}", body, 201, {})
                sequence = last.sequence + 1
                link = audit_chain.hash_of(sequence, last.hash, entry)
                copy.write_row((sequence, at, person, action, entry.subject, entry.detail, last.hash, link))
                last = audit_chain.End(sequence, link)
        cursor.execute("UPDATE audit_end SET sequence = %s, hash = %s", last)


def count(pg: psycopg.Connection[Any], table: str) -> int:
    """How many rows a table has."""
    row = pg.execute(
        psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(table))
    ).fetchone()
    assert row is not None
    return int(row[0])


def _put(api: httpx.Client, path: str, body: Mapping[str, Any]) -> None:
    answer = api.put(path, json=body)
    assert answer.status_code in (200, 201), answer.text
