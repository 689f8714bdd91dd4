"""The same two cores for everybody, and a summary at the end."""

from __future__ import annotations

import os

import pytest

from .figures import verdicts

CORES = 2


def pytest_configure(config: pytest.Config) -> None:
    """The system, its peers and its limits all run on the same two cores, however many there are."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := verdicts():
        terminalreporter.section("targets")
        for line in lines:
            terminalreporter.write_line(line)
