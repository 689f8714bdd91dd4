"""Do the books balance? Every image sent must be found again at every step, once, and every step is counted
apart.

Three independent sources are compared: what capture-ingest answered over HTTP, what lies on the topics, and
what the MES wrote down. Pure: facts in, lines out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

Ids = Mapping[str, int]
"""How often each id was seen."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was counted, by whom.

    Attributes:
        sent: Images the cameras sent, retries of the same trigger not counted.
        accepted: capture_ids that capture-ingest answered 201 for, and how often; also 200 where no 201 arrived.
        refused: Refusals by reason.
        unanswered: Uploads that never got a final answer.
        recorded, audited, decided: capture_ids on the topics; decided counts revision-1 dispositions.
        inferable: capture_ids the audit accepted.
        inferred: capture_ids with an inference that is not a shadow.
        dispositions: disposition_ids of all revisions.
        kept: disposition_ids the MES has in its book, and under how many idempotency keys.
        acknowledged: disposition_ids whose delivery the MES acknowledged, and how often.
        confirmed: disposition_ids that mes-bridge says were delivered.
        turned_away: Webhooks the MES refused, by reason.
        reviews_requested, reviews_completed: review_ids.
        reviews_corrected: review_ids named by a correction.
        signals: signal_ids by kind.
        actions: signal_ids that an action was opened for, and how many.
        actions_opened, actions_settled: action_ids; settled is what was closed, or left open for a named reason.
        expected_signals: Kinds whose cause was played in and seen to happen.
        findings_sent, findings_received: capture_ids the MES reported about.
        dead_letters: Messages that a service gave up on.
        repeated_entities: Things that must exist once and came under two event ids, by topic.
    """

    sent: int
    accepted: Ids
    refused: Mapping[str, int]
    unanswered: int
    recorded: Ids
    audited: Ids
    inferable: Set[str]
    inferred: Ids
    decided: Ids
    dispositions: Ids
    kept: Ids
    acknowledged: Ids
    confirmed: Ids
    turned_away: Mapping[str, int] = field(default_factory=dict)
    reviews_requested: Set[str] = frozenset()
    reviews_completed: Set[str] = frozenset()
    reviews_corrected: Set[str] = frozenset()
    signals: Mapping[str, Set[str]] = field(default_factory=dict)
    actions: Ids = field(default_factory=dict)
    actions_opened: Set[str] = frozenset()
    actions_settled: Ids = field(default_factory=dict)
    expected_signals: Set[str] = frozenset()
    findings_sent: Ids = field(default_factory=dict)
    findings_received: Ids = field(default_factory=dict)
    dead_letters: Sequence[str] = ()
    repeated_entities: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the books: two figures that must be the same.

    Attributes:
        lost: Ids on the left that the right lacks.
        duplicated: Ids that either side has more than once.
        unexpected: Ids on the right that the left does not know.
    """

    title: str
    left: int
    right: int
    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    note: str = ""

    @property
    def balanced(self) -> bool:
        return self.left == self.right and not (self.lost or self.duplicated or self.unexpected)


@dataclass(frozen=True, slots=True)
class Books:
    """All lines, and the two sums that the report gives.

    Attributes:
        lost: Captures that went missing at any step.
        duplicated: Captures or dispositions that appear more than once at any step.
    """

    lines: tuple[Line, ...]
    lost: int
    duplicated: int

    @property
    def balanced(self) -> bool:
        return all(line.balanced for line in self.lines)


def balance(facts: Facts) -> Books:
    """Compare everything with everything that must equal it."""
    accepted = set(facts.accepted)
    chain = [
        _match("accepted over HTTP = recorded on the topic", facts.accepted, facts.recorded),
        _match("recorded = audited", facts.recorded, facts.audited),
        _match(
            "accepted by the audit = scored by the model", dict.fromkeys(facts.inferable, 1), facts.inferred
        ),
        _match("audited = first dispositions", facts.audited, facts.decided),
    ]
    deliveries = [
        _match("dispositions = in the MES book, by idempotency key", facts.dispositions, facts.kept),
        _match("dispositions = acknowledged by the MES, each once", facts.dispositions, facts.acknowledged),
        _match("dispositions = confirmed on mes.delivered", facts.dispositions, facts.confirmed),
    ]
    signal_ids = {signal for ids in facts.signals.values() for signal in ids}
    lines = [
        _sum(
            "images sent = accepted + refused",
            facts.sent,
            sum(facts.accepted.values()) + sum(facts.refused.values()),
            f"{facts.unanswered} uploads without an answer" if facts.unanswered else "",
        ),
        *chain,
        *deliveries,
        _sum("webhooks with a bad signature", 0, sum(facts.turned_away.values())),
        _match(
            "reviews requested = completed", _once(facts.reviews_requested), _once(facts.reviews_completed)
        ),
        _match(
            "reviews completed = corrections", _once(facts.reviews_completed), _once(facts.reviews_corrected)
        ),
        _match("signals = actions opened", _once(signal_ids), facts.actions),
        _match(
            "actions opened = closed + left open for a named reason",
            _once(facts.actions_opened),
            facts.actions_settled,
        ),
        _expected(facts),
        _match("findings sent by the MES = received", facts.findings_sent, facts.findings_received),
        _sum("dead letters", 0, len(facts.dead_letters), ", ".join(sorted(set(facts.dead_letters)))),
        _sum(
            "things that came twice",
            0,
            sum(facts.repeated_entities.values()),
            _named(facts.repeated_entities),
        ),
    ]
    lost = set().union(*(line.lost for line in chain)) | (accepted - set(facts.decided))
    undelivered = set().union(*(line.lost for line in deliveries))
    twice = set().union(*(line.duplicated for line in chain)) | {
        i for i, n in facts.accepted.items() if n > 1
    }
    delivered_twice = set().union(*(line.duplicated for line in deliveries))
    return Books(tuple(lines), len(lost) + len(undelivered), len(twice) + len(delivered_twice))


def _once(ids: Iterable[str]) -> Ids:
    return dict.fromkeys(ids, 1)


def _match(title: str, left: Ids, right: Ids) -> Line:
    """Each id of the left exactly once on the right, and nothing else there."""
    return Line(
        title=title,
        left=len(left),
        right=sum(right.values()),
        lost=tuple(sorted(set(left) - set(right))),
        duplicated=tuple(sorted({i for ids in (left, right) for i, times in ids.items() if times > 1})),
        unexpected=tuple(sorted(set(right) - set(left))),
    )


def _sum(title: str, left: int, right: int, note: str = "") -> Line:
    return Line(title=title, left=left, right=right, note=note)


def _expected(facts: Facts) -> Line:
    raised = {kind for kind, ids in facts.signals.items() if ids}
    missing = facts.expected_signals - raised
    return Line(
        title="signal kinds expected = raised",
        left=len(facts.expected_signals),
        right=len(facts.expected_signals & raised),
        lost=tuple(sorted(missing)),
    )


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()) if count)


def count(ids: Iterable[str]) -> Ids:
    """How often each id occurs."""
    return Counter(ids)
