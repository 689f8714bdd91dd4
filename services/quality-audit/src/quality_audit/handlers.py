"""capture.recorded comes in, capture.audited goes out.

The memory of a station grows only here, image by image in the order of its partition, and is rebuilt from the
events that went out. An image whose capture_id is remembered is a repeat of the same event and gets the same
answer again. Stations nobody registered are measured and not remembered: anyone can invent names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.errors import Invalid
from andon_chassis.events import Event, Outcome, event, station_key
from andon_events import records as r
from andon_events import topics
from andon_vision import hash_from_hex, hash_to_hex
from prometheus_client import Counter

from quality_audit.domain.duplicates import LEAST_CORRELATION, Fingerprint, Seen, correlation
from quality_audit.domain.limits import ABSOLUTE, LearningSettings, Limits
from quality_audit.domain.measures import measure, measure_bounded
from quality_audit.domain.standard import Compliance, Shot, Standard, compare, numbers_of
from quality_audit.domain.station import StationMemory
from quality_audit.domain.verdict import (
    ACCEPTED,
    DUPLICATE,
    NEAR_DUPLICATE,
    REJECTED,
    UNREADABLE,
    UNREGISTERED,
    Verdict,
    decide,
)
from quality_audit.ports import Images, Look, Looker, StandardOf, UnreadableError

VERDICTS = Counter("andon_audit_verdicts_total", "Audited images", ["line", "station", "verdict"])
REASONS = Counter("andon_audit_reasons_total", "Reasons to reject or doubt", ["line", "station", "reason"])
DEVIATIONS = Counter(
    "andon_audit_deviations_total", "Deviations from capture standards", ["line", "station", "reason"]
)

NOBODY = "unregistered"
"""Label of stations nobody registered: each invented name would be a time series."""

KEPT_MOST = 10_000
"""Versions of limits that are known to be stored; storing one again costs a request and changes nothing."""


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """How far back the audit looks.

    Attributes:
        recent: Images of a station among which duplicates are looked for.
        events: Events of a partition that are read back to rebuild the memory; should cover `recent` and the
            learning window of all stations whose keys share the partition.
    """

    learning: LearningSettings = field(default_factory=LearningSettings)
    recent: int = 400
    events: int = 2500


class _Station:
    """A station's memory with what the events and images add to it."""

    def __init__(self, settings: MemorySettings) -> None:
        self.memory = StationMemory(settings.learning, settings.recent)
        self.audited: dict[str, r.CaptureAudited] = {}
        self.fingerprints: dict[str, Fingerprint] = {}

    def remember(self, audited: r.CaptureAudited, fingerprint: Fingerprint | None) -> None:
        """Take an image into account, once: a capture that came twice was audited twice, and both answers are
        read back.
        """
        if audited.capture_id in self.audited:
            return
        usable = audited.verdict != REJECTED
        seen = Seen(audited.capture_id, audited.image.object.sha256, _hash(audited), usable)
        forgotten = self.memory.remember(seen)
        if forgotten is not None:
            self.audited.pop(forgotten.capture_id, None)
            self.fingerprints.pop(forgotten.capture_id, None)
        self.audited[audited.capture_id] = audited
        if fingerprint is not None and usable:
            self.fingerprints[audited.capture_id] = fingerprint
        if audited.verdict == ACCEPTED:
            self.memory.accept(audited.context.product_variant, audited.capture_id, audited.measures)


class Auditor:
    """Stream handler and partition memory of the audit.

    Args:
        source: Name of this service in its events.
    """

    def __init__(
        self,
        *,
        source: str,
        clock: Clock,
        images: Images,
        look: Looker,
        standard_of: StandardOf,
        settings: MemorySettings,
    ) -> None:
        self._source = source
        self._clock = clock
        self._images = images
        self._look = look
        self._standard_of = standard_of
        self._settings = settings
        self._stations: dict[str, _Station] = {}
        self._partitions: set[int] = set()
        self._may_lie_on: dict[str, set[int]] = {}
        self._new: set[str] = set()
        self._kept: set[str] = set()

    # --- stream handler ---------------------------------------------------------------------------

    def handle(self, events: Sequence[Event[Any]]) -> Sequence[Outcome]:
        """Audit a batch; every capture gets a verdict. Raises Unavailable."""
        self._new.clear()
        fresh = [e for e in events if self._answer(e.data) is None]
        fetched = dict(
            zip((e.id for e in fresh), self._images.fetch([e.data.image.object for e in fresh]), strict=True)
        )
        return [self._one(e, fetched.get(e.id)) for e in events]

    def _one(self, cause: Event[r.CaptureRecorded], data: bytes | Exception | None) -> Outcome:
        audited = self._answer(cause.data)
        if audited is None:
            if data is None:  # known when the batch began, and forgotten for earlier images of it
                (data,) = self._images.fetch([cause.data.image.object])
            if not isinstance(data, bytes | Invalid):
                raise TypeError(f"nothing was fetched for {cause.id}: {data!r}")
            audited = self._audit(cause.data, data)
        return [
            event(audited, source=self._source, key=cause.key, time=audited.captured_at, cause=cause.id),
        ]

    def _answer(self, capture: r.CaptureRecorded) -> r.CaptureAudited | None:
        station = self._stations.get(_key(capture.context))
        return station.audited.get(capture.capture_id) if station else None

    def _audit(self, capture: r.CaptureRecorded, data: bytes | Invalid) -> r.CaptureAudited:
        context = capture.context
        standard = self._standard_of(context.line, context.station)
        station = None if standard is None else self._station(_key(context))
        look, trouble = self._looked(data)
        verdict = self._judge(capture, look, trouble, standard, station)
        _count(context, verdict, registered=standard is not None)
        audited = r.CaptureAudited(
            capture_id=capture.capture_id,
            context=context,
            image=capture.image,
            verdict=verdict.verdict,
            reasons=verdict.reasons,
            deviations=list(verdict.deviations),
            unproven=list(verdict.unproven),
            measures=dict(verdict.measures),
            perceptual_hash=hash_to_hex(look.perceptual_hash) if look else None,
            duplicate_of=verdict.duplicate_of,
            limits_version=verdict.limits_version,
            audited_at=self._clock.now(),
            captured_at=capture.captured_at,
            received_at=capture.received_at,
        )
        if station is not None:
            station.remember(audited, look.fingerprint if look else None)
        return audited

    def _looked(self, data: bytes | Invalid) -> tuple[Look | None, str]:
        """What can be seen of an image, or why nothing can. The part was there, so it needs a decision all the same."""
        if isinstance(data, Invalid):
            return None, data.reason
        try:
            return self._look(data), ""
        except UnreadableError:
            return None, UNREADABLE

    def _judge(
        self,
        capture: r.CaptureRecorded,
        look: Look | None,
        trouble: str,
        standard: Standard | None,
        station: _Station | None,
    ) -> Verdict:
        image = capture.image
        reject = [UNREGISTERED] if standard is None else []
        if look is None:
            return Verdict(REJECTED, [*reject, trouble])
        measures = measure(look.grey)
        compliance = Compliance()
        if standard is not None:
            measures |= measure_bounded(look.grey, standard.measured)
            compliance = compare(standard, shot_of(capture, measures))
            reject += compliance.rejects
        limits = station.memory.limits(capture.context.product_variant) if station else ABSOLUTE
        self._keep(limits)
        crossed, doubted = limits.reasons(measures)
        reject += crossed
        twin = None
        if station is not None:
            why, twin = self._twin(image, look, station)
            reject += why
        verdict, reasons = decide(reject, doubted)
        return Verdict(
            verdict, reasons, measures, twin, limits.version, compliance.deviations, compliance.unproven
        )

    def _twin(self, image: r.ImageRef, look: Look, station: _Station) -> tuple[list[str], str | None]:
        """The reason code and the capture_id of an earlier image that shows the same; nothing when none does."""
        twin = station.memory.recent.same_bytes(image.object.sha256)
        if twin is not None:
            return [DUPLICATE], twin
        twin = self._near_duplicate(look, station)
        return ([NEAR_DUPLICATE] if twin is not None else []), twin

    def _near_duplicate(self, look: Look, station: _Station) -> str | None:
        for capture_id in station.memory.recent.candidates(look.perceptual_hash):
            other = self._fingerprint(capture_id, station)
            if other is not None and correlation(look.fingerprint, other) >= LEAST_CORRELATION:
                return capture_id
        return None

    def _fingerprint(self, capture_id: str, station: _Station) -> Fingerprint | None:
        """Of an earlier image; after a restart it is made again from the stored image. None when that is
        gone.
        """
        if capture_id not in station.fingerprints:
            (data,) = self._images.fetch([station.audited[capture_id].image.object])
            if not isinstance(data, bytes):
                return None
            try:
                station.fingerprints[capture_id] = self._look(data).fingerprint
            except UnreadableError:
                return None
        return station.fingerprints[capture_id]

    def _keep(self, limits: Limits) -> None:
        """Store the limits that judge, as evidence, before the first verdict that names them."""
        if limits.version not in self._kept:
            self._images.keep(limits.document)
            if len(self._kept) >= KEPT_MOST:
                self._kept.clear()
            self._kept.add(limits.version)

    def _station(self, key: str) -> _Station:
        if key not in self._stations:
            self._stations[key] = _Station(self._settings)
            self._may_lie_on[key] = set(self._partitions)
            self._new.add(key)
        return self._stations[key]

    # --- partition memory -------------------------------------------------------------------------

    @property
    def topic(self) -> str:
        return topics.CAPTURE_AUDITED.name

    @property
    def count(self) -> int:
        return self._settings.events

    def restore(self, partition: int, events: Sequence[Event[Any]]) -> None:
        """Start again with what the partition's last events say.

        A partition that is held already is restored after a batch that came to nothing: stations that appeared
        in it have never been published, whatever partition they lie on.
        """
        if partition in self._partitions:
            self._drop(self._new)
        self._drop({key for key, places in self._may_lie_on.items() if places == {partition}})
        self._partitions.add(partition)
        remembered = [e.data for e in events if UNREGISTERED not in e.data.reasons]
        for key in {_key(audited.context) for audited in remembered}:
            self._stations[key] = _Station(self._settings)
            self._may_lie_on[key] = {partition}
        for audited in remembered:
            self._stations[_key(audited.context)].remember(audited, None)

    def forget(self, partition: int) -> None:
        """Another instance audits these stations now.

        No event says on which partition it came. A station that appeared after `restore` may lie on any that
        were held then; it goes with the last of them, or is replaced when its partition is restored.
        """
        self._partitions.discard(partition)
        for places in self._may_lie_on.values():
            places.discard(partition)
        self._drop({key for key, places in self._may_lie_on.items() if not places})

    def _drop(self, keys: Set[str]) -> None:
        for key in list(keys):
            self._stations.pop(key, None)
            self._may_lie_on.pop(key, None)
            self._new.discard(key)


def _count(context: r.CaptureContext, verdict: Verdict, *, registered: bool) -> None:
    line, station = (context.line, context.station) if registered else (NOBODY, NOBODY)
    VERDICTS.labels(line, station, verdict.verdict).inc()
    for reason in verdict.reasons:
        REASONS.labels(line, station, reason).inc()
    for deviation in verdict.deviations:
        DEVIATIONS.labels(line, station, deviation.reason).inc()


def shot_of(capture: r.CaptureRecorded, measures: Mapping[str, float]) -> Shot:
    """What is held against the standard: what was said of the capture, its file, its image, its times."""
    context, image = capture.context, capture.image
    numbers = {
        **numbers_of(capture.settings),
        **measures,
        "bit_depth": image.bit_depth,
        "channels": image.channels,
    }
    if "captured_at" not in capture.missing:
        numbers["transfer_ms"] = (capture.received_at - capture.captured_at).total_seconds() * 1000
    assumed = capture.assumed
    return Shot(
        standard_version=None if "capture_standard_version" in assumed else context.capture_standard_version,
        camera=None if "camera" in assumed else context.camera,
        width=image.width,
        height=image.height,
        media_type=image.object.media_type,
        texts=capture.settings,
        numbers=numbers,
    )


def _hash(audited: r.CaptureAudited) -> int | None:
    """Of an event that may come from another release: a hash of another kind is none."""
    try:
        return hash_from_hex(audited.perceptual_hash) if audited.perceptual_hash else None
    except ValueError:
        return None


def _key(context: r.CaptureContext) -> str:
    return station_key(context.line, context.station)
