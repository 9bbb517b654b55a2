"""``ingest-labels``: record what labelers answered, all of a file or nothing of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dalcli.commands.matching import SampleMatcher, UnknownSampleError
from dalcli.commands.registration import place
from dalcli.commands.session import Session
from dalcli.config.suggest import suggestion
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.labels import LabelRow
from dalcli.formats.registry import read_labels
from dalcli.state import batches, classes, ledger
from dalcli.state.database import Connection
from dalcli.state.ledger import OnConflict, Recording, Vote


@dataclass(frozen=True)
class BatchStanding:
    """How far one batch has come back."""

    batch_id: str
    issued: int
    answered: int
    released: int
    open: bool


@dataclass(frozen=True)
class IngestResult:
    """What the file says and where its batches stand; the same for a second run."""

    file: str
    labels: int
    skipped: int
    empty: int
    batches: tuple[BatchStanding, ...]


def run(
    session: Session, file: Path, *, on_conflict: OnConflict = "refuse", allow_new_classes: bool = False
) -> IngestResult:
    """Record the votes of ``file`` (``-``: standard input) in one transaction.

    Raises:
        BadInputError: listing every bad row with its line, the reason and a suggestion; nothing was changed.
    """
    from_stdin = str(file) == "-"
    name = "<stdin>" if from_stdin else session.workspace.stored_path(file)
    table = read_labels(TextInput.from_stdin(sys.stdin.buffer.read()) if from_stdin else TextInput.from_path(file))
    rows = table.rows
    problems = [(problem.line, problem.reason) for problem in table.problems]
    with session.database.write() as connection:
        if allow_new_classes:
            classes.append(connection, _new_classes(rows, classes.names(connection)))
        known = classes.names(connection)
        matcher = SampleMatcher(connection, session.workspace, None if from_stdin else file.absolute().parent)
        votes = list(_votes(rows, name, known, matcher, problems))
        _refuse(name, problems)
        before = {batch.batch_id for batch in batches.open_batches(connection)}
        recording = ledger.record(connection, votes, on_conflict)
        _refuse(name, [_conflict(conflict, known) for conflict in recording.conflicts], _CONFLICT_REMEDY)
        _close_batches(connection, session.config.query.close_at)
        touched = _standings(connection, {vote.sample for vote in votes})
    _tell(session, recording, before, touched)
    return IngestResult(
        file=name,
        labels=sum(row.label is not None and not row.skipped for row in rows),
        skipped=sum(row.skipped for row in rows),
        empty=sum(row.label is None and not row.skipped for row in rows),
        batches=touched,
    )


_CONFLICT_REMEDY = "pass --on-conflict replace to take the new label, or --on-conflict keep to keep the old one"


def _new_classes(rows: Iterable[LabelRow], known: tuple[str, ...]) -> list[str]:
    names = dict.fromkeys(row.label for row in rows if row.label is not None and not row.skipped)
    return [name for name in names if name not in known]


def _votes(
    rows: Iterable[LabelRow],
    file: str,
    known: tuple[str, ...],
    matcher: SampleMatcher,
    problems: list[tuple[int, str]],
) -> Iterable[Vote]:
    position = {label: index for index, label in enumerate(known)}
    for row in rows:
        try:
            sample = matcher.find(row.sample_ref)
        except UnknownSampleError as error:
            problems.append((row.line, str(error)))
            continue
        if row.label is None and not row.skipped:
            continue  # not labeled yet
        if not row.skipped and row.label not in position:
            problems.append((row.line, f"unknown class '{row.label}'{suggestion(str(row.label), known)}"))
            continue
        yield Vote(
            sample=sample,
            label=None if row.skipped else position[str(row.label)],
            annotator=row.annotator,
            file=file,
            line=row.line,
            labeled_at=row.labeled_at,
            seconds=row.seconds,
            cost=row.cost,
        )


def _conflict(conflict: ledger.Conflict, known: tuple[str, ...]) -> tuple[int, str]:
    vote = conflict.vote
    new = f"'{known[vote.label]}'" if vote.label is not None else "skipped"
    before = f"'{known[conflict.before]}'" if conflict.before is not None else "skipped"
    who = f" by {vote.annotator}" if vote.annotator else ""
    return vote.line, f"{new} differs from {before}{who} ({place(conflict.before_file, conflict.before_line)})"


def _refuse(name: str, problems: list[tuple[int, str]], remedy: str | None = None) -> None:
    """Raising inside the transaction rolls everything back, new classes included."""
    if problems:
        rows = "1 bad row" if len(problems) == 1 else f"{len(problems)} bad rows"
        if remedy is None and any("unknown class" in reason for _, reason in problems):
            remedy = "correct the rows, or pass --allow-new-classes if new classes are meant"
        lines = [f"line {line}: {reason}" for line, reason in sorted(problems)]
        raise BadInputError(f"{name}: {rows}; nothing was changed", remedy, lines)


def _close_batches(connection: Connection, close_at: float) -> None:
    for batch in batches.open_batches(connection):
        if batch.answered >= close_at * batch.issued:
            batches.release(connection, batch)


def _standings(connection: Connection, samples: set[int]) -> tuple[BatchStanding, ...]:
    """Every batch that a sample of the file was issued in."""
    issued = connection.execute(
        "SELECT DISTINCT b.batch_id, r.sample FROM batch_row AS r JOIN batch AS b ON b.id = r.batch"
    )
    touched = {row["batch_id"] for row in issued if row["sample"] in samples}
    return tuple(
        BatchStanding(b.batch_id, b.issued, b.answered, b.released, b.is_open)
        for b in batches.listing(connection)
        if b.batch_id in touched
    )


def _tell(session: Session, recording: Recording, before: set[str], touched: tuple[BatchStanding, ...]) -> None:
    counts = [
        (recording.recorded, "new labels recorded"),
        (recording.skipped, "samples recorded as skipped"),
        (recording.unchanged, "known already"),
        (recording.replaced, "earlier labels replaced"),
        (recording.kept, "different labels ignored, the earlier ones kept"),
    ]
    parts = [f"{count} {what}" for count, what in counts if count]
    session.feedback.note(", ".join(parts) if parts else "up to date: no label in this file")
    for batch in touched:
        if batch.batch_id in before and not batch.open:
            session.feedback.note(f"batch {batch.batch_id} is complete: {batch.answered} of {batch.issued} answered")
