"""Letting releases decide, try and watch, and taking them back: each change is kept, and one event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.events import Event, event, station_key
from andon_events import records as r

from dataset_registry.domain import releases
from dataset_registry.domain.refusals import conflict, invalid, unknown
from dataset_registry.domain.releases import Place
from dataset_registry.handlers.facts import SOURCE
from dataset_registry.ports import Reference, Row

Emit = Callable[[Sequence[Event[Any]]], None]


def promote(
    store: Reference,
    emit: Emit,
    release: str,
    scope: r.Scope,
    mode: str,
    share: float,
    by: str,
    clock: Clock,
) -> bool:
    """Let a release decide in a scope, decide a share of its captures, or watch; False when it does already.

    Raises Refused.
    """
    place = _place(scope)
    bundle = _bundle(store, release)
    store.lock_deployments()
    held = store.deployments_in_force()
    if mode == releases.CANARY:
        _check_canary(held, release, place)
    before = next((c for c in held if c["mode"] == mode and releases.place_of(c) == place), None)
    if before is not None and (before["release"], before["share"]) == (release, share):
        return False
    now = clock.now()
    history = store.deployments(mode, *place) if mode == releases.ACTIVE else []
    row = {"release": release, "share": share, "from_release": before and before["release"]}
    store.record_deployment(_row(place, mode, by, now) | row)
    data = r.ModelReleased(
        release=release,
        bundle=bundle,
        scope=scope,
        mode=mode,
        share=share,
        fallbacks=[
            r.ReleaseRef(release=name, bundle=_bundle(store, name))
            for name in releases.fallbacks(history, release)
        ],
        released_by=by,
        released_at=now,
    )
    key = f"{mode}:{station_key(scope.line, scope.station)}"
    emit([event(data, source=SOURCE, key=key, time=now, cause=f"{release} {key} {now.isoformat()}")])
    return True


def roll_back(
    store: Reference, emit: Emit, withdrawn: str, scope: r.Scope, reason: str, by: str, clock: Clock
) -> str:
    """Withdraw a release in a scope and in every narrower one where it decides, as the active one or as a canary.

    Each of these scopes gets an event; in most cases it is the one that was named. A release that only watches in the
    scope stops watching. Gives the release that decides there now, the withdrawn one itself where none does.

    Raises Refused.
    """
    place = _place(scope)
    _bundle(store, withdrawn)
    store.lock_deployments()
    held = store.deployments_in_force()
    found = releases.decides_in(held, withdrawn, place) or [
        change
        for change in held
        if (change["mode"], change["release"]) == (releases.SHADOW, withdrawn)
        and releases.place_of(change) == place
    ]
    if not found:
        raise releases.not_deciding(withdrawn, releases.deciding(held, place))
    for change in found:
        _withdraw(store, emit, change, reason, by, clock)
    held = store.deployments_in_force()
    return releases.deciding(held, releases.place_of(found[0])) or withdrawn


def _withdraw(store: Reference, emit: Emit, change: Row, reason: str, by: str, clock: Clock) -> None:
    """End one thing that is in force, unless what was withdrawn around it has ended it already."""
    mode, withdrawn, place = change["mode"], change["release"], releases.place_of(change)
    held = store.deployments_in_force()
    if change not in held:
        return
    if mode == releases.ACTIVE:
        wider = next((releases.deciding(held, where) for where in place.around()[1:2]), None)
        target, follows = releases.way_back(store.deployments(mode, *place), withdrawn, wider)
    else:
        target, follows = releases.deciding(held, place) or withdrawn, False
    now = clock.now()
    row = {"release": target, "from_release": withdrawn, "rolled_back": True, "reason": reason}
    store.record_deployment(_row(place, mode, by, now) | row | {"follows": follows})
    scope = r.Scope(line=place.line or None, station=place.station or None)
    data = r.ModelRolledBack(
        release=target,
        bundle=_bundle(store, target),
        from_release=withdrawn,
        scope=scope,
        mode=mode,
        reason=reason,
        rolled_back_by=by,
        rolled_back_at=now,
        follows=follows,
    )
    where = station_key(scope.line, scope.station)
    key = where if mode == releases.ACTIVE else f"{mode}:{where}"
    emit([event(data, source=SOURCE, key=key, time=now, cause=f"{withdrawn} {key} {now.isoformat()}")])


def _place(scope: r.Scope) -> Place:
    """Raises Refused for a scope that no release can be chosen by."""
    if scope.part_number or scope.product_variant or scope.class_name:
        raise invalid(
            "scope-too-narrow", "A release decides by line and station; name only these in the scope."
        )
    return Place(scope.line or "", scope.station or "")


def _check_canary(held: Sequence[Row], release: str, place: Place) -> None:
    """A canary needs something to be compared with."""
    now = releases.deciding(held, place)
    if now is None:
        raise conflict(
            "nothing-decides-here",
            "A canary runs beside a release that decides; promote one in this scope first.",
        )
    if now == release:
        raise conflict("release-decides-already", f"{release} decides every capture in this scope already.")


def _bundle(store: Reference, release: str) -> r.ObjectRef:
    row = store.release(release)
    if row is None:
        raise unknown("release", release, "wait until the trainer's model.trained has arrived.")
    return r.ObjectRef.from_avro(row["bundle"])


def _row(place: Place, mode: str, by: str, at: object) -> Row:
    """What every change of a deployment says."""
    return {
        "line": place.line,
        "station": place.station,
        "mode": mode,
        "share": 1.0,
        "rolled_back": False,
        "follows": False,
        "reason": None,
        "ordered_by": by,
        "ordered_at": at,
    }
