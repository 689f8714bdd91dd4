"""People and their roles, in words."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping

ROLES: Mapping[str, tuple[str, str]] = {
    "labeler": ("Labeler", "labels images"),
    "reviewer": ("Reviewer", "answers reviews, approves and sends back labels"),
    "qa-owner": ("QA owner", "ends disputes, publishes the guide, locks standards, accepts releases"),
    "data-lead": ("Data lead", "makes batches and dataset versions, imports and exports"),
    "ml-lead": ("ML lead", "cuts and evaluates versions, reads the holdout"),
    "operator": ("Operator", "watches the line, closes actions"),
    "engineer": ("Engineer", "sets up stations, closes actions"),
    "mlops": ("MLOps", "promotes and withdraws releases"),
    "admin": ("Admin", "sees to accounts and the audit trail"),
}
"""By role, its title and its duty."""

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""Nothing that looks like something else."""


def titles(roles: Collection[str]) -> str:
    """Roles as a person would list them, in the order of ROLES; what is not known is named as it is."""
    known = [title for role, (title, _) in ROLES.items() if role in roles]
    return ", ".join([*known, *sorted(set(roles) - set(ROLES))]) or "no role"


def first_password() -> str:
    """One that nobody guesses, in groups that can be read out: 79 bits."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))
    return "-".join(groups)
