"""``ingest-labels``: record what labelers answered, all of a file or nothing of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dalcli.config.words import suggestion
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.labels import LabelRow
from dalcli.formats.registry import read_labels
from dalcli.state import batches, classes, ledger
from dalcli.state.batches import Batch
from dalcli.state.database import Connection
from dalcli.state.ledger import OnConflict, Recording, Vote
from dalcli.state.workspace import printable
from dalcli.workspace.matching import SampleMatcher, UnknownSampleError
from dalcli.workspace.registration import place
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
    table = read_labels(_standard_input() if from_stdin else TextInput.from_path(file))
    rows = table.rows
    with session.database.write() as connection:
        if allow_new_classes:
            classes.append(connection, _new_classes(rows, classes.names(connection)))
        reader = _Reader(name, classes.names(connection), SampleMatcher(connection, session.workspace, folder))
        votes = reader.votes(rows)
        _refuse(name, [(problem.line, problem.reason) for problem in table.problems] + reader.problems)
        before = {batch.batch_id for batch in batches.open_batches(connection)}
        recording = ledger.record(connection, votes, on_conflict)
        _refuse(name, [_conflict(conflict, reader.classes) for conflict in recording.conflicts], _CONFLICT_REMEDY)
        _close_batches(connection, session.config.query.close_at)
        touched = tuple(batches.holding(connection, {vote.sample for vote in votes}))
    _tell(session, recording, before, touched)
    if reader.matcher.by_name_alone:
        session.feedback.note(f"{reader.matcher.by_name_alone} rows were matched by their file name alone")
    return IngestResult(
        file=name,
        labels=sum(row.label is not None and not row.skipped for row in rows),
        skipped=sum(row.skipped for row in rows),
        empty=sum(row.label is None and not row.skipped for row in rows),
        batches=touched,
    )


def _standard_input() -> TextInput:
    if sys.stdin is None:
        raise BadInputError("standard input is closed", "name a file instead of -")
    return TextInput.from_stdin(sys.stdin.buffer.read())


_TORN_ROWS = "was a column sorted by itself? (without the path column, sample_id alone counts)"
_CONFLICT_REMEDY = "pass --on-conflict replace to take the new label, or --on-conflict keep to keep the old one"


def _new_classes(rows: Iterable[LabelRow], known: tuple[str, ...]) -> list[str]:
    names = dict.fromkeys(row.label for row in rows if row.label is not None and not row.skipped)
    return [name for name in names if name not in known]


@dataclass
class _Reader:
    """Rows to votes; what is wrong with a row goes into ``problems`` as (line, reason)."""

    file: str
    classes: tuple[str, ...]
    matcher: SampleMatcher
    problems: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._position = {name: index for index, name in enumerate(self.classes)}

    def votes(self, rows: Iterable[LabelRow]) -> list[Vote]:
        """One vote per sample and annotator; rows without an answer give none."""
        votes: dict[tuple[int, str], Vote] = {}
        for row in rows:
            vote = self._vote(row)
            if vote is None:
                continue
            earlier = votes.setdefault((vote.sample, vote.annotator), vote)
            if earlier.label != vote.label:
                said, before = self._name(vote.label), self._name(earlier.label)
                self.problems.append((row.line, f"{said} contradicts {before} in line {earlier.line}"))
        return list(votes.values())

    def _vote(self, row: LabelRow) -> Vote | None:
        try:
            sample = self.matcher.find(row.sample_ref)
        except UnknownSampleError as error:
            self.problems.append((row.line, str(error)))
            return None
        if row.label is None and not row.skipped:
            return None  # not labeled yet
        if row.path and self.matcher.exact_path(row.path) not in {None, sample}:
            self.problems.append((row.line, f"sample_id and path '{row.path}' name different images: {_TORN_ROWS}"))
            return None
        label = None
        if row.label is not None and not row.skipped:
            label = self._position.get(row.label)
            if label is None:
                self.problems.append((row.line, f"unknown class '{row.label}'{suggestion(row.label, self.classes)}"))
                return None
        return Vote(
            sample=sample,
            label=label,
            annotator=row.annotator,
            file=self.file,
            line=row.line,
            labeled_at=row.labeled_at,
            seconds=row.seconds,
            cost=row.cost,
        )

    def _name(self, label: int | None) -> str:
        return "skipped" if label is None else f"'{self.classes[label]}'"


def _conflict(conflict: ledger.Conflict, known: tuple[str, ...]) -> tuple[int, str]:
    vote = conflict.vote
    new = f"'{known[vote.label]}'" if vote.label is not None else "skipped"
    who = f" by {vote.annotator}" if vote.annotator else ""
    before = f"'{known[conflict.before]}'{who} ({place(conflict.before_file, conflict.before_line)})"
    return vote.line, f"{new} differs from {before}"


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
        if batch.reaches(close_at):
            batches.release(connection, batch)


def _tell(session: Session, recording: Recording, before: set[str], touched: tuple[Batch, ...]) -> None:
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
            released = f", {batch.released} released" if batch.released else ""
            session.feedback.note(
                f"batch {batch.batch_id} is complete: {batch.answered} of {batch.issued} answered{released}"
            )
