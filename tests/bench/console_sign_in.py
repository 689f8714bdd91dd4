"""Who works in the bench's registry: fifty who label and review, and one who may do everything; each with a session."""

from __future__ import annotations

import json
import subprocess
import sys

import httpx
from andon_local import runtime

OWNER = "bench"
CREW = tuple(f"person-{number:02}" for number in range(1, 51))
_PASSWORD = "correct horse battery staple"
_ALL = ("labeler", "reviewer", "qa-owner", "data-lead", "ml-lead", "operator", "engineer", "mlops", "admin")


def tokens(instance: runtime.Instance) -> dict[str, str]:
    """Make their accounts, and sign them in; tokens by name."""
    roles = {name: ["labeler", "reviewer"] for name in CREW} | {OWNER: list(_ALL)}
    wanted = [
        {"name": name, "display_name": name, "roles": theirs, "password": _PASSWORD}
        for name, theirs in roles.items()
    ]
    command = [sys.executable, "-m", "dataset_registry.accounts", "provision"]
    told = instance.service_env("dataset-registry")
    subprocess.run(command, input=json.dumps(wanted), text=True, check=True, env=told)
    with httpx.Client(base_url=instance.endpoints.http("dataset-registry"), timeout=60) as registry:
        return {name: _signed_in(registry, name) for name in roles}


def bearer(token: str) -> dict[str, str]:
    """The header that lets its owner in."""
    return {"Authorization": f"Bearer {token}"}


def _signed_in(registry: httpx.Client, name: str) -> str:
    answer = registry.post("/v1/sessions", json={"name": name, "password": _PASSWORD})
    assert answer.status_code == 201, answer.text
    token: str = answer.json()["token"]
    return token
