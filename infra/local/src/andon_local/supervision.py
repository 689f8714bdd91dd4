"""One supervisord per instance: starts, restarts and stops its programs, and leaves none behind.

Every process carries the instance's folder in its environment, and so do all its children. When the
supervisor itself was killed, that mark finds what it left.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil

from andon_local.endpoints import HOST
from andon_local.programs import Program, shared_memory_prefix

MARK = "ANDON_INSTANCE_HOME"
_POLL_S = 0.05
# Supervisor's answers that mean "it is so already".
_FAULT_NOT_RUNNING, _FAULT_ALREADY_STARTED, _FAULT_BAD_NAME = 70, 60, 10


class SupervisionError(Exception):
    """The supervisor or a program under it does not do what it was told."""


@dataclass(frozen=True)
class Status:
    """What the supervisor knows about a program. ``pid`` and ``uptime_s`` are 0 while it does not run."""

    name: str
    state: str
    pid: int
    uptime_s: float
    detail: str

    @property
    def given_up(self) -> bool:
        """The supervisor does not try any more."""
        return self.state in ("FATAL", "UNKNOWN")


class Supervisor:
    """The supervisord of the instance in ``folder``, listening on ``port``."""

    def __init__(self, name: str, folder: Path, port: int, password: str) -> None:
        self.name = name
        self.folder = folder
        self._port = port
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def _api(self) -> Any:
        """A new client each time: it is not safe to share between threads."""
        proxy = xmlrpc.client.ServerProxy(f"http://andon:{self._password}@{HOST}:{self._port}/RPC2")
        return proxy.supervisor

    def log(self, program: str) -> Path:
        """Where a program's output goes."""
        return self.folder / "logs" / f"{program}.log"

    def is_alive(self) -> bool:
        """Whether this instance's supervisor answers."""
        try:
            return cast(str, self._api.getIdentification()) == self._identity()
        except (OSError, xmlrpc.client.Error):
            return False

    def _identity(self) -> str:
        return str(self.folder)

    def start(self) -> None:
        """Start supervisord without any program. Raises SupervisionError when it does not come up."""
        shutil.rmtree(self.folder / "programs", ignore_errors=True)
        for name in ("programs", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        config = self.folder / "supervisord.conf"
        config.write_text(self._configuration())
        config.chmod(0o600)
        environment = {
            key: value
            for key, value in os.environ.items()
            # What is meant for this process must not leak into the services.
            if not key.startswith(("ANDON_", "PYTHON", "PYTEST_", "COV_"))
        }
        environment[MARK] = str(self.folder)
        with (self.folder / "logs" / "supervisord.out").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", str(config)],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + 30
        while not self.is_alive():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SupervisionError(f"supervisord does not answer; see {self.folder / 'logs'}")
            time.sleep(_POLL_S)

    def _configuration(self) -> str:
        logfile = _escaped(str(self.folder / "logs" / "supervisord.log"))
        lines = [
            "[supervisord]",
            "nodaemon=true",
            f"logfile={logfile}",
            "logfile_maxbytes=5MB",
            "logfile_backups=1",
            f"pidfile={_escaped(str(self.folder / 'supervisord.pid'))}",
            f"identifier={_escaped(self._identity())}",
            "loglevel=info",
            "minfds=1024",
            *(["user=root"] if os.geteuid() == 0 else []),
            "[inet_http_server]",
            f"port={HOST}:{self._port}",
            "username=andon",
            f"password={self._password}",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[include]",
            "files = programs/*.conf",  # relative, because the list is split at spaces
        ]
        return "\n".join(lines) + "\n"

    def define(self, programs: Iterable[Program]) -> None:
        """Make the supervisor know these programs; one whose definition changed is stopped and replaced."""
        for program in programs:
            file = self.folder / "programs" / f"{program.name}.conf"
            file.write_text(_section(program, self.log(program.name)))
            file.chmod(0o600)
        [[added, changed, _removed]] = self._api.reloadConfig()
        for name in changed:
            self.stop(name)
            self._api.removeProcessGroup(name)
        for name in [*added, *changed]:
            self._api.addProcessGroup(name)

    def launch(self, name: str) -> None:
        """Start a program without waiting for it."""
        try:
            self._api.startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != _FAULT_ALREADY_STARTED:
                raise SupervisionError(f"{name}: {fault.faultString}") from fault

    def stop(self, name: str) -> None:
        """Stop a program and wait until it is gone."""
        try:
            self._api.stopProcess(name, True)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in (_FAULT_NOT_RUNNING, _FAULT_BAD_NAME):
                raise SupervisionError(f"{name}: {fault.faultString}") from fault

    def status(self) -> dict[str, Status]:
        """All programs the supervisor knows."""
        found = {}
        for info in self._api.getAllProcessInfo():
            running = info["statename"] in ("RUNNING", "STARTING", "STOPPING")
            found[info["name"]] = Status(
                name=info["name"],
                state=info["statename"],
                pid=info["pid"] if running else 0,
                uptime_s=float(info["now"] - info["start"]) if running else 0.0,
                detail=info["spawnerr"] or info["description"],
            )
        return found

    def shut_down(self, waves: Iterable[Iterable[str]]) -> None:
        """Stop everything, one wave after the other, then the supervisor; returns when all are gone."""
        if self.is_alive():
            known = self.status()
            for wave in waves:
                names = [name for name in wave if name in known and known[name].pid]
                self._stop_together(names)
            own = self._pid()
            with contextlib.suppress(OSError, xmlrpc.client.Error):  # it may go before it has answered
                self._api.shutdown()
            if own is not None:
                _wait_gone([own], 30)
        if self._process is not None:
            self._process.poll()
        self.sweep()

    def _stop_together(self, names: list[str]) -> None:
        for name in names:
            try:
                self._api.stopProcess(name, False)
            except xmlrpc.client.Fault:
                continue  # it stopped by itself
        deadline = time.monotonic() + 45
        while time.monotonic() < deadline:
            status = self.status()
            if not any(status[name].pid for name in names if name in status):
                return
            time.sleep(_POLL_S)

    def _pid(self) -> psutil.Process | None:
        try:
            return psutil.Process(cast(int, self._api.getPID()))
        except (OSError, xmlrpc.client.Error, psutil.NoSuchProcess):
            return None

    def sweep(self) -> int:
        """End every process that carries this instance's mark; returns how many there were.

        Only called when no supervisor answers: what is left then belongs to nobody.
        """
        left = list(self.marked())
        for process in left:
            _signal(process, signal.SIGTERM)
        for process in _wait_gone(left, 8):
            _signal(process, signal.SIGKILL)
        remaining = _wait_gone(list(self.marked()), 1)
        for process in remaining:
            _signal(process, signal.SIGKILL)
        if _wait_gone(remaining, 5):
            raise SupervisionError(
                f"processes of {self.name} do not end: {[process.pid for process in remaining]}"
            )
        for leftover in Path("/dev/shm").glob(f"{shared_memory_prefix(self.name, self.folder)}*"):
            leftover.unlink(missing_ok=True)
        return len(left)

    def marked(self) -> Iterator[psutil.Process]:
        """Processes that belong to this instance, whoever their parent is now."""
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(MARK) == str(self.folder):
                    yield process
            except (psutil.Error, OSError):
                continue  # gone, or not ours to look at


def new_password() -> str:
    """A password that needs no quoting anywhere."""
    return secrets.token_hex(16)


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(program: str, key: str, value: str) -> str:
    """A setting as the supervisor's configuration takes it: in the kind of quotes it does not hold itself (JSON)."""
    mark = "'" if '"' in value else '"'
    if mark in value or "\n" in value or value[:1] in {"'", '"'} or value[-1:] in {"'", '"'}:
        raise ValueError(
            f"{program}: {key} may not hold line breaks, both kinds of quotes, or quotes at its ends"
        )
    return f"{mark}{_escaped(value)}{mark}"


def _section(program: Program, log: Path) -> str:
    environment = ",".join(
        f"{key}={_quoted(program.name, key, value)}" for key, value in sorted(program.env.items())
    )
    lines = [
        f"[program:{program.name}]",
        f"command={_escaped(shlex.join(program.command))}",
        f"directory={_escaped(str(program.folder))}",
        f"environment={environment}",
        "autostart=false",
        "autorestart=true",
        "startsecs=1",
        "startretries=30",
        f"stopsignal={program.stop_signal}",
        f"stopwaitsecs={program.stop_seconds}",
        f"stopasgroup={'true' if program.stop_group else 'false'}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_escaped(str(log))}",
        "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=1",
    ]
    return "\n".join(lines) + "\n"


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _wait_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until the processes are gone; returns those that are not."""
    deadline = time.monotonic() + seconds
    while True:
        left = [process for process in processes if _runs(process)]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_S)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
