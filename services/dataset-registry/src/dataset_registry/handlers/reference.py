"""Policies: each change is kept, and published for those who work by it.

A version is immutable: publishing the same again changes nothing, publishing something else under its name is
refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.events import Event, event, station_key
from andon_events import records as r

from dataset_registry.domain.refusals import conflict
from dataset_registry.handlers.facts import SOURCE
from dataset_registry.ports import Reference, Row

Emit = Callable[[Sequence[Event[Any]]], None]


def publish_policy(store: Reference, emit: Emit, version: str, document: Row, by: str, clock: Clock) -> bool:
    """Put a policy in force in its scope; False when it was published before. Raises Refused."""
    published = store.policy(version)
    if published is not None:
        if published != document:
            raise conflict(
                "version-taken",
                f"The policy {version} is published with other content; give the change a version of its own.",
            )
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
