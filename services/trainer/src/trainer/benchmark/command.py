"""`trainer models`: measures the rows of the table and writes the report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from andon_chassis.errors import Invalid
from andon_vision import Preprocessing

from trainer.adapters.backbone import BackboneMissing, write_backbone
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.rich_backbone import write_rich_backbone
from trainer.adapters.whole_files import written_whole
from trainer.benchmark.measuring import measure
from trainer.benchmark.report import plain, summary, write
from trainer.benchmark.rows import ROWS
from trainer.benchmark.table import Bench, DataMissing, Extractors, Measured, Report, TableRow
from trainer.ports import Extractor


def run(
    out: Path,
    data: Path,
    only: Sequence[str],
    report: Report,
    progress: Callable[[int], None],
    rows: Sequence[TableRow] = ROWS,
) -> str:
    """Measures the rows (all, or those named), writes report.json and report.html, returns the table as text.

    A row whose data are absent is named in the report and left out. Raises `Invalid` for an unknown name.
    """
    unknown = set(only) - {row.name for row in rows}
    if unknown:
        known = ", ".join(row.name for row in rows)
        raise Invalid("unknown-row", f"no row is called {', '.join(sorted(unknown))}; there are {known}")
    work = out / "work"
    cache_file = FeatureCache(work / "features.sqlite")
    bench = Bench(data, work, _extractors(work, cache_file, progress), report)
    measured: list[Measured] = []
    skipped: dict[str, str] = {}
    for row in rows:
        if only and row.name not in only:
            continue
        try:
            measured.append(measure(row, bench))
        except (DataMissing, BackboneMissing) as error:
            skipped[row.name] = str(error)
            report(f"{row.name}: not measured: {error}")
            continue
        # After each row, so that a run that is stopped leaves what it has.
        write(out, measured, skipped, _command(data, only))
    cache_file.close()
    files = write(out, measured, skipped, _command(data, only))
    return "\n".join([plain(summary(measured, skipped)), "", *map(str, files)])


def _command(data: Path, only: Sequence[str]) -> str:
    chosen = "".join(f" --only {shlex.quote(name)}" for name in only)
    return f"python -m trainer models --data {shlex.quote(str(data))}{chosen}"


def _extractors(work: Path, features: FeatureCache, progress: Callable[[int], None]) -> Extractors:
    """One extractor for each preprocessing and backbone, which is written when it is first asked for."""

    @cache
    def made(preprocessing: Preprocessing, rich: str | None = None) -> Extractor:
        write = write_backbone if rich is None else partial(write_rich_backbone, module=rich)
        return FeatureExtractor(written_whole(write, work), preprocessing, features, progress=progress)

    return made
