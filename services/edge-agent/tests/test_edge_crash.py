"""The whole agent in a process of its own: killed at random moments, and every image arrives exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edge_support import (
    AgentProcess,
    FakePlant,
    Release,
    agent_process,
    ask,
    eventually,
    png,
)

STATIONS, IMAGES, KILLS = ("S1", "S2"), 40, 6


@contextmanager
def running(agent: AgentProcess) -> Iterator[AgentProcess]:
    agent.start()
    try:
        agent.wait_ready()
        yield agent
    finally:
        if agent.process is not None and agent.process.poll() is None:
            agent.kill()


@dataclass
class Camera:
    """Sends its images one after the other, each until it is accepted."""

    url: str
    station: str
    accepted: dict[str, bytes] = field(default_factory=dict)

    def run(self, done: threading.Event) -> None:
        for number in range(IMAGES):
            image = png(20 + number * 5, seed=number)
            while not done.is_set() and not self.send(str(number), image):
                time.sleep(0.02)
            time.sleep(0.05)

    def send(self, trigger: str, image: bytes) -> bool:
        try:
            reply = ask(f"{self.url}/v1/captures", image, {"station": self.station, "trigger_id": trigger})
        except (OSError, ValueError):
            return False  # killed, or its answer was cut off
        assert reply.status in (200, 201), reply
        self.accepted[trigger] = image
        return True


def test_killed_at_random_while_the_plant_misbehaves(
    release: Release, plant: FakePlant, tmp_path: Path
) -> None:
    chance = random.Random(7)
    plant.mode = lambda station: chance.choice(("ok", "ok", "away", "500", "lose", "lose"))
    agent = agent_process(tmp_path, release, plant.url, ANDON_LONGEST_PAUSE_S="0.2")
    done = threading.Event()
    cameras = [Camera(agent.url, station) for station in STATIONS]
    threads = [threading.Thread(target=camera.run, args=(done,)) for camera in cameras]
    try:
        agent.start()
        for thread in threads:
            thread.start()
        for _ in range(KILLS):
            agent.wait_ready()
            time.sleep(chance.uniform(0.0, 0.6))
            agent.kill()
            agent.start()
        for thread in threads:
            thread.join(120)
        plant.mode = lambda station: "ok"
        eventually(lambda: len(plant.stored) >= len(STATIONS) * IMAGES, 60)
        eventually(lambda: "waiting" not in states(agent), 60)
        assert agent.stop() == 0, agent.log.read_text()
    finally:
        done.set()
        if agent.process is not None:
            agent.process.kill()
    for camera in cameras:
        assert len(camera.accepted) == IMAGES
        arrived = [trigger for _, station, trigger in plant.order if station == camera.station]
        assert arrived == list(camera.accepted), "each once, in order"
        for trigger, image in camera.accepted.items():
            assert plant.stored["L1", camera.station, trigger] == image
    lines = [json.loads(line) for line in (tmp_path / "state" / "decisions.jsonl").read_text().splitlines()]
    wanted = {(station, str(number)) for station in STATIONS for number in range(IMAGES)}
    assert {(line["station"], line["trigger_id"]) for line in lines} == wanted


def states(agent: AgentProcess) -> set[str]:
    return {record["state"] for record in ask(f"{agent.url}/v1/captures?limit=1000").body["captures"]}


def test_an_outage_with_a_full_queue_and_its_end(release: Release, plant: FakePlant, tmp_path: Path) -> None:
    plant.mode = lambda station: "away"
    with running(agent_process(tmp_path, release, plant.url, ANDON_QUEUE_MB="1")) as agent:
        taken = 0
        while (reply := capture(agent, taken)) == 201:
            taken += 1
        assert reply == 507 and taken > 1
        ready = ask(f"{agent.url}/readyz")
        assert ready.status == 503 and "holds" in ready.body["parts"]["queue"]
        plant.mode = lambda station: "ok"
        eventually(lambda: len(plant.stored) == taken)
        eventually(lambda: capture(agent, taken) == 201)
        eventually(lambda: len(plant.stored) == taken + 1)


def capture(agent: AgentProcess, number: int) -> int:
    data = png(20, number, side=400)
    return ask(f"{agent.url}/v1/captures", data, {"trigger_id": str(number)}).status


def test_it_goes_on_without_the_plant_and_says_so(release: Release, tmp_path: Path) -> None:
    with running(agent_process(tmp_path, release, "http://127.0.0.1:9")) as agent:
        assert ask(f"{agent.url}/v1/captures", png(20), {}).body["decision"]["kind"] == "pass"
        eventually(lambda: "does not answer" in ask(f"{agent.url}/readyz").body["parts"]["plant"])
        assert ask(f"{agent.url}/readyz").status == 200
        assert agent.stop() == 0


def test_a_second_agent_on_the_same_state_is_refused(release: Release, tmp_path: Path) -> None:
    agent = agent_process(tmp_path, release, "http://127.0.0.1:9")
    with running(agent):
        other = AgentProcess({**agent.environment, "ANDON_HTTP_PORT": "0"}, tmp_path / "other.log")
        other.start()
        assert other.process is not None and other.process.wait(60) == 2
        assert "another agent runs" in other.log.read_text()


def test_a_person_deals_with_what_the_plant_refused(
    release: Release, plant: FakePlant, tmp_path: Path
) -> None:
    plant.mode = lambda station: "refuse"
    agent = agent_process(tmp_path, release, plant.url)
    with running(agent):
        for number in range(2):
            ask(f"{agent.url}/v1/captures", png(20, number), {"trigger_id": str(number)})
        eventually(lambda: states(agent) == {"set-aside"})
        assert len(command(agent, "aside").splitlines()) == 2
        command(agent, "send-again")
        eventually(lambda: states(agent) == {"set-aside"})
        written = command(agent, "take-out", "--out", str(tmp_path / "out")).split()
        assert [Path(name).read_bytes() for name in written] == [png(20, 0), png(20, 1)]
        assert json.loads((tmp_path / "out" / "1.json").read_text())["metadata"]["trigger_id"] == "0"
        assert states(agent) == {"taken-out"}
        assert command(agent, "aside") == ""


def command(agent: AgentProcess, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edge_agent", *arguments],
        env={**os.environ, **agent.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_folder_is_watched_by_the_whole_program(
    release: Release, plant: FakePlant, tmp_path: Path
) -> None:
    incoming = tmp_path / "in"
    with running(agent_process(tmp_path, release, plant.url, ANDON_FOLDER=str(incoming))) as agent:
        eventually(incoming.exists)
        (incoming / "part.png").write_bytes(png(20))
        eventually(lambda: len(plant.stored) == 1)
        eventually(lambda: not (incoming / "part.png").exists())
        assert plant.metadata[0]["station"] == "S1" and "captured_at" in plant.metadata[0]
        assert agent.stop() == 0
