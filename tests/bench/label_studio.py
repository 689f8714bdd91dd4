"""Label Studio beside the registry: its own server, in an environment of its own that is made when it is asked for."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from andon_local import layout

from .figures import ROOT

LOCK = ROOT / "requirements" / "label-studio.txt"
EMAIL, PASSWORD = "bench@example.com", "bench-password"
PATIENCE_S = 600.0
_QUIET = {
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    "LOG_LEVEL": "WARNING",
    "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
}
"""It calls nobody, and does not spend its time on writing down what it does."""


def installed() -> Path:
    """The folder of its programs; made of the lock file when it is not there, which takes minutes. Raises
    CalledProcessError."""
    folder = layout.tools_dir() / "label-studio"
    stamp, key = folder / ".complete", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == key):
        shutil.rmtree(folder, ignore_errors=True)
        uv = Path(sys.executable).parent / "uv"
        print("Label Studio: making .runtime/tools/label-studio", flush=True)
        subprocess.run([uv, "venv", "-q", folder, "--python", sys.executable], check=True)
        print("Label Studio: installing the locked packages, some 160", flush=True)
        env = {"UV_LINK_MODE": "copy", **os.environ}
        install = [str(uv), "pip", "install", "-q", "--require-hashes"]
        install += ["--python", str(folder / "bin" / "python"), "-r", str(LOCK)]
        subprocess.run(install, check=True, env=env)
        stamp.write_text(key)
    return folder / "bin"


def version() -> str:
    """The locked version."""
    found = re.search(r"^label-studio==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@contextmanager
def running(folder: Path) -> Iterator[LabelStudio]:
    """Its server on SQLite in an empty folder, somebody signed in; stopped at the end."""
    programs, port = installed(), _free_port()
    command = [str(programs / "label-studio"), "start", "--no-browser", "--data-dir", str(folder / "data")]
    command += [
        "--port",
        str(port),
        "--internal-host",
        "127.0.0.1",
        "--username",
        EMAIL,
        "--password",
        PASSWORD,
    ]
    env = {**os.environ, **_QUIET, "HOME": str(folder), "DJANGO_DB": "sqlite"}
    print(f"Label Studio {version()}: starting, with a new database", flush=True)
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S, follow_redirects=True
        ) as client:
            _wait(client, server, folder / "server.log")
            studio = LabelStudio(client)
            studio.sign_in()
            yield studio
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


class LabelStudio:
    """Its HTTP API, as a browser that is signed in uses it: tokens are off until somebody allows them."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def sign_in(self) -> None:
        """By its form."""
        self._client.get("/user/login/")
        form = {
            "email": EMAIL,
            "password": PASSWORD,
            "csrfmiddlewaretoken": self._client.cookies["csrftoken"],
        }
        self._client.post("/user/login/", data=form).raise_for_status()
        self._client.get("/api/current-user/whoami").raise_for_status()

    def project(self, classes: Sequence[str]) -> int:
        """A new project for boxes of these classes; its id."""
        labels = "".join(f'<Label value="{name}"/>' for name in classes)
        config = (
            f'<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">{labels}'
        )
        body = {"title": "bench", "label_config": f"{config}</RectangleLabels></View>"}
        made = self._post("/api/projects", json=body)
        return int(made["id"])

    def timed_import(self, project: int, tasks: bytes) -> float:
        """Seconds until these tasks with their annotations are in the project, sent as a JSON file."""
        began = time.perf_counter()
        made = self._post(
            f"/api/projects/{project}/import",
            files={"labels.json": ("labels.json", tasks, "application/json")},
        )
        while (found := self._counts(project))["task_number"] < made["task_count"]:
            assert time.perf_counter() - began < PATIENCE_S, found
            time.sleep(0.2)
        return time.perf_counter() - began

    def timed_export(self, project: int) -> tuple[float, bytes]:
        """Seconds until the last byte of its COCO archive has come; the archive."""
        began = time.perf_counter()
        answer = self._client.get(
            f"/api/projects/{project}/export", params={"exportType": "COCO", "download_resources": "false"}
        )
        seconds = time.perf_counter() - began
        answer.raise_for_status()
        return seconds, answer.content

    def _counts(self, project: int) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get(f"/api/projects/{project}").json()
        return found

    def _post(self, path: str, **sent: Any) -> dict[str, Any]:
        answer = self._client.post(path, headers={"X-CSRFToken": self._client.cookies["csrftoken"]}, **sent)
        assert answer.is_success, f"{path}: {answer.status_code} {answer.text[:500]}"
        made: dict[str, Any] = answer.json()
        return made


def _wait(client: httpx.Client, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            if client.get("/health").is_success:
                return
        except httpx.TransportError:
            pass
        assert server.poll() is None and time.monotonic() < end, (
            f"it does not start:\n{log.read_text()[-3000:]}"
        )
        time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
