"""What ``labels`` and ``classes`` show: tables for people where there are few rows, else CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, listing, percent, text
from dalcli.config.words import counted
from dalcli.data.table import csv_text
from dalcli.formats.cells import guarded

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.commands.labels import DisputedResult, SuspectsResult
    from dalcli.labels.annotators import Comparison
    from dalcli.labels.class_list import ClassList
    from dalcli.labels.look import Log, SampleLabels


def sample(result: SampleLabels) -> str:
    lines: list[tuple[str, object]] = [
        ("sample", result.sample_id),
        ("path", result.path),
        ("purpose", result.purpose),
        ("state", result.state),
        ("label", result.label),
    ]
    if result.confidence is not None:
        lines.append(("consensus", f"{result.leading} ({percent(result.confidence)})"))
    parts: list[RenderableType] = [facts(lines)]
    if result.votes:
        rows = (
            (
                v.recorded_at,
                v.annotator or "-",
                v.label or "skipped",
                "yes" if v.counts else "no",
                _place(v.file, v.line),
            )
            for v in result.votes
        )
        parts += ["", listing(("recorded at", "annotator", "label", "counts", "from"), rows)]
    if result.by_models:
        said = (
            (v.recorded_at, v.annotator, v.label, percent(v.confidence), "yes" if v.counts else "no", v.reason)
            for v in result.by_models
        )
        parts += ["", listing(("recorded at", "model", "label", "confidence", "counts", "withdrawn"), said)]
    if result.batches:
        again = ((b.batch_id, b.rank, b.state, "yes" if b.relabel else "no") for b in result.batches)
        parts += ["", listing(("batch", "rank", "state", "another look"), again)]
    return text(*parts)


def _place(file: str, line: int) -> str:
    return f"{file}:{line}" if line else file


def disputed(result: DisputedResult) -> str:
    header = ("sample_id", "path", "purpose", "votes", "leading", "confidence", "batch")
    rows = (
        (
            d.sample_id,
            d.path,
            d.purpose,
            "; ".join(f"{label}: {_names(who)}" for label, who in d.votes.items()),
            d.leading,
            d.confidence,
            d.batch,
        )
        for d in result.samples
    )
    return csv_text(header, _guarded(rows))


LOG = (
    "recorded_at", "event", "sample_id", "path", "label", "before", "annotator", "labeled_at", "seconds", "cost",
    "file", "line", "counts",
)  # fmt: skip


def log(result: Log) -> str:
    return csv_text(LOG, _guarded(sorted(_events(result), key=lambda row: str(row[0]))))


def _events(result: Log) -> Iterator[tuple[object, ...]]:
    """Sorting by time keeps the order of what was recorded in the same second."""
    for v in result.votes:
        yield (
            v.recorded_at,
            "skip" if v.label is None else "label",
            v.sample_id,
            v.path,
            v.label,
            v.before,
            v.annotator,
            v.labeled_at,
            v.seconds,
            v.cost,
            v.file,
            v.line or None,
            int(v.counts),
        )
    for m in result.by_models:
        yield (
            m.recorded_at, "auto-label", m.sample_id, m.path, m.label, None, m.annotator, *(None,) * 5, int(m.counts),
        )  # fmt: skip
    gone = {(m.withdrawn_at, m.annotator, m.reason) for m in result.by_models if m.withdrawn_at is not None}
    for at, annotator, reason in sorted(gone, key=str):
        yield (at, "auto-withdrawal", None, None, reason, None, annotator, *(None,) * 6)
    for e in result.classes:
        yield (e.recorded_at, e.kind, None, None, e.new_name, e.old_name, *(None,) * 7)


def annotators(result: Comparison) -> str:
    header = (
        "annotator", "labels", "skipped", "corrected", "shared", "agreement", "kappa", "with consensus", "seconds",
        "per hour", "cost", "per label",
    )  # fmt: skip
    rows = (
        (
            a.annotator or "-",
            a.labels,
            a.skipped,
            a.corrected,
            a.shared,
            percent(a.agreement),
            _two(a.kappa),
            percent(a.with_consensus),
            _two(a.seconds),
            None if a.per_hour is None else round(a.per_hour),
            _two(a.cost),
            a.cost_per_label,
        )
        for a in result.annotators
    )
    parts: list[RenderableType] = [listing(header, rows)]
    if result.pairs:
        pairs = ((p.one or "-", p.other or "-", p.shared, percent(p.agreement), _two(p.kappa)) for p in result.pairs)
        parts += ["", listing(("one", "other", "shared", "agreement", "kappa"), pairs)]
    return text(*parts)


def _names(annotators: Sequence[str]) -> str:
    return ", ".join(name or "-" for name in annotators)


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def suspects(result: SuspectsResult) -> str:
    header = ("sample_id", "path", "label", "probability", "suggested", "suggested_probability", "by", "looked_at")
    rows = (
        (
            s.sample_id,
            s.path,
            s.label,
            f"{s.probability:.6g}",
            s.suggested,
            f"{s.suggested_probability:.6g}",
            s.by,
            int(s.looked_at),
        )
        for s in result.suspects
    )
    return csv_text(header, _guarded(rows))


def classes(result: ClassList) -> str:
    rows = (
        (c.position, c.name, ", ".join(c.earlier_names) or None, c.part_of, None if c.part_of else c.labels)
        for c in result.classes
    )
    parts: list[RenderableType] = [listing(("output", "class", "earlier names", "part of", "labels"), rows)]
    if result.events:
        parts += [
            "",
            counted(len(result.events), "event"),
            *(_told(e.kind, e.old_name, e.new_name, e.recorded_at) for e in result.events),
        ]
    return text(*parts)


def _told(kind: str, old: str, new: str, when: str) -> str:
    return f"{when}  {old} renamed to {new}" if kind == "rename" else f"{when}  {old} merged into {new}"


def _guarded(rows: Iterable[Sequence[object]]) -> Iterator[tuple[object, ...]]:
    """Rows whose texts no spreadsheet runs."""
    return (tuple(guarded(cell) if isinstance(cell, str) else cell for cell in row) for row in rows)
