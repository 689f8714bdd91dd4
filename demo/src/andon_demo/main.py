"""Runs a demo from nothing to its report: `python -m andon_demo --help`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from andon_local import layout
from andon_local.cli import sign_in_table
from andon_local.install import InstallError
from andon_local.ports import PortsTakenError
from andon_local.runtime import NotRunningError
from andon_local.supervision import SupervisionError
from andon_vision.sources import SourceError
from rich.console import Console
from rich.table import Table

from andon_demo.books import Books, balance
from andon_demo.cameras import Cameras
from andon_demo.catalogue import load_parts
from andon_demo.crew import Crew
from andon_demo.drain import Pending, pending
from andon_demo.expectations import PLAYED_KINDS, expected_kinds
from andon_demo.ledger import Ledger
from andon_demo.live import LiveTable
from andon_demo.observer import Observer
from andon_demo.parts import Part, Split, split_parts
from andon_demo.people import ENGINEER, MLOPS, QA_OWNER
from andon_demo.plant import Plant, versions
from andon_demo.played import played
from andon_demo.registry_api import ApiError
from andon_demo.report.figures import report_json
from andon_demo.report.page import render
from andon_demo.run import Release, Run, facts_of, shots_of
from andon_demo.scenario import DARK_UNTIL, REFUSED, Plan, Play, Shot, most_images, write_plan
from andon_demo.settings import (
    POLICY,
    ROOM,
    STALL_S,
    TAKT_MS,
    TAXONOMY,
    TRAINING_SHARE,
    Windows,
    Wish,
    policy,
    service_settings,
    taxonomy,
    windows_for,
)
from andon_demo.training import Trained, Trainer, TrainingError, manifest

PARALLEL = 8
DRAIN_S = 180.0
QUIET_S = 3.0
CHECK_EVERY_S = 5.0
LICENCES = {"elpv": "elpv-dataset: CC BY-NC-SA 4.0, non-commercial"}


class DemoError(Exception):
    """The demo cannot be run as asked; the text says what to change."""


PLANT_TROUBLE = (InstallError, SupervisionError, NotRunningError, PortsTakenError)
CANNOT_RUN = (DemoError, SourceError, TrainingError, ApiError, OSError, *PLANT_TROUBLE)


@dataclass(frozen=True, slots=True)
class Stage:
    """What is known before the first image is sent."""

    wish: Wish
    split: Split
    plan: Plan
    windows: Windows
    trained: Trained


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the books balance; 1: they do not; 2: the demo could not be run."""
    wish = _wish(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends every `with`, so that no process is left
    console = Console(highlight=False)
    try:
        return _run(wish, console)
    except CANNOT_RUN as error:
        console.print(f"[bold red]The demo could not be run:[/] {error}", soft_wrap=True)
        return 2


def _wish(arguments: Sequence[str] | None) -> Wish:
    parser = argparse.ArgumentParser(
        prog="python -m andon_demo", description="Play a plant and count the books."
    )
    parser.add_argument("--data", default="elpv", help="a folder with index.csv or one sub-folder per class")
    parser.add_argument("--images", type=int, help="how many images to send (default: all not trained on)")
    parser.add_argument("--rate", type=float, help="images a second (default: as fast as they are decided)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=layout.root() / "build" / "demo")
    parser.add_argument("--instance", default="demo", help="name of the instance; its old data are deleted")
    parser.add_argument("--keep", action="store_true", help="leave the system running to look around")
    given = parser.parse_args(arguments)
    if given.images is not None and given.images < 20:
        parser.error("--images: at least 20, or there is nothing to see")
    if given.rate is not None and given.rate <= 0:
        parser.error("--rate: images a second, more than 0")
    data = given.data if given.data == "elpv" else str(Path(given.data).expanduser().resolve())
    return Wish(data, given.images, given.rate, given.seed, given.out, given.instance, given.keep)


def _run(wish: Wish, console: Console) -> int:
    began = time.monotonic()
    wish.out.mkdir(parents=True, exist_ok=True)
    for name in ("report.json", "report.html"):
        (wish.out / name).unlink(missing_ok=True)
    with Plant(wish.instance, wish.seed, keep=wish.keep) as plant:
        stage = _set_up(wish, plant, console)
        console.print(f"Ready after {time.monotonic() - began:.0f} s.")
        run, diagnosis = _play(stage, plant, console, began)
        report = report_json(run)
        (wish.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        (wish.out / "report.html").write_text(render(run, plant.fetch))
        if wish.keep:
            console.print(f"Still running: {plant.instance.endpoints.http('console')}")
            console.print(sign_in_table(plant.instance.passwords))
    _tell(run.books, diagnosis, report, wish.out, console)
    return 0 if run.books.balanced and not diagnosis else 1


def _set_up(wish: Wish, plant: Plant, console: Console) -> Stage:
    """Train (or remember) and start everything, side by side; then publish what is in force."""
    cache = layout.cache_dir() / "demo"
    trainer = Trainer(cache, layout.runtime_dir() / "keys", wish.out / "trainer.log")
    split, plan = _script(wish, cache)
    if wish.images and plan.images < wish.images:
        console.print(
            f"{plan.images} images, not {wish.images}: none is shown twice as if it were another part."
        )
    console.print("Starting Kafka, registry, PostgreSQL, MinIO and Triton; splitting and training beside it.")
    with ThreadPoolExecutor(2, thread_name_prefix="setup") as pool:
        infrastructure = pool.submit(plant.start_infrastructure)
        windows = windows_for(plan)
        document = manifest(
            Path(wish.data).name, split.training, LICENCES.get(wish.data, "as their owner states")
        )
        trainer.prepare()
        training = pool.submit(trainer.train, document, "demo")
        infrastructure.result()
        console.print("Starting the services.")
        plant.start_services(service_settings(windows, plant.mes_url, trainer.public_key))
        trained = training.result()
    how = "remembered" if trained.remembered else f"trained in {trained.seconds:.0f} s"
    console.print(f"Release {trained.summary['release']}: {how}, from {len(split.training)} images.")
    trainer.publish(trained, plant.instance.training_env())
    for name, count in trained.left_out.items():
        console.print(
            f"The model does not know {name}: {count} independent image(s) were too few; people do."
        )
    put_in_force(plant, plan, trained, split.defects)
    plant.begin_inspection(
        {
            shot.metadata["part_id"]: {
                "defect": shot.part.is_defect,
                "class": shot.part.label if shot.part.is_defect else None,
            }
            for shot in plan.shots
        }
    )
    plant.wait_for_model(trained.summary["release"], 120)
    return Stage(wish, split, plan, windows, trained)


def _script(wish: Wish, cache: Path) -> tuple[Split, Plan]:
    parts = load_parts(wish.data, cache)
    split = split_parts(parts, TRAINING_SHARE, wish.seed)
    images = min(wish.images or most_images(len(split.stream)), most_images(len(split.stream)))
    try:
        return split, write_plan(split.stream, images, wish.seed)
    except ValueError as error:
        raise DemoError(str(error)) from error


def put_in_force(plant: Plant, plan: Plan, trained: Trained, defects: list[str]) -> None:
    """Put stations, taxonomy, policy and the release in force, over the registry's API."""
    staff = plant.staff()
    owner, engineer, mlops = (staff.api(name) for name in (QA_OWNER, ENGINEER, MLOPS))
    summary = trained.summary
    owner.put(f"/v1/taxonomies/{TAXONOMY}", taxonomy(defects))
    for station in plan.stations:
        engineer.put(
            f"/v1/stations/{station.line}/{station.name}",
            {
                "camera": station.camera,
                "capture_standard_version": station.standard,
                "validated_variants": list(station.validated),
                "takt_ms": TAKT_MS,
                "published_by": ENGINEER,
            },
        )
    owner.put(f"/v1/policies/{POLICY}", policy(summary["pass_below"], summary["reject_from"]))
    mlops.wait_for(f"/v1/releases/{summary['release']}", 30)
    mlops.post(
        f"/v1/releases/{summary['release']}/promote",
        {"scope": {}, "mode": "active", "released_by": MLOPS},
    )
    staff.close()


class _Stream:
    """One replay: cameras, crew and observer at work, and how far they are."""

    def __init__(self, stage: Stage, plant: Plant, observer: Observer) -> None:
        self._stage = stage
        self._plant = plant
        self._observer = observer
        self._staff = plant.staff()
        self.crew = Crew(
            self._staff.api, truth_of(stage.plan), stage.split.defects, stage.wish.seed, self._lamp_replaced
        )
        self.cameras = Cameras(
            plant.instance.endpoints.http("capture-ingest"),
            parallel=PARALLEL,
            rate=stage.wish.rate,
            may_send=self._wait_for_room,
        )
        self.over = threading.Event()
        self.failure: BaseException | None = None
        self._stall_left = True
        self._pace_s = 0.05

    def replay(self) -> None:
        """Send everything; runs in a thread of its own."""
        try:
            self.cameras.replay(self._stage.plan, self._before)
        except BaseException as error:
            self.failure = error
        finally:
            self.over.set()

    def close(self) -> None:
        self.crew.stop()
        self._staff.close()

    def _before(self, shot: Shot) -> None:
        if self._stall_left and shot.number >= self._stage.plan.stall_at:
            self._stall_left = False
            first = self.cameras.first_at
            if first is not None and self.cameras.sent:
                self._pace_s = (time.monotonic() - first) / self.cameras.sent
            self._plant.stop_model_server(STALL_S)

    def _wait_for_room(self) -> None:
        """As fast as it goes means: wait while too many are undecided. A stalled server stops no camera."""
        if self._stage.wish.rate:
            return
        if self._plant.stalled:
            time.sleep(self._pace_s)
            return

        def room(ledger: Ledger) -> bool:
            decided = sum(count.decided for count in ledger.lines().values())
            return self._on_their_way() - decided < ROOM

        self._observer.wait_until(room, 30)

    def _on_their_way(self) -> int:
        """Shots that will have a disposition of their own, as far as the script says."""
        return self._coming[min(self.cameras.sent, len(self._coming) - 1)]

    @property
    def _coming(self) -> list[int]:
        if not hasattr(self, "_sums"):
            sums = [0]
            for shot in self._stage.plan.shots:
                sums.append(sums[-1] + (shot.play not in (*REFUSED, Play.RETRY)))
            self._sums = sums
        return self._sums

    def _lamp_replaced(self) -> bool:
        return self.cameras.sent >= DARK_UNTIL * len(self._stage.plan.shots)


def truth_of(plan: Plan) -> dict[str, tuple[Part, Play | None]]:
    """What lies under the camera, by part_id; a spoiled image counts before the plain one of the same
    part.
    """
    truth: dict[str, tuple[Part, Play | None]] = {}
    for shot in plan.shots:
        if shot.play not in (*REFUSED, Play.RETRY, Play.DUPLICATE):
            truth[shot.metadata["part_id"]] = (shot.part, shot.play)
    return truth


def _play(stage: Stage, plant: Plant, console: Console, began: float) -> tuple[Run, list[Pending]]:
    endpoints = plant.instance.endpoints
    observer = Observer(endpoints.kafka, endpoints.registry)
    observer.start()
    stream = _Stream(stage, plant, observer)
    setup_s = time.monotonic() - began
    stream.crew.start()
    sender = threading.Thread(target=stream.replay, name="cameras", daemon=True)
    pictures: dict[str, bytes] = {}
    sender.start()
    observer.wait_until(lambda ledger: any(c.first for c in ledger.captures.values()), 60)
    console.print(f"First disposition {time.monotonic() - began:.0f} s after the start.")
    with LiveTable(console, len(stage.plan.shots)) as table:
        _watch(stream, plant, observer, table)
        if stream.failure is not None:
            raise DemoError("the cameras stopped") from stream.failure
        pictures = plant.photograph(observer.look(_pages), stage.wish.out)
        left = _drain(stage, stream, plant, observer, table)
    stream.close()
    ledger = observer.look(lambda ledger: ledger)
    observer.stop()
    return _summary(stage, stream, plant, ledger, pictures, left, setup_s), left


def _pages(ledger: Ledger) -> dict[str, str]:
    """The console's pages worth a picture: overview, actions, a capture that people had to judge, the model."""
    judged = next((i for i, c in ledger.captures.items() if len(c.decisions) > 1 and c.heat_map), None)
    pages = {"console-overview": "/", "console-actions": "/actions"}
    if judged:
        pages["console-capture"] = f"/captures/{judged}"
    if ledger.trained:
        pages["console-model"] = f"/models/{ledger.trained[-1].release}"
    return pages


def _watch(stream: _Stream, plant: Plant, observer: Observer, table: LiveTable) -> None:
    checked = time.monotonic()
    while not stream.over.wait(0.25):
        stream.crew.check()
        observer.look(lambda ledger: table.show(ledger, stream.cameras.sent, "cameras send"))
        if time.monotonic() - checked > CHECK_EVERY_S:
            plant.check()
            checked = time.monotonic()


def _drain(
    stage: Stage, stream: _Stream, plant: Plant, observer: Observer, table: LiveTable
) -> list[Pending]:
    """Wait until everything that was begun is finished and stays so; what is left when it does not end."""
    accepted = set(stream.cameras.answers.accepted())

    def look(book: dict[str, Any]) -> tuple[list[Pending], int]:
        def ask(ledger: Ledger) -> tuple[list[Pending], int]:
            left = pending(accepted, ledger, book, tuple(stream.crew.left_open))
            phase = f"waiting for {left[0].count} {left[0].what}" if left else "quiet"
            table.show(ledger, stream.cameras.sent, phase)
            return left, ledger.events

        return observer.look(ask)

    end = time.monotonic() + DRAIN_S
    quiet_since, events = time.monotonic(), -1
    while True:
        stream.crew.check()
        left, seen = look(plant.mes_book())
        plant.check()
        now = time.monotonic()
        if left or seen != events:
            quiet_since, events = now, seen
        if now - quiet_since >= QUIET_S:
            return []
        if now > end:
            return left
        time.sleep(0.5)


def _summary(
    stage: Stage,
    stream: _Stream,
    plant: Plant,
    ledger: Ledger,
    pictures: dict[str, bytes],
    left: list[Pending],
    setup_s: float,
) -> Run:
    book = plant.mes_book()
    answers = stream.cameras.answers.snapshot()
    expected = expected_kinds(stage.plan, shots_of(answers), ledger, stage.windows)
    if stage.wish.is_whole:
        expected |= PLAYED_KINDS
    summary: dict[str, Any] = stage.trained.summary
    stream_s = _stream_seconds(ledger)
    recorded = sum(1 for c in ledger.captures.values() if c.first)
    left_open = {i: why for i, why in stream.crew.left_open.items() if i not in ledger.actions_closed}
    return Run(
        source=_title(stage.wish),
        plan=stage.plan,
        split=stage.split,
        answers=answers,
        ledger=ledger,
        mes=book,
        books=balance(facts_of(stage.plan, answers, ledger, book, expected, left_open)),
        release=Release(
            summary["release"],
            stage.trained.metrics,
            float(summary["pass_below"]),
            float(summary["reject_from"]),
            stage.trained.remembered,
            stage.trained.description,
        ),
        components=versions(),
        played=played(stage.plan, stage.windows, stage.wish.rate, book["moods"], len(left_open)),
        left_open=left_open,
        seconds={"setup": setup_s, "train": stage.trained.seconds, "stream": stream_s},
        throughput=recorded / stream_s if stream_s else 0.0,
        stall=plant.stall,
        expected=expected,
        takt_ms=TAKT_MS,
        diagnosis=[f"Not finished: {item}." for item in left],
        screenshots=pictures,
    )


def _stream_seconds(ledger: Ledger) -> float:
    """From the first trigger to the last first disposition."""
    firsts = [c.first for c in ledger.captures.values() if c.first]
    if not firsts:
        return 0.0
    return (max(d.decided_at for d in firsts) - min(d.captured_at for d in firsts)).total_seconds()


def _title(wish: Wish) -> str:
    if wish.data == "elpv":
        return "ELPV: electroluminescence images of solar cells (Buerhop-Lutz et al. 2018; Deitsch et al. 2019, 2021)"
    return f"images of {Path(wish.data).name}"


def _tell(books: Books, left: list[Pending], report: dict[str, Any], out: Path, console: Console) -> None:
    table = Table(title="The books", title_justify="left", box=None, pad_edge=False, padding=(0, 2))
    for name in ("line", "left", "right", "", "where the difference is"):
        table.add_column(name, justify="right" if name in ("left", "right") else "left")
    for line in books.lines:
        mark = "[green]ok[/]" if line.balanced else "[bold red]differs[/]"
        ids = [*line.lost[:3], *line.duplicated[:3], *line.unexpected[:3]]
        table.add_row(line.title, str(line.left), str(line.right), mark, " ".join([*ids, line.note]).strip())
    console.print(table)
    for item in left:
        console.print(f"[bold red]Not finished:[/] {item}", soft_wrap=True)
    latency = report["latency_ms"]
    console.print(
        f"{report['captures_recorded']} captures, {report['throughput_images_per_s']} images/s, trigger to disposition "
        f"p50 {latency['p50']} ms, p99 {latency['p99']} ms; signals {report['signals']}; "
        f"{report['lost']} lost, {report['duplicated']} duplicated.",
        soft_wrap=True,
    )
    console.print(f"Report: {os.path.relpath(out / 'report.html')}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
