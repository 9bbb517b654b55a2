"""What ``batch``, ``ingest-labels`` and ``status`` show: how far the loop has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dalcli.cli.render_paired import gain, paired
from dalcli.cli.tables import counts, facts, listing, percent, text
from dalcli.config.words import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.commands.batch import BatchDetails, BatchListing
    from dalcli.commands.ingest_labels import IngestResult
    from dalcli.commands.status import StatusResult


def batch_listing(result: BatchListing) -> str:
    header = ("batch", "purpose", "state", "issued", "answered", "released", "out", "model", "issued at")
    return text(
        listing(
            header,
            (
                (
                    b.batch_id,
                    f"{b.purpose}, again" if b.relabel else b.purpose,
                    "open" if b.open else "closed",
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


def batch_details(result: BatchDetails) -> str:
    b = result.batch
    rows = ((row.rank, row.sample_id, row.path, row.state) for row in result.rows)
    purpose = f"{b.purpose}, again" if b.relabel else b.purpose
    head = f"{b.batch_id}: {purpose}, {b.answered} of {b.issued} answered, {b.released} released, {b.outstanding} out"
    return text(head, listing(("rank", "sample_id", "path", "state"), rows))


def ingest(result: IngestResult) -> str:
    lines: list[tuple[str, object]] = [
        (result.file, f"{counted(result.labels, 'label')}, {result.skipped} skipped, {result.empty} not labeled yet")
    ]
    for b in result.batches:
        state = "open" if b.open else "closed"
        released = f", {b.released} released" if b.released else ""
        lines.append((b.batch_id, f"{b.answered} of {b.issued} answered{released}, {state}"))
    return text(facts(lines))


CLASSES_SHOWN = 20


def _per_class(labels: dict[str, int]) -> str:
    """Every class with its labels; with many classes the extremes, which are what one looks for."""
    if len(labels) <= CLASSES_SHOWN:
        return ", ".join(f"{name} {count}" for name, count in labels.items())
    ordered = sorted(labels.items(), key=lambda entry: entry[1])
    (fewest, low), (most, high) = ordered[0], ordered[-1]
    return f"{len(labels)} classes, from {fewest} {low} to {most} {high} (--json has all of them)"


def status(result: StatusResult) -> str:
    height, width = result.image_size
    whole = result.model is not None and result.model.penalty is None  # `train --all`: the delivered model
    frozen = "frozen " if result.train == "head" and not whole else ""
    lines: list[tuple[str, object]] = [
        ("workspace", result.root),
        ("training samples", counts(result.states["training"])),
        ("evaluation samples", counts(result.states["evaluation"])),
        ("architecture", f"{frozen}{result.model_name} at {height}×{width} pixels"),
        ("labels per class", _per_class(result.labels_per_class)),
    ]
    m = result.model
    if m is None:
        lines.append(("model", "none yet"))
    else:
        converged = "converged" if m.converged else "not converged"
        newer = f"; {counted(result.newer_labels, 'label is', 'labels are')} newer" if result.newer_labels else ""
        how = counted(m.epochs or 0, "epoch") if m.penalty is None else f"penalty {m.penalty:g}"
        trained = f"{counted(m.labels, 'label')}, {how}, {converged}"
        lines.append(("model", f"{m.version}: {trained}{newer}"))
        lines.append(
            ("scores", "complete" if not result.unscored else f"{counted(result.unscored, 'sample')} to score")
        )
    if result.training_diverged:
        lines.append(("training", "diverged: lower training.learning_rate and run `dalcli train`"))
    elif result.training_unfinished:
        lines.append(("training", "interrupted: `dalcli train` continues it"))
    lines += [
        (f"batch {b.batch_id}", f"{b.purpose}: {b.answered} of {b.issued} answered, {b.outstanding} out")
        for b in result.open_batches
    ]
    lines += [
        (
            "labels by a model",
            f"{run.standing} by {run.annotator}: at most {100 * run.promise['max_error']:g}% wrong, "
            f"{100 * run.promise['confidence']:g}% sure",
        )
        for run in result.auto_labels
    ]
    if result.proposed_classes:
        proposed = ", ".join(f"{name} {count}" for name, count in result.proposed_classes.items())
        lines.append(("proposed classes", f"{proposed}; `dalcli label --proposals` lists the images"))
    parts: list[RenderableType] = [facts(lines)]
    if result.curve:
        rows = [
            (p.version, p.labels, percent(p.accuracy), f"{percent(p.low)} to {percent(p.high)}", p.samples)
            for p in result.curve
        ]
        parts += ["", listing(("model", "labels", "accuracy", "interval", "measured on"), rows)]
    if result.paired is not None:
        parts += ["", paired(result.paired)]
    if result.control_gain is not None:
        parts += ["", f"gain over random: {gain(result.control_gain)}"]
    parts += ["", f"next: {result.next_step}"]
    return text(*parts)
