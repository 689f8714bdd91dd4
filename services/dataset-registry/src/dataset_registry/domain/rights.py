"""Who may do what: one table. What does not stand in it nobody may do.

An operation is named as in the contract (operationId). Where one route does several things, the field of its body
that says which is part of the name: "review_task decide".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from dataset_registry.domain.accounts import Principal, Role
from dataset_registry.domain.refusals import forbidden

_EVERYBODY = frozenset(Role)
_LABELERS = frozenset({Role.LABELER, Role.REVIEWER, Role.QA_OWNER})
_REVIEWERS = frozenset({Role.REVIEWER, Role.QA_OWNER})
_QA_OWNERS = frozenset({Role.QA_OWNER})
_DATA = frozenset({Role.QA_OWNER, Role.DATA_LEAD})
_LEADS = _DATA | {Role.ML_LEAD}
_MLOPS = frozenset({Role.MLOPS})
_ADMINS = frozenset({Role.ADMIN})

OPEN = frozenset({"sign_in"})
"""For whoever is not signed in yet."""

OWN = frozenset({"read_session", "sign_out", "set_password", "list_tokens", "make_token", "revoke_token"})
"""For everybody who is signed in, with any role or none: these concern themselves, and who else is told there."""

QUALIFIERS = {"take_next_task": "kind", "review_task": "decision"}
"""By operation, the field that says what it does."""

_READING = """
    list_actions read_action read_agreement list_ambiguous list_batches read_batch list_captures read_capture
    read_heat_map read_image list_snapshots read_snapshot list_holdout_readings read_leakage read_manifest
    diff_datasets read_readiness list_deployments list_evaluation_batches read_permission
    read_evaluation_batch list_export_losses list_images read_image_tiles read_image_tile read_capture_tiles
    read_capture_tile read_labeled_image read_picture list_imports read_import list_import_problems
    list_labels read_taxonomy_of_label read_lines read_people list_policies list_releases read_release
    read_card read_report list_reviews read_review list_stations count_deviations list_station_versions
    list_taxonomies read_taxonomy_in_force read_taxonomy compare_taxonomies explain_severity list_drafts
    read_draft compare_draft
"""

RIGHTS: Mapping[str, frozenset[Role]] = {
    **dict.fromkeys(_READING.split(), _EVERYBODY),
    # what people say about images
    "answer_review": _REVIEWERS,
    "adjudicate_review": _QA_OWNERS,
    "take_next_task label": _LABELERS,
    "take_next_task review": _REVIEWERS,
    "take_next_task adjudicate": _QA_OWNERS,
    "read_task": _LABELERS,
    "save_draft": _LABELERS,
    "release_task": _LABELERS,
    "annotate": _LABELERS,
    "review_task approve": _REVIEWERS,
    "review_task send-back": _REVIEWERS,
    "review_task decide": _QA_OWNERS,
    # work and its results
    "open_batch": _DATA,
    "add_batch_images": _DATA,
    "close_batch": _DATA,
    "read_gold_scores": _LEADS,
    "import_labels": _DATA,
    "import_archive": _DATA,
    "import_object": _DATA,
    "export_labels": _LEADS,
    "close_action": _LEADS | _MLOPS | {Role.ENGINEER, Role.OPERATOR},
    # the guide and the standards
    "begin_draft": _DATA,
    "save_taxonomy_draft": _DATA,
    "discard_draft": _DATA,
    "publish_draft": _QA_OWNERS,
    "put_taxonomy": _QA_OWNERS,
    "queue_relabel": _DATA,
    "put_station": _QA_OWNERS | {Role.ENGINEER},
    "lock_standard": _QA_OWNERS,
    "put_policy": _QA_OWNERS,
    # data for training and evaluation
    "make_snapshot": _LEADS,
    "check_leakage": _LEADS,
    "mark_segments": _DATA,
    "read_holdout": frozenset({Role.QA_OWNER, Role.ML_LEAD}),
    "make_evaluation_batch": _LEADS,
    "add_evaluation_images": _LEADS,
    "decide_evaluation_batch": frozenset({Role.QA_OWNER, Role.ML_LEAD}),
    # what decides on the line
    "promote_release": _MLOPS,
    "roll_back_release": _MLOPS,
    # who did what, and who may
    "list_audit_entries": _DATA | {Role.ADMIN},
    "verify_audit_trail": _DATA | {Role.ADMIN},
    "list_accounts": _ADMINS,
    "create_account": _ADMINS,
    "read_account": _ADMINS,
    "change_account": _ADMINS,
}


def rights_of(roles: Collection[Role]) -> list[str]:
    """All that somebody with these roles may do, by name."""
    return sorted({*OWN, *(name for name, may in RIGHTS.items() if not may.isdisjoint(roles))})


def check(operation: str, principal: Principal) -> None:
    """Raises Refused when they may not."""
    may = RIGHTS.get(operation, frozenset())
    if operation not in OWN and may.isdisjoint(principal.roles):
        allowed = ", ".join(role for role in Role if role in may)
        raise forbidden(
            "role-missing",
            f"{principal.name} may not do this; it is for {_roles(may)}. An admin gives roles.",
            roles=allowed.split(", ") if allowed else [],
        )


def check_name(field: str, given: str, principal: Principal) -> None:
    """Raises Refused when a request says that somebody else sent it."""
    if given != principal.name:
        raise forbidden(
            "not-your-name",
            f"{field} says {given}, but {principal.name} is signed in: name yourself or leave it out.",
        )


def _roles(may: Collection[Role]) -> str:
    if set(may) == set(Role):
        return "anybody who has a role"
    return " or ".join(role for role in Role if role in may) or "nobody"
