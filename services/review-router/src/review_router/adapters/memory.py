"""The in-memory twin: the same promises as PostgreSQL's tables, for tests of the rules."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from review_router.domain.case import Case
from review_router.ports import Remark, Ruling


class MemoryCases:
    """Cases, rulings and remarks in dictionaries."""

    def __init__(self) -> None:
        self.cases: dict[str, Case] = {}
        self.rulings: dict[tuple[str, int], Ruling] = {}
        self.remarks: list[Remark] = []

    def load(self, capture_ids: Sequence[str]) -> dict[str, Case]:
        return {id_: self.cases[id_] for id_ in capture_ids if id_ in self.cases}

    def save(self, cases: Iterable[Case]) -> set[str]:
        kept = set()
        for case in cases:
            stored = self.cases.get(case.capture_id)
            if (stored.version if stored else 0) == case.version:
                self.cases[case.capture_id] = replace(case, version=case.version + 1)
                kept.add(case.capture_id)
        return kept

    def record(self, rulings: Sequence[Ruling]) -> None:
        for ruling in rulings:
            key = ruling.capture_id, ruling.revision
            if key in self.rulings:
                raise AssertionError(
                    f"a second decision with revision {ruling.revision} for {ruling.capture_id}"
                )
            self.rulings[key] = ruling

    def remark(self, remarks: Sequence[Remark]) -> None:
        self.remarks += remarks

    def due(self, now: datetime, limit: int) -> list[Case]:
        late = [case for case in self.cases.values() if case.due_at is not None and case.due_at <= now]
        return sorted(late, key=lambda case: (case.due_at or now, case.capture_id))[:limit]
