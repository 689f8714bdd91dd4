"""A real Chromium: the machine's own, or the distribution's packages unpacked beside the project."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from andon_local import debian, install
from andon_local.components import components


@dataclass(frozen=True)
class Browser:
    """Where the browser and its driver lie and which environment they need.

    Attributes:
        program: The browser.
        driver: chromedriver for it; empty when there is none.
        env: A complete environment to start either with.
        arguments: What both need on the command line to run without a screen.
    """

    program: str
    driver: str
    env: Mapping[str, str]
    arguments: tuple[str, ...] = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
    )

    def screenshot(self, url: str, to: Path, *, width: int = 1280, height: int = 900) -> Path:
        """Write a picture of a page as PNG. Raises OSError when the browser does not."""
        to.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as profile:
            command = [self.program, *self.arguments, f"--user-data-dir={profile}", "--hide-scrollbars"]
            command += [
                f"--window-size={width},{height}",
                f"--screenshot={to}",
                "--virtual-time-budget=4000",
                url,
            ]
            done = subprocess.run(
                command,
                env={**self.env, "HOME": profile},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=90,
                check=False,
            )
        if not to.exists():
            raise OSError(f"no screenshot of {url}: {done.stderr[-800:]}")
        return to


def chromium() -> Browser:
    """The browser; installed first when it is missing. Raises InstallError when it cannot be."""
    own, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if own and driver:
        return Browser(own, driver, dict(os.environ))
    component = components()["chromium"]
    install.ensure([component.name])
    root = component.folder / "root"
    return Browser(
        str(root / component.install["program"]),
        str(root / "usr" / "bin" / "chromedriver"),
        {**os.environ, **debian.environment(component.folder)},
    )
