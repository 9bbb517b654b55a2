"""``ingest-labels``: record what labelers answered, all of a file or nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.words import counted
from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput
from dalcli.errors import UsageError
from dalcli.formats.labels import ReadOptions
from dalcli.formats.registry import AUTO, FORMATS, check_format, read_labels
from dalcli.formats.source import LabelSource
from dalcli.state import batches, classes, ledger
from dalcli.state.batches import Batch
from dalcli.state.database import Connection
from dalcli.state.ledger import OnConflict, Recording
from dalcli.state.workspace import printable
from dalcli.workspace.label_files import answer, bad_rows, folder_of, match_labels, new_classes, place
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class IngestResult:
    """What the file says and where its batches stand; the same for a second run."""

    file: str
    labels: int
    skipped: int
    empty: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    format: str = AUTO
    label_column: str | None = None
    on_conflict: OnConflict = "refuse"
    allow_new_classes: bool = False


def check(options: Options) -> None:
    """Refuse what no file could make sense of.

    Raises:
        UsageError: there is no such format, or the label's column is named ''.
    """
    check_format(options.format, [AUTO, *FORMATS])
    if options.label_column is not None and not options.label_column.strip():
        raise UsageError("--label-column is empty", "name the column that holds the class")


def run(session: Session, file: Path, options: Options) -> IngestResult:
    """Record the votes of ``file`` (``-``: standard input; or a folder) in one transaction.

    Raises:
        UsageError: an option is wrong.
        BadInputError: listing every bad row with its place, the reason and a suggestion; nothing was changed.
    """
    check(options)
    from_stdin = str(file) == "-"
    name = "<stdin>" if from_stdin else printable(session.workspace.stored_path(file))
    folder = None if from_stdin else folder_of(file)
    source = LabelSource.of(TextInput.from_stdin()) if from_stdin else LabelSource.from_path(file)
    table = read_labels(source, options.format, ReadOptions(options.label_column))
    session.feedback.note(f"{name} is read as {table.format}: {table.reason}")
    with session.database.write() as connection:
        if options.allow_new_classes:
            classes.append(connection, new_classes(table.rows, classes.positions(connection)))
        matched = match_labels(connection, session.workspace, table, name=name, folder=folder)
        _refuse(name, matched.problems, _remedy(matched.problems))
        before = {batch.batch_id for batch in batches.open_batches(connection)}
        recording = ledger.record(connection, matched.votes, options.on_conflict)
        _refuse(name, _conflicts(recording, classes.names(connection), table.unit), _CONFLICT_REMEDY)
        _close_batches(connection, session.config.query.close_at)
        touched = tuple(batches.holding(connection, {vote.sample for vote in matched.votes}))
    _tell(session, recording, before, touched)
    if matched.by_name_alone:
        one, many = "row was matched by its file name alone", "rows were matched by their file name alone"
        session.feedback.note(counted(matched.by_name_alone, one, many))
    if matched.superseded:
        one = "answer was changed later by its annotator: the latest counts"
        many = "answers were changed later by their annotators: the latest count"
        session.feedback.note(counted(matched.superseded, one, many))
    for note in table.notes:
        session.feedback.warn(f"{name}: {note}")
    return IngestResult(
        file=name,
        labels=sum(row.label is not None for row in table.rows),
        skipped=sum(row.skipped for row in table.rows),
        empty=sum(row.label is None and not row.skipped for row in table.rows),
        batches=touched,
    )


_CONFLICT_REMEDY = "pass --on-conflict replace to take the new label, or --on-conflict keep to keep the old one"


def _remedy(problems: Sequence[RowProblem]) -> str | None:
    if any("unknown class" in problem.reason for problem in problems):
        return "correct the rows, or pass --allow-new-classes if new classes are meant"
    return None


def _conflicts(recording: Recording, names: tuple[str, ...], unit: str) -> list[RowProblem]:
    found = []
    for conflict in recording.conflicts:
        vote = conflict.vote
        who = f" by {vote.annotator}" if vote.annotator else ""
        before = f"{answer(conflict.before, names)}{who} ({place(conflict.before_file, conflict.before_line)})"
        reason = f"{answer(vote.label, names)} differs from {before}"
        found.append(RowProblem(vote.line, reason, unit, "" if vote.line else vote.file))
    return found


def _refuse(name: str, problems: Sequence[RowProblem], remedy: str | None) -> None:
    """Raising inside the transaction rolls everything back, new classes included."""
    if problems:
        raise bad_rows(name, problems, remedy, "; nothing was changed")


def _close_batches(connection: Connection, close_at: float) -> None:
    for batch in batches.open_batches(connection):
        if batch.reaches(close_at):
            batches.release(connection, batch)


def _tell(session: Session, recording: Recording, before: set[str], touched: tuple[Batch, ...]) -> None:
    counts = [
        (recording.recorded, "new label recorded", "new labels recorded"),
        (recording.skipped, "sample recorded as skipped", "samples recorded as skipped"),
        (recording.confirmed, "earlier label confirmed", "earlier labels confirmed"),
        (recording.unchanged, "known already", "known already"),
        (recording.replaced, "earlier label replaced", "earlier labels replaced"),
        (
            recording.kept,
            "different label ignored, the earlier one kept",
            "different labels ignored, the earlier ones kept",
        ),
    ]
    parts = [counted(count, one, many) for count, one, many in counts if count]
    session.feedback.note(", ".join(parts) if parts else "up to date: no label in this file")
    if recording.nameless:
        session.feedback.warn(
            f"{counted(recording.nameless, 'answer')} to another look without an annotator: that is one more opinion, "
            "of somebody without a name; add the column to correct what somebody said"
        )
    for batch in touched:
        if batch.batch_id in before and not batch.open:
            released = f", {batch.released} released" if batch.released else ""
            session.feedback.note(
                f"batch {batch.batch_id} is complete: {batch.answered} of {batch.issued} answered{released}"
            )
