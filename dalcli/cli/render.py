"""Results as tables for people, JSON or CSV for scripts; always on stdout, always whole."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalcli.cli.streams import write_data

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.commands.batch import BatchDetails, BatchListing
    from dalcli.commands.evaluate import EvaluateResult
    from dalcli.commands.ingest_labels import IngestResult
    from dalcli.commands.init import InitResult
    from dalcli.commands.pool import PoolCounts, PoolListing, Quarantine, Relocation
    from dalcli.commands.score import ScoreResult
    from dalcli.commands.status import StatusResult
    from dalcli.commands.train import TrainResult

SAFE = "nothing is lost: run the same command again"


def show(result: Any, as_json: bool) -> None:
    """Print a command's result, as one JSON document or for people."""
    if as_json:
        text = json.dumps(plain(result), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    else:
        text = _RENDERERS[type(result).__name__](result)
    write_data(text.encode(), SAFE)


def deliver(data: bytes, output: Path | None, remedy: str) -> None:
    """Write a file's worth of data to ``output``, atomically, or to stdout."""
    if output is None:
        write_data(data, remedy)
        return
    from dalcli.errors import BadInputError
    from dalcli.state.atomic import write_bytes

    if not output.parent.is_dir():
        raise BadInputError(f"{output.parent}: no such folder", f"create it; {remedy}")
    write_bytes(output, data)


def plain(value: Any) -> Any:
    """Dataclasses and tuples as what JSON has; numbers that JSON lacks become null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# Tables -----------------------------------------------------------------------------------------------------------


def _text(*parts: RenderableType) -> str:
    """Rich tables as text: coloured and fitted on a terminal, plain and never cut off in a file."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    buffer = io.StringIO()
    console = Console(
        file=buffer, force_terminal=terminal, width=None if terminal else 400, highlight=False, soft_wrap=not terminal
    )
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        table.add_row(*(Text(_cell(cell)) for cell in row))
    return table


def _facts(rows: Iterable[tuple[str, object]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name), Text(_cell(value)))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(["" if cell is None else cell for cell in row] for row in rows)
    return buffer.getvalue()


def _counts(states: dict[str, int]) -> str:
    total = sum(states.values())
    parts = [f"{count} {state}" for state, count in states.items() if count]
    return f"{total}" + (f" ({', '.join(parts)})" if parts else "")


# One function per result -------------------------------------------------------------------------------------------


def _init(result: InitResult) -> str:
    height, width = result.image_size
    reserve = f"{100 * result.evaluation_reserve:g}% of the pool" if result.evaluation_reserve else "none (test set)"
    return _text(
        _facts(
            [
                ("workspace", result.root),
                ("classes", f"{len(result.classes)}: {', '.join(result.classes)}"),
                ("training samples", _counts(result.states["training"])),
                ("evaluation samples", _counts(result.states["evaluation"])),
                ("evaluation reserve", reserve),
                ("model", f"{result.model} at {height}×{width} pixels"),
            ]
        )
    )


def _pool_counts(result: PoolCounts) -> str:
    return _text(_facts((f"{purpose} samples", _counts(states)) for purpose, states in result.states.items()))


def _pool_listing(result: PoolListing) -> str:
    header = ("sample_id", "path", "purpose", "state", "label", "reason")
    return _csv(header, ((e.sample_id, e.path, e.purpose, e.state, e.label, e.reason) for e in result.entries))


def _quarantine(result: Quarantine) -> str:
    return _csv(("path", "reason"), result.files)


def _relocation(result: Relocation) -> str:
    return f"{result.files} files are known at {result.new}\n"


def _batch_listing(result: BatchListing) -> str:
    header = ("batch", "purpose", "state", "issued", "answered", "released", "out", "model", "issued at")
    return _text(
        _table(
            header,
            (
                (
                    b.batch_id,
                    b.purpose,
                    "open" if b.is_open else "closed",
                    b.issued,
                    b.answered,
                    b.released,
                    b.outstanding,
                    b.model,
                    b.issued_at,
                )
                for b in result.batches
            ),
        )
    )


def _batch_details(result: BatchDetails) -> str:
    b = result.batch
    head = f"{b.batch_id}: {b.purpose}, {b.answered} of {b.issued} answered, {b.released} released, {b.outstanding} out"
    return _text(head, _table(("rank", "sample_id", "path", "state"), result.rows))


def _ingest(result: IngestResult) -> str:
    facts: list[tuple[str, object]] = [
        (result.file, f"{result.labels} labels, {result.skipped} skipped, {result.empty} not labeled yet")
    ]
    for b in result.batches:
        state = "open" if b.open else "closed"
        released = f", {b.released} released" if b.released else ""
        facts.append((b.batch_id, f"{b.answered} of {b.issued} answered{released}, {state}"))
    return _text(_facts(facts))


def _train(result: TrainResult) -> str:
    m = result.model
    return _text(
        _facts(
            [
                ("model", f"{m.version} ({result.architecture}, {m.classes} classes)"),
                ("parent", m.parent or "none"),
                ("labels", m.labels),
                ("epochs", m.epochs),
                ("train accuracy", _percent(m.train_accuracy)),
                ("train loss", m.train_loss),
                ("converged", "yes" if m.converged else f"no (stopped by {m.stopped})"),
            ]
        )
    )


def _score(result: ScoreResult) -> str:
    return _text(
        _facts(
            [
                ("model", result.version),
                ("scored samples", result.samples),
                ("shards", result.shards),
                ("labeled set", f"{result.labeled} samples, ‖G_S‖ = {result.labeled_gradient_norm:.6g}"),
            ]
        )
    )


def _evaluate(result: EvaluateResult) -> str:
    r = result.report
    interval = r["accuracy_interval"]
    facts = _facts(
        [
            ("model", f"{result.version} ({result.labels} labels)"),
            ("evaluation samples", r["examples"]),
            (
                "accuracy",
                f"{_percent(r['accuracy'])}  ({100 * interval['level']:g}% interval "
                f"{_percent(interval['low'])} to {_percent(interval['high'])})",
            ),
            ("negative log-likelihood", r["nll"]),
            ("calibration error (ECE)", r["ece"]),
        ]
    )
    rows = [
        (c["name"], _percent(c["precision"]), _percent(c["recall"]), _percent(c["f1"]), c["support"])
        for c in r["classes"]
    ]
    per_class = _table(("class", "precision", "recall", "F1", "samples"), rows)
    return _text(facts, "", per_class, *_confusion(r["classes"], r["confusion"]))


CONFUSION_COLUMNS = 20


def _confusion(class_reports: Sequence[dict[str, Any]], matrix: Sequence[Sequence[int]]) -> list[RenderableType]:
    names = [c["name"] for c in class_reports]
    if len(names) <= CONFUSION_COLUMNS:
        rows = [(name, *counts) for name, counts in zip(names, matrix, strict=True)]
        return ["", _table(("true \\ predicted", *names), rows)]
    pairs = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n]
    worst = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:CONFUSION_COLUMNS]
    title = "most frequent confusions (--json has the whole matrix)"
    return ["", _table(("true", "predicted", "samples"), ((names[i], names[j], n) for n, i, j in worst), title)]


def _status(result: StatusResult) -> str:
    height, width = result.image_size
    facts: list[tuple[str, object]] = [
        ("workspace", result.root),
        ("training samples", _counts(result.states["training"])),
        ("evaluation samples", _counts(result.states["evaluation"])),
        ("architecture", f"{result.model_name} at {height}×{width} pixels"),
        ("labels per class", ", ".join(f"{name} {count}" for name, count in result.labels_per_class.items())),
    ]
    m = result.model
    if m is None:
        facts.append(("model", "none yet"))
    else:
        converged = "converged" if m.converged else "not converged"
        newer = f"; {result.newer_labels} labels are newer" if result.newer_labels else ""
        facts.append(("model", f"{m.version}: {m.labels} labels, {m.epochs} epochs, {converged}{newer}"))
        facts.append(("scores", "complete" if not result.unscored else f"{result.unscored} samples to score"))
    if result.training_unfinished:
        facts.append(("training", "interrupted: `dalcli train` continues it"))
    facts += [
        (f"batch {b.batch_id}", f"{b.purpose}: {b.answered} of {b.issued} answered, {b.outstanding} out")
        for b in result.open_batches
    ]
    parts: list[RenderableType] = [_facts(facts)]
    if result.curve:
        rows = [
            (p.version, p.labels, _percent(p.accuracy), f"{_percent(p.low)} to {_percent(p.high)}")
            for p in result.curve
        ]
        parts += ["", _table(("model", "labels", "accuracy", "interval"), rows)]
    parts += ["", f"next: {result.next_step}"]
    return _text(*parts)


_RENDERERS: dict[str, Callable[[Any], str]] = {
    "InitResult": _init,
    "PoolCounts": _pool_counts,
    "PoolListing": _pool_listing,
    "Quarantine": _quarantine,
    "Relocation": _relocation,
    "BatchListing": _batch_listing,
    "BatchDetails": _batch_details,
    "IngestResult": _ingest,
    "TrainResult": _train,
    "ScoreResult": _score,
    "EvaluateResult": _evaluate,
    "StatusResult": _status,
}
