"""Taxonomies: drafted by one person or several, compared with the version in force, published with a decision about the
old labels of each class that is affected, and the relabel work queued in the same transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from andon_chassis.clock import Clock
from andon_chassis.events import Event, event
from andon_events import records as r

from dataset_registry.domain import severity
from dataset_registry.domain.refusals import conflict, invalid, stale, unknown
from dataset_registry.domain.taxonomy_changes import RELABEL, Comparison, Decision, check_decisions, diff
from dataset_registry.domain.taxonomy_document import (
    Document,
    Flaw,
    document_of,
    example_flaws,
    flaws,
    without_lineage,
)
from dataset_registry.domain.taxonomy_history import fate
from dataset_registry.handlers.facts import SOURCE
from dataset_registry.ports import Reference, Row
from dataset_registry.ports_taxonomy import Queued, Taxonomies

Emit = Callable[[Sequence[Event[Any]]], None]

OPEN, PUBLISHED, DISCARDED = "open", "published", "discarded"
RESERVED = ("in-force",)
"""No version has a name that an address means something else by."""

_DRAFT_ADVICE = "look at GET /v1/taxonomy-drafts."
_VERSION_ADVICE = "look at GET /v1/taxonomies."
_LEFT_TO_PEOPLE = ("definition-missing",)
"""Asked of a draft; documents that are put as a whole may go without, as they always could."""


@dataclass(frozen=True, slots=True)
class Publication:
    """How a draft is to be published."""

    version: str
    decisions: tuple[Decision, ...]
    note: str
    by: str


def publish(store: Reference, emit: Emit, version: str, document: Row, by: str, clock: Clock) -> bool:
    """Put a taxonomy in force; False when it was published before. Raises Refused."""
    if version in RESERVED:
        raise invalid("version-reserved", f"No taxonomy can be called {version}; choose another name.")
    published = store.taxonomy_document(version)
    if published is not None:
        if document_of(published) != document_of(document):
            raise conflict(
                "version-taken",
                f"The taxonomy {version} is published with other content; give the change a version of its own.",
            )
        return False
    now = clock.now()
    store.publish_taxonomy(version, document, by, now)
    data = r.TaxonomyPublished(
        taxonomy_version=version,
        classes=[r.TaxonomyClass.from_avro(c) for c in document["classes"]],
        rules=list(document_of(document).rules),
        published_by=by,
        published_at=now,
    )
    emit([event(data, source=SOURCE, key="taxonomy", time=now, cause=version)])
    return True


def put(
    store: Taxonomies, reference: Reference, emit: Emit, version: str, document: Row, by: str, clock: Clock
) -> bool:
    """Put a taxonomy in force that was not drafted here; False when it was published before. Raises Refused."""
    store.lock_taxonomies()
    if store.taxonomy_version(version) is None:
        _refuse([flaw for flaw in _flaws(store, document) if flaw.code not in _LEFT_TO_PEOPLE])
    return publish(reference, emit, version, document, by, clock)


def begin_draft(store: Taxonomies, title: str, document: Row | None, by: str, now: datetime) -> str:
    """Begin a draft, from the version in force unless a document is given; gives its id."""
    current = store.taxonomy_in_force()
    start = without_lineage(current["document"]) if current else {"classes": [], "rules": []}
    draft_id = str(uuid.uuid4())
    store.add_draft(
        {
            "draft_id": draft_id,
            "title": title,
            "document": document or start,
            "based_on": current and current["version"],
            "authors": [by],
            "created_at": now,
            "updated_at": now,
        }
    )
    return draft_id


def save_draft(store: Taxonomies, draft_id: str, known: int, changes: Row, by: str, now: datetime) -> None:
    """Save a draft; who saves becomes one of its authors. Raises Refused.

    Args:
        known: Version that the changes were made in.
        changes: document; and title or based_on where they change.
    """
    draft = _locked(store, draft_id, known)
    authors = list(dict.fromkeys((*draft["authors"], by)))
    store.save_draft(draft_id, changes | {"authors": authors, "updated_at": now})


def discard_draft(store: Taxonomies, draft_id: str, known: int, now: datetime) -> None:
    """Put a draft away for good. Raises Refused."""
    _locked(store, draft_id, known)
    store.save_draft(draft_id, {"state": DISCARDED, "updated_at": now})


def draft_flaws(store: Taxonomies, document: Row) -> list[Flaw]:
    """All that is missing or wrong in a draft; what is blocking keeps it from being published."""
    return _flaws(store, document)


def compare_draft(store: Taxonomies, draft: Row) -> Row:
    """A draft beside the version in force."""
    current = store.taxonomy_in_force()
    return _compared(store, current, {"version": None, "document": draft["document"]})


def compare(store: Taxonomies, version: str, other: str | None) -> Row:
    """A version beside another one, or beside the one before it. Raises Refused."""
    new = _version(store, version)
    name = other or new["previous"]
    return _compared(store, _version(store, name) if name else None, new)


def publish_draft(
    store: Taxonomies,
    reference: Reference,
    emit: Emit,
    draft_id: str,
    known: int,
    publication: Publication,
    clock: Clock,
) -> Queued:
    """Publish a draft and queue the relabel work that was decided. Raises Refused."""
    draft = _locked(store, draft_id, known)
    store.lock_taxonomies()
    current = store.taxonomy_in_force()
    previous = current and current["version"]
    if previous != draft["based_on"]:
        raise conflict(
            "draft-outdated",
            f"{previous} came into force since this draft was begun; compare them again, and save it with"
            f" based_on {previous}.",
        )
    _refuse(_flaws(store, draft["document"]))
    comparison = _difference(current, draft["document"])
    affected = [item.class_name for item in comparison.affected]
    relabel = check_decisions(comparison, publication.decisions, store.labelled(affected))
    if not publish(reference, emit, publication.version, draft["document"], publication.by, clock):
        raise conflict("version-taken", f"{publication.version} is published; give the change another name.")
    now = clock.now()
    queued = Queued(None, 0)
    if relabel:
        queued = store.queue_relabel(publication.version, relabel, publication.by, now)
    store.record_publication(
        {
            "version": publication.version,
            "previous": previous,
            "draft_id": draft_id,
            "affected": [item._asdict() for item in comparison.affected],
            "decisions": [decision._asdict() for decision in publication.decisions],
            "batch_id": queued.batch_id,
            "images": queued.images,
            "note": publication.note,
        }
    )
    done = {"state": PUBLISHED, "published_version": publication.version, "updated_at": now}
    store.save_draft(draft_id, done)
    return queued


def queue_relabel(store: Taxonomies, version: str, by: str, now: datetime) -> Queued:
    """Queue what came in under earlier versions since a taxonomy was published: work that was open then. Raises
    Refused."""
    store.lock_taxonomies()
    publication = _version(store, version)["publication"]
    decisions = publication["decisions"] if publication else []
    classes = [decision["class_name"] for decision in decisions if decision["relabel"] == RELABEL]
    if not classes:
        raise conflict("nothing-to-relabel", f"Nobody decided that labels are redone for taxonomy {version}.")
    return store.queue_relabel(version, classes, by, now)


def severity_of(
    store: Taxonomies, version: str, case: severity.Case
) -> tuple[severity.Settled, severity.Settled]:
    """Severity and disposition of a class in a case, by one version. Raises Refused."""
    document = document_of(_version(store, version)["document"])
    entry = document.by_name().get(case.class_name)
    if entry is None:
        known = ", ".join(document.by_name())
        raise unknown("class", case.class_name, f"taxonomy {version} has {known}.")
    return severity.settle(document, entry, case)


def effective(store: Taxonomies, label_id: str) -> Row:
    """The taxonomy that a label was made under - the version it names, or the one in force at its time - and what its
    classes are called today. Raises Refused."""
    label = store.label(label_id)
    if label is None:
        raise unknown("label", label_id, "look at GET /v1/labels and GET /v1/images.")
    version = label["taxonomy_version"]
    if version is None:
        current = store.taxonomy_in_force(label["made_at"])
        version = current and current["version"]
    versions = store.taxonomies_since(version) if version else []
    entries = versions[0]["document"]["classes"] if versions else []
    named = list(dict.fromkeys(label["classes"]))
    since = fate(named, [(row["version"], document_of(row["document"])) for row in versions])
    return label | {
        "classes": named,
        "taxonomy_version": version,
        "entries": [entry for entry in entries if entry["name"] in named],
        "since": [step._asdict() for step in since.steps],
        "today": since.today,
    }


def _locked(store: Taxonomies, draft_id: str, known: int) -> Row:
    draft = store.lock_draft(draft_id)
    if draft is None:
        raise unknown("draft", draft_id, _DRAFT_ADVICE)
    if draft["state"] != OPEN:
        raise conflict("draft-closed", f"This draft is {draft['state']}; begin another one.")
    if draft["version"] != known:
        raise stale(
            "draft-changed",
            f"{draft['authors'][-1]} or somebody else saved it since; read it again and put your changes in.",
            version=draft["version"],
        )
    return draft


def _version(store: Taxonomies, version: str) -> Row:
    row = store.taxonomy_version(version)
    if row is None:
        raise unknown("taxonomy", version, _VERSION_ADVICE)
    return row


def _flaws(store: Taxonomies, document: Row) -> list[Flaw]:
    current, new = store.taxonomy_in_force(), document_of(document)
    found = flaws(new, document_of(current["document"]) if current else None)
    return [*found, *example_flaws(new, store.images_known(new.example_images))]


def _refuse(found: Sequence[Flaw]) -> None:
    blocking = [flaw for flaw in found if flaw.blocking]
    if blocking:
        advice = " ".join(f"{flaw.where}: {flaw.what}" for flaw in blocking[:10])
        raise invalid("taxonomy-not-sound", advice)


def _difference(current: Row | None, document: Row) -> Comparison:
    old = document_of(current["document"]) if current else Document()
    return diff(old, document_of(document))


def _compared(store: Taxonomies, old: Row | None, new: Row) -> Row:
    comparison = _difference(old, new["document"])
    labels = store.labelled([item.class_name for item in comparison.affected])
    return {
        "old_version": old and old["version"],
        "new_version": new["version"],
        "pairs": [
            {
                "before": pair.before and asdict(pair.before),
                "after": pair.after and asdict(pair.after),
                "kinds": pair.kinds,
            }
            for pair in comparison.pairs
        ],
        "changes": [asdict(change) for change in comparison.changes],
        "affected": [
            item._asdict() | {"labels": labels.get(item.class_name, 0)} for item in comparison.affected
        ],
    }
