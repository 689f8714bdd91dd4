"""A process whose step stands still ends, so that its supervisor can start it again."""

from __future__ import annotations

import subprocess
import sys

from andon_chassis.clock import FakeClock
from andon_chassis.errors import Unavailable
from andon_chassis.health import Health

SCRIPT = """
from andon_chassis import service as module
from andon_chassis.service import Service
from andon_chassis.settings import ServiceSettings

module.STUCK_S, module.WATCH_EVERY_S = 0.5, 0.1
made = Service(ServiceSettings(service="stuck", kafka_bootstrap="127.0.0.1:1"))
made.health.beat("{loop}")
{then}
made._watch()
print("stopped in good order")
"""


def ended(loop: str, then: str) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(loop=loop, then=then)
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_step_that_stands_still_ends_the_process() -> None:
    done = ended("step audit", "")
    assert done.returncode == 1
    assert "service.stuck" in done.stderr


def test_a_stopped_service_ends_in_good_order() -> None:
    done = ended("step audit", "made.stop.set()")
    assert done.returncode == 0
    assert "stopped in good order" in done.stdout


def test_a_dependency_the_service_goes_on_without_is_shown_and_spared() -> None:
    health = Health(FakeClock())

    def away() -> None:
        raise Unavailable("kafka", "refused")

    health.depends_on("kafka", away)
    assert not health.is_ready().ok
    health.goes_on_without("kafka")
    report = health.is_ready()
    assert report.ok
    assert "refused" in report.parts["kafka"]
