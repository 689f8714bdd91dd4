"""What people list in the console, and the registry for them: every list with every filter, common and rare."""

from __future__ import annotations

import time
from collections.abc import Mapping
from urllib.parse import urlencode

import httpx
import numpy as np

ROUNDS, WARM_UP = 25, 3

_PLACES: tuple[dict[str, str], ...] = (
    {},
    {"line": "line-a"},
    {"line": "line-a", "station": "cell-1"},
    {"line": "line-d"},
    {"line": "line-d", "station": "cell-5"},
    {"line": "no-such-line"},
)
"""Anywhere, where most is, where little was long ago, and nowhere."""

_FILTERS: Mapping[str, tuple[dict[str, str], ...]] = {
    "/v1/captures": (
        *_PLACES,
        *({"kind": kind} for kind in ("pass", "reject", "hold", "escalate-to-engineering")),
        {"line": "line-a", "kind": "reject"},
        {"line": "line-d", "kind": "pass"},
        {"line": "line-c", "station": "cell-2", "kind": "escalate-to-engineering"},
        {"part_id": "part-40000"},
        {"line": "line-d", "since": "2020-01-01T00:00:00Z"},
    ),
    "/v1/reviews": (
        *_PLACES,
        *({"state": state} for state in ("open", "disputed", "completed")),
        {"state": "open", "not_answered_by": "person-07"},
        {"state": "completed", "not_answered_by": "person-07"},
        {"state": "disputed", "line": "line-d"},
        {"state": "open", "line": "line-c", "station": "cell-3"},
    ),
    "/v1/labels": (
        *_PLACES,
        *({"class_name": name} for name in ("good", "scratch", "rare-flaw", "no-such-class")),
        {"line": "line-d", "class_name": "rare-flaw"},
        {"line": "line-c", "station": "cell-2", "class_name": "rare-flaw"},
    ),
    "/v1/actions": (
        *_PLACES,
        {"state": "open"},
        {"state": "closed"},
        {"kind": "investigate"},
        {"state": "open", "line": "line-c", "kind": "investigate"},
    ),
    "/v1/images": (
        *_PLACES,
        {"origin": "capture"},
        {"origin": "import"},
        {"part_id": "part-40000"},
        {"part_number": "8-105"},
        *({"class_name": name} for name in ("good", "scratch", "rare-flaw", "no-such-class")),
        {"line": "line-d", "class_name": "scratch"},
        {"segment": "edge-case"},
        {"segment": "no-such-segment"},
        {"line": "line-c", "segment": "edge-case"},
        {"line": "line-a", "origin": "import"},
        {"state": "disputed"},
        {"state": "to-label"},
        {"state": "waiting"},
    ),
    "/v1/batches": ({}, {"open": "true"}, {"open": "false"}, {"person": "person-07"}),
    "/v1/ambiguous": (
        {},
        {"reason": "boundary-unclear"},
        {"reason": "needs-second-view"},
        {"reason": "no-such"},
    ),
    "/v1/audit": (
        {},
        {"actor": "person-07"},
        {"actor": "nobody"},
        {"action": "annotate"},
        {"action": "review-task"},
        {"action": "taxonomy"},
        {"action": "no-such-action"},
        {"subject": "task-7"},
        {"actor": "person-07", "action": "taxonomy"},
        {"until": "2020-01-01T00:00:00Z"},
    ),
    "/v1/imports": ({},),
    "/v1/releases": ({},),
    "/v1/evaluation-batches": ({},),
    "/v1/datasets/snapshots": ({},),
    "/v1/taxonomies": ({},),
    "/v1/taxonomy-drafts": ({}, {"state": "open"}),
    "/v1/stations": ({},),
    "/v1/stations/line-a/cell-1/history": ({},),
    "/v1/stations/line-a/cell-1/deviations": ({},),
    "/v1/policies": ({},),
    "/v1/lines": ({},),
    "/v1/deployments": ({},),
    "/v1/people": ({},),
    "/v1/accounts": ({},),
}

_PAGES = (
    "/",
    "/captures",
    "/captures?line=line-a&kind=reject",
    "/captures?line=line-d",
    "/captures?line=line-c&station=cell-2&kind=escalate-to-engineering",
    "/review",
    "/disputes",
    "/actions",
    "/actions?state=closed",
    "/models",
    "/annotate",
    "/annotate/review",
    "/annotate/adjudicate",
    "/quality/taxonomy",
    "/quality/standards",
    "/quality/standards/line-a/cell-1?days=30",
    "/quality/agreement",
    "/quality/agreement?by=reviewer",
    "/quality/agreement/images",
    "/quality/datasets",
    "/quality/images",
    "/quality/images?class_name=rare-flaw",
    "/quality/images?segment=edge-case",
    "/quality/imports",
    "/quality/work",
    "/quality/work?state=closed",
    "/quality/work/new",
    "/quality/work/new?source=images&line=line-d",
    "/quality/work/ambiguous",
    "/quality/audit",
    "/quality/audit?actor=person-07",
    "/quality/audit?action=taxonomy",
    "/accounts",
)


def lists(registry: httpx.Client) -> list[str]:
    """Every list of the registry's API with every filter; also those of one batch, and the second page of each."""
    batches = registry.get("/v1/batches", params={"open": "true"}).json()["items"]
    found = [
        path + ("?" + urlencode(asked) if asked else "") for path, all in _FILTERS.items() for asked in all
    ]
    for state in ("to-label", "to-review", "done", "waiting"):
        found.append(f"/v1/images?batch_id={batches[0]['batch_id']}&state={state}")
    found += [f"/v1/batches/{batches[0]['batch_id']}", f"/v1/batches/{batches[-1]['batch_id']}"]
    for path in [path for path, filters in _FILTERS.items() if filters]:
        if cursor := registry.get(path).json().get("next_cursor"):
            found.append(f"{path}?{urlencode({'cursor': cursor})}")
    return found


def pages(registry: httpx.Client) -> list[str]:
    """The console's list pages with their filters."""
    batches = registry.get("/v1/batches", params={"open": "true"}).json()["items"]
    return [
        *_PAGES,
        f"/quality/work/{batches[0]['batch_id']}",
        f"/quality/work/{batches[0]['batch_id']}?state=to-review",
    ]


def milliseconds(client: httpx.Client, paths: list[str]) -> dict[str, dict[str, float]]:
    """p50 and p95 of each path, asked for in turn by one client; slowest first. Raises when an answer is none."""
    taken: dict[str, list[float]] = {path: [] for path in paths}
    for turn in range(WARM_UP + ROUNDS):
        for path in paths:
            began = time.perf_counter()
            answer = client.get(path)
            seconds = time.perf_counter() - began
            assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:300]}"
            if turn >= WARM_UP:
                taken[path].append(1e3 * seconds)
    found = {
        path: {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (50, 95)}
        for path, values in taken.items()
    }
    return dict(sorted(found.items(), key=lambda item: -item[1]["p95"]))
