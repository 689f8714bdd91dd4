"""How a demo is run: what the person asked for, and what follows from it for the services' settings. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

from andon_demo.parts import GOOD
from andon_demo.people import QA_OWNER
from andon_demo.scenario import Plan

TRAINING_SHARE = 0.3
TAKT_MS = 1500
POLICY, TAXONOMY, CLEARER_TAXONOMY = "demo-1", "demo-1", "demo-2"
MODEL_TIMEOUT_MS = 60_000
MES_TIMEOUT_S = 2.0
MES_SILENCE_S = 3.0
STALL_S = 6.0
ROOM = 24
"""So many captures may be on their way undecided before the cameras wait, when they send as fast as it goes.
"""

OWNERS = {
    "data-lead": "d.okafor",
    "ml-lead": "m.ricci",
    "mlops-owner": "o.haddad",
    "engineering-owner": "e.berg",
    "operations-owner": "p.silva",
    "qa-owner": QA_OWNER,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person asked for.

    Attributes:
        data: "elpv" or a folder.
        images: Images to send; None for all that are not trained on.
        rate: Images a second; None for as fast as captures are decided.
        out: Where the reports go.
    """

    data: str = "elpv"
    images: int | None = None
    rate: float | None = None
    seed: int = 7
    out: Path = Path("build/demo")
    instance: str = "demo"
    keep: bool = False

    @property
    def is_whole(self) -> bool:
        """All of the demo's own images, as fast as it goes: everything that is played in has its room."""
        return (self.data, self.images, self.rate) == ("elpv", None, None)


@dataclass(frozen=True, slots=True)
class Windows:
    """The demo plays in a minute what a plant sees in days, so the rules of the signals look at shorter
    spans.

    Attributes:
        window_s: Tumbling window of the share rules and of decision times.
        drift_reference, drift_recent: Captures that make a station's baseline, and that are held against it.
        slow_samples: Decisions before their 95th percentile is believed.
        share_samples: Before a share is believed.
    """

    window_s: float = 30.0
    drift_reference: int = 45
    drift_recent: int = 20
    slow_samples: int = 25
    share_samples: int = 8
    share_hits: int = 3

    def scaled(self, captures: int) -> Windows:
        """For a stream of so many captures at each station."""
        return replace(
            self,
            drift_reference=max(4, min(self.drift_reference, round(0.1 * captures))),
            drift_recent=max(4, min(self.drift_recent, round(0.07 * captures))),
            slow_samples=max(5, min(self.slow_samples, captures // 6)),
            share_samples=max(4, min(self.share_samples, captures // 8)),
        )


def windows_for(plan: Plan) -> Windows:
    """The windows that fit a plan."""
    return Windows().scaled(len(plan.shots) // len(plan.stations))


def service_settings(windows: Windows, mes_url: str, release_key: Path) -> dict[str, dict[str, str]]:
    """Environment by service, where the demo differs from the usual."""
    return {
        "inference": {"ANDON_RELEASE_KEY": str(release_key)},
        "mes-bridge": {
            "ANDON_MES_ENDPOINTS": json.dumps({"mes": {"url": mes_url, "concurrency": 4}}),
            "ANDON_MES_TIMEOUT_S": str(MES_TIMEOUT_S),
            "ANDON_MES_RETRY_FIRST_S": "0.3",
            "ANDON_MES_RETRY_MOST_S": "3",
        },
        "dataset-registry": {
            "ANDON_OWNERS": json.dumps(OWNERS),
        },
        "feedback-collector": {
            "ANDON_WINDOW_S": str(windows.window_s),
            "ANDON_KEEP_WINDOWS": "6",
            "ANDON_DRIFT_REFERENCE": str(windows.drift_reference),
            "ANDON_DRIFT_RECENT": str(windows.drift_recent),
            "ANDON_SLOW_SAMPLES": str(windows.slow_samples),
            "ANDON_SHARE_SAMPLES": str(windows.share_samples),
            "ANDON_SHARE_HITS": str(windows.share_hits),
        },
    }


def taxonomy(defects: list[str], *, clearer: bool = False) -> dict[str, object]:
    """The classes of the demo; the second version is what clearing up a disagreement gives."""
    how = "; when in doubt, ask for a second look" if clearer else ""
    classes = [
        {
            "name": name,
            "severity": "major",
            "definition": f"Visible {name.replace('-', ' ')}{how}",
            "is_defect": True,
        }
        for name in defects
    ]
    good = {
        "name": GOOD,
        "severity": "monitor-only",
        "definition": "No defect to be seen",
        "is_defect": False,
    }
    return {"classes": [*classes, good], "published_by": QA_OWNER}


def policy(pass_below: float, reject_from: float) -> dict[str, object]:
    """How scores become dispositions in the demo: the release's own thresholds for every severity."""
    return {
        "scope": {},
        "bands": [
            {
                "severity": severity,
                "pass_below": pass_below,
                "reject_from": reject_from,
                "reject_as": "reject",
            }
            for severity in ("critical", "major", "minor")
        ],
        "on_audit_reject": "hold",
        "on_unvalidated_variant": "route-to-reviewer",
        "model_timeout_ms": MODEL_TIMEOUT_MS,
        "on_model_timeout": "route-to-reviewer",
        "on_late_result": "ignore",
        "review_due_s": 1800,
        "on_review_overdue": "hold",
        "second_answer_share": 0.4,
        "published_by": QA_OWNER,
    }
