"""Lets Java components start in half the CPU time: they run once after installation and keep their loaded classes.

The archive (class data sharing) only saves time: when it cannot be made, or another Java reads it, all else stays.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from andon_local.endpoints import HOST

_LIMIT_S = 120.0


def archive(folder: Path) -> Path:
    """Where a component's archive lies, when there is one."""
    return folder / "classes.jsa"


def java_options(folder: Path) -> list[str]:
    """What to add to a component's java command to use the archive."""
    return ["-Xshare:auto", f"-XX:SharedArchiveFile={archive(folder)}"] if archive(folder).exists() else []


def kafka(folder: Path) -> None:
    """Run an empty broker once."""
    with tempfile.TemporaryDirectory() as scratch:
        broker, controller = _free_ports(2)
        properties = Path(scratch) / "server.properties"
        properties.write_text(
            "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\n"
            f"controller.quorum.voters=1@{HOST}:{controller}\n"
            f"listeners=PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}\n"
            f"log.dirs={scratch}/data\nlog.cleaner.dedupe.buffer.size=16777216\n"
        )
        java = ["java", "-Xmx256m", "-cp", f"{folder / 'libs'}/*"]
        form = [*java, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c"]
        done = subprocess.run([*form, str(properties)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            _run_once([*java, _dump(folder), "kafka.Kafka", str(properties)], {}, broker, folder)


def registry(folder: Path) -> None:
    """Run an empty registry in memory once."""
    (port,) = _free_ports(1)
    app = folder / "app"
    options = ["-Xmx320m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command = [
        "java",
        *options,
        _dump(folder),
        "-cp",
        f"{app}/*:{app}/lib/*",
        "io.quarkus.runner.GeneratedMain",
    ]
    settings = {"QUARKUS_HTTP_HOST": HOST, "QUARKUS_HTTP_PORT": str(port)}
    _run_once(command, settings, port, folder)


def _dump(folder: Path) -> str:
    return f"-XX:ArchiveClassesAtExit={archive(folder)}"


def _run_once(command: Sequence[str], settings: dict[str, str], port: int, folder: Path) -> None:
    """Start, wait until it listens, stop in good order: java writes the archive as it ends."""
    with (folder / "warmup.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **settings}
        )
        deadline = time.monotonic() + _LIMIT_S
        try:
            while process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                    break
                time.sleep(0.1)
            process.terminate()
            process.wait(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            archive(folder).unlink(missing_ok=True)  # perhaps half-written
        finally:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in sockets:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in sockets]
