"""Breaks a running plant on purpose: kills processes, restarts components, cuts the network.

What is broken, in which order, and before which image, follows from the seed; what the services are doing in that
moment follows from the machine.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from andon_local.components import services
from andon_local.runtime import Instance, NotRunningError

COMPONENTS = ("kafka", "postgres", "minio", "triton")
LINES = ("kafka", "registry", "postgres", "minio", "triton")
BROKEN_S = 2.0


@dataclass
class Monkey:
    """Plays its pranks one after the other in a thread of its own, each before its own image of the stream.

    Attributes:
        images: How many images will be sent; the pranks are spread over them at random.
        done: What was broken, in order.
    """

    instance: Instance
    seed: int
    images: int
    kills_each: int = 3
    done: list[str] = field(default_factory=list)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="monkey", daemon=True)
        self._stop = threading.Event()
        self._killed: dict[str, int] = {}
        self._sending = 0
        self._turn = threading.Condition()
        pranks = self._pranks()
        moments = sorted(random.Random(self.seed + 1).sample(range(self.images), len(pranks)))
        self._script = list(zip(moments, pranks, strict=True))

    def start(self) -> None:
        self._thread.start()

    def watch(self, number: int) -> None:
        """An image is about to be sent; waits until all that should break before it has begun to."""
        with self._turn:
            self._sending = number
            self._turn.notify_all()
            begun = sum(moment <= number for moment, _ in self._script)
            self._turn.wait_for(lambda: len(self.done) >= begun or self.failure is not None)

    def nothing_more_comes(self) -> None:
        """The stream is over, or broke: what is left of the script need not wait for an image."""
        with self._turn:
            self._sending = self.images
            self._turn.notify_all()

    def finish(self) -> None:
        """Wait until every prank was played and everything runs again."""
        self._thread.join()
        if self.failure is not None:
            raise RuntimeError(f"the monkey broke itself after {self.done}") from self.failure

    def _pranks(self) -> list[tuple[str, Callable[[], None]]]:
        pranks: list[tuple[str, Callable[[], None]]] = []
        for service in services():
            pranks += [(f"kill -9 {service}", lambda s=service: self._kill(s))] * self.kills_each  # type: ignore[misc]
        for component in COMPONENTS:
            pranks.append((f"kill -9 {component}", lambda c=component: self._kill(c)))  # type: ignore[misc]
        for line in LINES:
            pranks.append((f"cut {line}", lambda n=line: self._cut(n)))  # type: ignore[misc]
        pranks.append(("hang postgres", lambda: self._hang("postgres")))
        pranks.append(("hang kafka", lambda: self._hang("kafka")))
        random.Random(self.seed).shuffle(pranks)
        return pranks

    def _run(self) -> None:
        try:
            for moment, (name, prank) in self._script:
                with self._turn:
                    self._turn.wait_for(lambda: self._sending >= moment)  # noqa: B023  (waited for at once)
                    self.done.append(name)
                    self._turn.notify_all()
                prank()
            for program in (*COMPONENTS, *services()):
                self.instance.wait_ready(program, 120)
        except BaseException as error:
            with self._turn:
                self.failure = error
                self._turn.notify_all()

    def _kill(self, program: str) -> None:
        """The supervisor starts it again; a component is waited for, a service is not."""
        while not self._struck(program):  # it is still coming back from the last time
            self._stop.wait(0.1)
        if program in COMPONENTS:
            self.instance.wait_ready(program, 120)

    def _struck(self, program: str) -> bool:
        """Whether a process was killed that had not been killed before."""
        try:
            if self.instance.pid(program) == self._killed.get(program):
                return False
            self._killed[program] = self.instance.kill(program, signal.SIGKILL)
        except (NotRunningError, ProcessLookupError):
            return False
        return True

    def _cut(self, line: str) -> None:
        with self.instance.network.without(line):
            self._stop.wait(BROKEN_S)

    def _hang(self, line: str) -> None:
        self.instance.network.hang(line)
        self._stop.wait(BROKEN_S)
        self.instance.network.mend(line)
