"""Stations, policies, taxonomies and releases: each change is kept, and published for those who work by it.

A version is immutable: publishing the same again changes nothing, publishing something else under its name is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.events import Event, event, station_key
from andon_events import records as r

from dataset_registry.domain import releases
from dataset_registry.domain.refusals import conflict, unknown
from dataset_registry.handlers.facts import SOURCE
from dataset_registry.ports import Reference, Row

Emit = Callable[[Sequence[Event[Any]]], None]


def publish_station(
    store: Reference, emit: Emit, line: str, station: str, document: Row, by: str, clock: Clock
) -> bool:
    """Put a station's standard in force; False when it is in force already."""
    if store.station(line, station) == document:
        return False
    now = clock.now()
    store.publish_station(line, station, document, by, now)
    data = r.StationPublished(line=line, station=station, **document, published_at=now)
    key = station_key(line, station)
    emit([event(data, source=SOURCE, key=key, time=now, cause=f"{key} {now.isoformat()}")])
    return True


def publish_policy(store: Reference, emit: Emit, version: str, document: Row, by: str, clock: Clock) -> bool:
    """Put a policy in force in its scope; False when it was published before. Raises Refused."""
    if _published_before(store.policy(version), document, "policy", version):
        return False
    scope = r.Scope.from_avro(document["scope"])
    store.lock_scope("policy", scope.line or "", scope.station or "")
    now = clock.now()
    store.publish_policy(version, scope.line or "", scope.station or "", document, by, now)
    rest = {name: value for name, value in document.items() if name not in ("scope", "bands")}
    data = r.PolicyPublished(
        policy_version=version,
        scope=scope,
        bands=[r.ConfidenceBand.from_avro(band) for band in document["bands"]],
        **rest,
        published_at=now,
    )
    emit([event(data, source=SOURCE, key=station_key(scope.line, scope.station), time=now, cause=version)])
    return True


def publish_taxonomy(
    store: Reference, emit: Emit, version: str, document: Row, by: str, clock: Clock
) -> bool:
    """Put a taxonomy in force; False when it was published before. Raises Refused."""
    if _published_before(store.taxonomy_document(version), document, "taxonomy", version):
        return False
    now = clock.now()
    store.publish_taxonomy(version, document, by, now)
    classes = [r.TaxonomyClass.from_avro(c) for c in document["classes"]]
    data = r.TaxonomyPublished(taxonomy_version=version, classes=classes, published_by=by, published_at=now)
    emit([event(data, source=SOURCE, key="taxonomy", time=now, cause=version)])
    return True


def promote(
    store: Reference, emit: Emit, release: str, scope: r.Scope, mode: str, by: str, clock: Clock
) -> bool:
    """Let a release decide (or shadow) in a scope; False when it does already. Raises Refused."""
    line, station = scope.line or "", scope.station or ""
    bundle = _bundle(store, release)
    store.lock_scope(mode, line, station)
    before = releases.active(store.deployments(mode, line, station))
    if before == release:
        return False
    now = clock.now()
    store.record_deployment(_deployment(line, station, mode, release, before, by, now, None))
    data = r.ModelReleased(
        release=release, bundle=bundle, scope=scope, mode=mode, released_by=by, released_at=now
    )
    key = f"{mode}:{station_key(scope.line, scope.station)}"
    emit([event(data, source=SOURCE, key=key, time=now, cause=f"{release} {key} {now.isoformat()}")])
    return True


def roll_back(
    store: Reference, emit: Emit, withdrawn: str, scope: r.Scope, reason: str, by: str, clock: Clock
) -> str:
    """Withdraw a release in a scope; gives the one that decides again. Raises Refused."""
    line, station = scope.line or "", scope.station or ""
    _bundle(store, withdrawn)
    store.lock_scope(releases.ACTIVE, line, station)
    history = store.deployments(releases.ACTIVE, line, station)
    now = clock.now()
    target = releases.rollback_target(history, withdrawn, _wider(store, line, station))
    store.record_deployment(_deployment(line, station, releases.ACTIVE, target, withdrawn, by, now, reason))
    data = r.ModelRolledBack(
        release=target,
        bundle=_bundle(store, target),
        from_release=withdrawn,
        scope=scope,
        reason=reason,
        rolled_back_by=by,
        rolled_back_at=now,
    )
    key = station_key(scope.line, scope.station)
    emit([event(data, source=SOURCE, key=key, time=now, cause=f"{withdrawn} {key} {now.isoformat()}")])
    return target


def _published_before(published: Row | None, document: Row, what: str, version: str) -> bool:
    if published is None:
        return False
    if published != document:
        raise conflict(
            "version-taken",
            f"The {what} {version} is published with other content; give the change a version of its own.",
        )
    return True


def _wider(store: Reference, line: str, station: str) -> str | None:
    """What decides in the narrowest scope around this one."""
    around = [(line, "")] if station else []
    around += [("", "")] if line else []
    deciding = (releases.active(store.deployments(releases.ACTIVE, *scope)) for scope in around)
    return next((release for release in deciding if release), None)


def _bundle(store: Reference, release: str) -> r.ObjectRef:
    row = store.release(release)
    if row is None:
        raise unknown("release", release, "wait until the trainer's model.trained has arrived.")
    return r.ObjectRef.from_avro(row["bundle"])


def _deployment(
    line: str,
    station: str,
    mode: str,
    release: str,
    before: str | None,
    by: str,
    at: datetime,
    reason: str | None,
) -> Row:
    return {
        "line": line,
        "station": station,
        "mode": mode,
        "release": release,
        "from_release": before,
        "rolled_back": reason is not None,
        "reason": reason,
        "ordered_by": by,
        "ordered_at": at,
    }
