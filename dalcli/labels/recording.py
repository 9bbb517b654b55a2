"""Labels on their way into the ledger, all of them or none: a file that was handed in, or what a server has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.words import counted
from dalcli.data.table import RowProblem
from dalcli.formats.labels import LabelFile
from dalcli.state import batches, classes, ledger
from dalcli.state.batches import Batch
from dalcli.state.database import Connection
from dalcli.state.ledger import OnConflict, Recording
from dalcli.workspace.label_files import MatchedLabels, answer, bad_rows, match_labels, new_classes, place
from dalcli.workspace.session import Session

_CONFLICT_REMEDY = "pass --on-conflict replace to take the new label, or --on-conflict keep to keep the old one"


@dataclass(frozen=True)
class Recorded:
    """What became of the rows; ``touched``: every batch that has one of their samples."""

    matched: MatchedLabels
    recording: Recording
    open_before: frozenset[str]
    touched: tuple[Batch, ...]


def record(
    connection: Connection,
    session: Session,
    table: LabelFile,
    name: str,
    folder: Path | None,
    *,
    on_conflict: OnConflict = "refuse",
    allow_new_classes: bool = False,
) -> Recorded:
    """Make votes of the rows of ``table``, and close the batches that are answered enough.

    Raising inside the caller's transaction rolls everything back, new classes included.

    Raises:
        BadInputError: listing every bad row with its place, the reason and a suggestion.
    """
    if allow_new_classes:
        classes.append(connection, new_classes(table.rows, classes.positions(connection)))
    matched = match_labels(connection, session.workspace, table, name=name, folder=folder)
    _refuse(name, matched.problems, _remedy(matched.problems))
    before = frozenset(batch.batch_id for batch in batches.open_batches(connection))
    recording = ledger.record(connection, matched.votes, on_conflict)
    _refuse(name, _conflicts(recording, classes.names(connection), table.unit), _CONFLICT_REMEDY)
    _close_batches(connection, session.config.query.close_at)
    touched = tuple(batches.holding(connection, {vote.sample for vote in matched.votes}))
    return Recorded(matched, recording, before, touched)


def tell(session: Session, recorded: Recorded, nothing: str) -> None:
    """Say what was new; ``nothing`` where there was no label at all."""
    _tell(session, recorded, nothing)
    matched = recorded.matched
    if matched.by_name_alone:
        one, many = "row was matched by its file name alone", "rows were matched by their file name alone"
        session.feedback.note(counted(matched.by_name_alone, one, many))
    if matched.superseded:
        one = "answer was changed later by its annotator: the latest counts"
        many = "answers were changed later by their annotators: the latest count"
        session.feedback.note(counted(matched.superseded, one, many))


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
    if problems:
        raise bad_rows(name, problems, remedy, "; nothing was changed")


def _close_batches(connection: Connection, close_at: float) -> None:
    for batch in batches.open_batches(connection):
        if batch.reaches(close_at):
            batches.release(connection, batch)


def _tell(session: Session, recorded: Recorded, nothing: str) -> None:
    recording = recorded.recording
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
    session.feedback.note(", ".join(parts) if parts else nothing)
    if recording.nameless:
        session.feedback.warn(
            f"{counted(recording.nameless, 'answer')} to another look without an annotator: that is one more opinion, "
            "of somebody without a name; add the column to correct what somebody said"
        )
    for batch in recorded.touched:
        if batch.batch_id in recorded.open_before and not batch.open:
            released = f", {batch.released} released" if batch.released else ""
            session.feedback.note(
                f"batch {batch.batch_id} is complete: {batch.answered} of {batch.issued} answered{released}"
            )
