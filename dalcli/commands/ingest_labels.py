"""``ingest-labels``: record what labelers answered, all of a file or nothing of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.words import counted
from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput
from dalcli.formats.registry import read_labels
from dalcli.state import batches, classes, ledger
from dalcli.state.batches import Batch
from dalcli.state.database import Connection
from dalcli.state.ledger import OnConflict, Recording
from dalcli.state.workspace import printable
from dalcli.workspace.label_files import answer, bad_rows, match_labels, new_classes, place
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class IngestResult:
    """What the file says and where its batches stand; the same for a second run."""

    file: str
    labels: int
    skipped: int
    empty: int
    batches: tuple[Batch, ...]


def run(
    session: Session, file: Path, *, on_conflict: OnConflict = "refuse", allow_new_classes: bool = False
) -> IngestResult:
    """Record the votes of ``file`` (``-``: standard input) in one transaction.

    Raises:
        BadInputError: listing every bad row with its line, the reason and a suggestion; nothing was changed.
    """
    from_stdin = str(file) == "-"
    name = "<stdin>" if from_stdin else printable(session.workspace.stored_path(file))
    folder = None if from_stdin else file.absolute().parent
    table = read_labels(TextInput.from_stdin() if from_stdin else TextInput.from_path(file))
    with session.database.write() as connection:
        if allow_new_classes:
            classes.append(connection, new_classes(table.rows, classes.positions(connection)))
        matched = match_labels(connection, session.workspace, table, name=name, folder=folder)
        _refuse(name, matched.problems, _remedy(matched.problems))
        before = {batch.batch_id for batch in batches.open_batches(connection)}
        recording = ledger.record(connection, matched.votes, on_conflict)
        _refuse(name, _conflicts(recording, classes.names(connection)), _CONFLICT_REMEDY)
        _close_batches(connection, session.config.query.close_at)
        touched = tuple(batches.holding(connection, {vote.sample for vote in matched.votes}))
    _tell(session, recording, before, touched)
    if matched.by_name_alone:
        one, many = "row was matched by its file name alone", "rows were matched by their file name alone"
        session.feedback.note(counted(matched.by_name_alone, one, many))
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


def _conflicts(recording: Recording, names: tuple[str, ...]) -> list[RowProblem]:
    found = []
    for conflict in recording.conflicts:
        vote = conflict.vote
        who = f" by {vote.annotator}" if vote.annotator else ""
        before = f"{answer(conflict.before, names)}{who} ({place(conflict.before_file, conflict.before_line)})"
        found.append(RowProblem(vote.line, f"{answer(vote.label, names)} differs from {before}"))
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
