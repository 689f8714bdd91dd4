"""The live table: per line what was captured, audited, inferred and so on, or a plain line now and then
without a terminal."""

from __future__ import annotations

import statistics
import time
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from andon_demo.ledger import Ledger, LineCount

PLAIN_EVERY_S = 5.0
COLUMNS = ("captured", "audited", "inferred", "decided", "in review", "signals", "actions")


class LiveTable:
    """Shows the ledger while a demo runs. A context manager.

    Args:
        total: Uploads in all, retries counted.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._live = (
            Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None
        )
        self._told = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> LiveTable:
        self._began = time.monotonic()
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.__exit__(kind, error, trace)

    def show(self, ledger: Ledger, sent: int, phase: str) -> None:
        """Bring the table up to date."""
        lines = {name: count for name, count in sorted(ledger.lines().items()) if name != "*"}
        if self._live:
            self._live.update(self._table(lines, sent, phase))
            return
        now = time.monotonic()
        if now - self._told >= PLAIN_EVERY_S:
            self._told = now
            self._console.print(self._plain(lines, sent, phase), highlight=False, soft_wrap=True)

    def _table(self, lines: dict[str, LineCount], sent: int, phase: str) -> RenderableType:
        table = Table(box=None, pad_edge=False, padding=(0, 2))
        table.add_column("line", style="bold")
        for name in (*COLUMNS, "p50 ms", "p95 ms"):
            table.add_column(name, justify="right")
        for name, count in lines.items():
            p50, p95 = _latency(count)
            table.add_row(name, *(str(value) for value in _values(count)), f"{p50:.0f}", f"{p95:.0f}")
        seconds = time.monotonic() - self._began
        head = Text(f"{sent} of {self._total} uploads in {seconds:.0f} s — {phase}", style="dim")
        return Group(head, table)

    def _plain(self, lines: dict[str, LineCount], sent: int, phase: str) -> str:
        seconds = time.monotonic() - self._began
        parts = [f"{seconds:5.0f} s  sent {sent}/{self._total}  {phase}"]
        for name, count in lines.items():
            p50, _ = _latency(count)
            values = "  ".join(
                f"{title} {value}" for title, value in zip(COLUMNS, _values(count), strict=True)
            )
            parts.append(f"         {name}: {values}  p50 {p50:.0f} ms")
        return "\n".join(parts)


def _values(count: LineCount) -> tuple[int, ...]:
    return (
        count.captured, count.audited, count.inferred, count.decided, count.in_review, count.signals,
        count.actions,
    )  # fmt: skip


def _latency(count: LineCount) -> tuple[float, float]:
    recent = count.latencies_ms[-400:]
    if not recent:
        return 0.0, 0.0
    return statistics.median(recent), sorted(recent)[int(0.95 * (len(recent) - 1))]
