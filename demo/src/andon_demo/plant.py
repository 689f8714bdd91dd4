"""The running system under the demo: a fresh instance with all services, the MES stand-in beside it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.objects import S3ObjectStore
from andon_events import records as r
from andon_local import layout, runtime
from andon_local.browser import chromium
from andon_local.components import components, services

from andon_demo.people import QA_OWNER
from andon_demo.registry_api import Staff
from andon_demo.settings import MES_SILENCE_S
from andon_demo.spectator import looking_on

MES_TROUBLE = 0.05


class Plant:
    """Starts and stops everything. A context manager: whatever happens, no process is left.

    Args:
        name: The instance; its data of an earlier demo are deleted first.
        behind_proxies: Services reach the components through toxiproxy, so that the network can be cut.
        mes_trouble: Share of deliveries that the MES stand-in answers with an error, or not at all.
    """

    def __init__(
        self,
        name: str,
        seed: int,
        *,
        keep: bool = False,
        behind_proxies: bool = False,
        mes_trouble: float = MES_TROUBLE,
    ) -> None:
        self._behind_proxies = behind_proxies
        self._mes_trouble = mes_trouble
        self._name = name
        self._seed = seed
        self._keep = keep
        self._mes: subprocess.Popen[str] | None = None
        self._mes_port = 0
        self._instance: runtime.Instance | None = None
        self._objects: S3ObjectStore | None = None
        self.stall: tuple[datetime, datetime] | None = None
        self._stalling: threading.Thread | None = None

    def __enter__(self) -> Plant:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stalling:
            self._stalling.join()
        if self._mes:
            self._mes.terminate()
            self._mes.communicate(timeout=10)
        if not self._keep:
            runtime.stop(self._name)

    @property
    def instance(self) -> runtime.Instance:
        if self._instance is None:
            raise RuntimeError("the infrastructure is not up yet")
        return self._instance

    @property
    def mes_url(self) -> str:
        """Where the MES stand-in takes dispositions."""
        return f"http://127.0.0.1:{self._mes_port}/dispositions"

    def start_infrastructure(self) -> None:
        """Bring up all components on empty data, and the MES stand-in."""
        runtime.remove(self._name)
        self._instance = runtime.start(self._name, behind_proxies=self._behind_proxies, quiet=True)
        self._mes = subprocess.Popen(
            [
                *(sys.executable, "-m", "andon_demo.mes", "--secret", self._instance.secret("webhook")),
                *(
                    "--seed",
                    str(self._seed),
                    "--trouble",
                    str(self._mes_trouble),
                    "--silence-s",
                    str(MES_SILENCE_S),
                ),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._mes.stdout is not None
        self._mes_port = int(json.loads(self._mes.stdout.readline())["port"])

    def start_services(self, env: Mapping[str, Mapping[str, str]]) -> None:
        """Bring up every service; returns when all are ready."""
        self._instance = runtime.start(
            self._name, services=list(services()), env=env, behind_proxies=self._behind_proxies, quiet=True
        )

    def staff(self) -> Staff:
        """The plant's people, each with an account of their own."""
        return Staff(self.instance.endpoints.http("dataset-registry"), self.instance.passwords)

    def begin_inspection(self, truth: Mapping[str, Mapping[str, object]]) -> None:
        """Tell the MES stand-in what the plant will find out about each part, and where to report it."""
        findings = f"{self.instance.endpoints.http('mes-bridge')}/v1/findings"
        body = {"findings_url": findings, "truth": truth}
        httpx.post(f"http://127.0.0.1:{self._mes_port}/demo/begin", json=body, timeout=20).raise_for_status()

    def mes_book(self) -> dict[str, Any]:
        """The MES stand-in's book as it is now."""
        answer = httpx.get(f"http://127.0.0.1:{self._mes_port}/demo/book", timeout=20)
        book: dict[str, Any] = answer.json()
        return book

    def wait_for_model(self, release: str, seconds: float) -> None:
        """Wait until Triton serves the release. Raises TimeoutError."""
        end = time.monotonic() + seconds
        ready = f"{self.instance.endpoints.triton_http}/v2/models/{release}/ready"
        while True:
            try:
                if httpx.get(ready, timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{release} did not become ready in Triton within {seconds:.0f} s; look at inference's log"
                )
            time.sleep(0.1)

    def stop_model_server(self, seconds: float) -> None:
        """Let Triton stand still for a while, beside what else goes on."""

        def stall() -> None:
            began = datetime.now(UTC)
            self.instance.kill("triton", signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                self.instance.kill("triton", signal.SIGCONT)
            self.stall = (began, datetime.now(UTC))

        self._stalling = threading.Thread(target=stall, name="stall")
        self._stalling.start()

    @property
    def stalled(self) -> bool:
        """The model server stands still now."""
        return self._stalling is not None and self._stalling.is_alive()

    def check(self) -> None:
        """Raise NotRunningError when somebody has stopped the instance, or a program of it does not come up."""
        for name, status in runtime.attach(self._name).status().items():
            if status.given_up:
                raise runtime.NotRunningError(
                    f"{name} does not start any more; look at {self.instance.log(name)}"
                )

    def fetch(self, ref: r.ObjectRef) -> bytes | None:
        """An object from the store, verified; None when it cannot be had."""
        if self._objects is None:
            env = self.instance.admin_env()
            self._objects = S3ObjectStore(
                env["ANDON_S3_ENDPOINT"], env["ANDON_S3_ACCESS_KEY"], env["ANDON_S3_SECRET_KEY"]
            )
        try:
            return self._objects.get(ref)
        except (Invalid, Unavailable):
            return None

    def photograph(self, pages: Mapping[str, str], out: Path) -> dict[str, bytes]:
        """Pictures of the console's pages by a real browser; empty when there is none on this machine.

        Args:
            pages: Path on the console by name of the picture.
        """
        if not ((layout.tools_dir() / "chromium").exists() or shutil.which("chromium")):
            return {}
        pictures = {}
        staff = self.staff()
        with looking_on(self.instance.endpoints.http("console"), staff.token(QA_OWNER)) as console:
            for name, path in pages.items():
                file = out / f"{name}.png"
                file.unlink(missing_ok=True)
                try:
                    chromium().screenshot(f"{console}{path}", file, width=1280, height=1000)
                    pictures[name] = file.read_bytes()
                except (OSError, subprocess.SubprocessError):
                    continue
        staff.close()
        return pictures


def versions() -> dict[str, str]:
    """What the demo ran on, by name."""
    here = {c.name: c.version for c in components().values() if not c.optional}
    here["python"] = ".".join(map(str, sys.version_info[:3]))
    for package in (
        "confluent-kafka",
        "fastavro",
        "faust-streaming",
        "fastapi",
        "psycopg",
        "onnxruntime",
        "elpv-dataset",
    ):
        try:
            here[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return here
