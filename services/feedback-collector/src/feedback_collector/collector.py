"""The collector: keeps each station's state, and says what has to be made durable before events are
acknowledged.

A state carries the offsets of what it already contains. State and offsets travel as one value, so however
often events are delivered again after a crash or a rebalance, each is counted once; and a signal goes out
before the state that remembers it, so none is lost. A crash between the two repeats a signal under the same
id.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from typing import Any

import structlog
from andon_chassis.clock import Clock
from andon_chassis.events import Event
from andon_chassis.telemetry import trace_field
from andon_chassis.windows import Changes, States
from andon_events import records as r
from prometheus_client import Counter, Gauge

from feedback_collector.domain.observations import StationFacts
from feedback_collector.domain.station import Station
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.handlers import observation, signal_raised, station_facts
from feedback_collector.ports import Stations

log = structlog.get_logger()

SIGNALS = Counter("andon_signals_raised_total", "Signals raised", ["kind", "line", "station"])
LATE = Gauge("andon_late_events", "Events that came after their window had closed", ["line", "station"])

FORMAT = 1
"""Version of the stored state. A state in another format is dropped: windows are learned again."""


@dataclass(slots=True)
class Remembered:
    """A station's state and the last offset of each topic that it contains."""

    station: Station
    applied: dict[str, int] = field(default_factory=dict)

    def pack(self) -> bytes:
        raw = {"format": FORMAT, "applied": self.applied, "station": self.station.to_json()}
        return zlib.compress(json.dumps(raw, separators=(",", ":")).encode(), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> Remembered | None:
        """None when the state was written in another format."""
        raw = json.loads(zlib.decompress(packed))
        if raw.get("format") != FORMAT:
            return None
        return cls(Station.from_json(raw["station"]), raw["applied"])


class KnownStations:
    """The published stations; the reference thread replaces them as a whole, so readers need no lock."""

    def __init__(self) -> None:
        self._facts: dict[str, StationFacts] = {}

    def apply(self, published: Event[Any]) -> None:
        """Take a station.published event into account."""
        self._facts = {**self._facts, published.key: station_facts(published.data)}

    def facts(self, key: str) -> StationFacts | None:
        return self._facts.get(key)


class Collector:
    """Takes events one by one, as `andon_chassis.windows` wants it; owned by one thread."""

    def __init__(self, limits: Thresholds, stations: Stations, states: States, clock: Clock) -> None:
        self._limits = limits
        self._stations = stations
        self._states = states
        self._clock = clock
        self._live: dict[str, Remembered] = {}
        self._changed: dict[str, int] = {}
        self._signals: list[Event[r.SignalRaised]] = []

    @property
    def urgent(self) -> bool:
        """A signal waits to go out."""
        return bool(self._signals)

    def take(self, seen: Event[Any], partition: int, offset: int) -> bool:
        """Count an event; False when the state already contains it."""
        remembered = self._live.get(seen.key) or self._recall(seen)
        if remembered.applied.get(seen.topic, -1) >= offset:
            return False
        remembered.applied[seen.topic] = offset
        self._changed[seen.key] = partition
        told = observation(seen)
        if told is not None:
            raised = remembered.station.observe(told, self._stations.facts(seen.key), self._limits)
            if raised:
                now = self._clock.now()
                self._signals += [signal_raised(signal, seen, now) for signal in raised]
        return True

    def changes(self) -> Changes:
        """What has changed since the last call."""
        states = {key: (partition, self._live[key].pack()) for key, partition in self._changed.items()}
        for key in self._changed:
            station = self._live[key].station
            LATE.labels(station.line, station.station).set(station.late)
        changes = Changes(self._signals, states)
        self._signals, self._changed = [], {}
        return changes

    def sent(self, event: Event[r.SignalRaised]) -> None:
        """A signal has gone out."""
        signal = event.data
        SIGNALS.labels(signal.kind, signal.scope.line, signal.scope.station).inc()
        log.info(
            "signal.raised",
            kind=signal.kind,
            signal_id=signal.signal_id,
            why=signal.explanation,
            **trace_field(event.traceparent),
        )

    def forget(self) -> None:
        """Partitions went away: what is not durable is dropped, and will be delivered again."""
        self._live.clear()
        self._changed.clear()
        self._signals.clear()

    def _recall(self, seen: Event[Any]) -> Remembered:
        packed = self._states.load(seen.key)
        remembered = Remembered.unpack(packed) if packed else None
        if remembered is None:
            context = seen.data.context
            remembered = Remembered(Station(context.line, context.station))
        self._live[seen.key] = remembered
        return remembered
