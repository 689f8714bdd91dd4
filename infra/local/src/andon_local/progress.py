"""Shows what is being downloaded, built or waited for: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_HEARTBEAT_S = 20.0


class _Task:
    def __init__(self, name: str) -> None:
        self.name = name
        self.detail = ""
        self.started = time.monotonic()
        self.seconds: float | None = None
        self.ok = True
        self.spoken = self.started

    @property
    def elapsed(self) -> float:
        return self.seconds if self.seconds is not None else time.monotonic() - self.started


class Progress:
    """A set of named tasks that may run in several threads. Use as a context manager."""

    def __init__(self, title: str, *, quiet: bool = False, console: Console | None = None) -> None:
        self._title = title
        self._quiet = quiet
        self._console = console or Console(stderr=True, highlight=False)
        self._tasks: dict[str, _Task] = {}
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if not self._quiet and self._console.is_terminal:
            self._live = Live(
                get_renderable=self._table, console=self._console, refresh_per_second=8, transient=True
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def begin(self, name: str, detail: str = "") -> Callable[[str], None]:
        """Start a task; the returned function says what it is doing now."""
        task = _Task(name)
        task.detail = detail
        with self._lock:
            self._tasks[name] = task
        return lambda text: self._update(task, text)

    def done(self, name: str, detail: str = "ready") -> None:
        """Close a task that went well."""
        self._close(name, detail, ok=True)

    def failed(self, name: str, detail: str) -> None:
        """Close a task that failed."""
        self._close(name, detail, ok=False)

    def say(self, text: str) -> None:
        """Print one line outside the table."""
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)

    def _close(self, name: str, detail: str, *, ok: bool) -> None:
        with self._lock:
            task = self._tasks.setdefault(name, _Task(name))
            task.seconds = time.monotonic() - task.started
            task.detail, task.ok = detail, ok
        mark = "ok" if ok else "FAILED"
        self.say(f"{mark:>6}  {name}: {detail} in {task.seconds:.1f} s")

    def _update(self, task: _Task, text: str) -> None:
        task.detail = text
        now = time.monotonic()
        if self._live is None and now - task.spoken >= _HEARTBEAT_S:
            task.spoken = now
            self.say(f"   ...  {task.name}: {text} ({task.elapsed:.0f} s)")

    def _table(self) -> Table:
        table = Table(title=self._title, title_justify="left", box=None, pad_edge=False, show_header=False)
        with self._lock:
            for task in self._tasks.values():
                if task.seconds is None:
                    table.add_row(
                        Spinner("dots"),
                        task.name,
                        Text(task.detail[:80], style="dim"),
                        f"{task.elapsed:5.1f} s",
                    )
        return table
