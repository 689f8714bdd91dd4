"""Labels that cannot both be right: refused where the image is the same, reported where it is nearly the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from trainer.domain.evaluation import near_pairs
from trainer.domain.snapshot import Row, SnapshotError

NAMED = 3  # a message names so many images or pairs, and counts the rest


def check_labels(rows: Sequence[Row], contents: Sequence[str]) -> None:
    """Raises `SnapshotError` when rows of the same content (the hash of an image's bytes) carry different labels."""
    told: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row, content in zip(rows, contents, strict=True):
        told[content][_label(row)].append(row.id)
    torn = [labels for labels in told.values() if len(labels) > 1]
    if torn:
        named = "; ".join(
            ", ".join(f"{ids[0]} is {label}" for label, ids in sorted(labels.items()))
            for labels in torn[:NAMED]
        )
        rest = f"; and {len(torn) - NAMED} more" if len(torn) > NAMED else ""
        raise SnapshotError(
            f"the very same image is labelled differently: {named}{rest}. Decide what each shows and give it one row, "
            "with all of its defect classes"
        )


def doubtful_labels(rows: Sequence[Row], hashes: Sequence[int], bits: int) -> str:
    """A sentence about near-duplicates of which one is good and one is not; empty where there are none.

    They may be right: a small defect leaves the perceptual hash as it is, which is why nothing is refused. A picture
    and its own template are meant to differ.
    """
    pairs = [
        (int(hashes[one] ^ hashes[other]).bit_count(), rows[one].id, rows[other].id)
        for one, other in near_pairs(hashes, bits)
        if rows[one].is_defect != rows[other].is_defect and not _are_compared(rows[one], rows[other])
    ]
    if not pairs:
        return ""
    named = "; ".join(f"{one} and {other}" for _, one, other in sorted(pairs)[:NAMED])
    return (
        f"{len(pairs)} pairs of near-duplicate images are labelled both good and defective; the closest are {named}. "
        "They stay together in every split. Look at them: where the defect is not plain to see, a label may be wrong"
    )


def _label(row: Row) -> str:
    return "+".join(sorted(row.classes)) if row.is_defect else "good"


def _are_compared(one: Row, other: Row) -> bool:
    return one.image == other.template or other.image == one.template
