"""Label files held against the pool: rows become votes, and every row that cannot is listed with its reason.

The one reader of label files: ``ingest-labels`` records the votes, ``diagnose --labels`` only looks at them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.words import counted, suggestion
from dalcli.data.table import RowProblem
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.labels import LabelFile, LabelRow
from dalcli.formats.registry import read_labels
from dalcli.state import classes
from dalcli.state.database import Connection
from dalcli.state.ledger import Vote
from dalcli.state.workspace import Workspace
from dalcli.workspace.matching import SampleMatcher, UnknownSampleError

_TORN_ROWS = "was a column sorted by itself? (without the path column, sample_id alone counts)"


@dataclass(frozen=True)
class MatchedLabels:
    """What a label file says about the pool: one vote per sample and annotator, for whoever records or measures.

    ``problems``: every row that says nothing usable, in no particular order. ``by_name_alone``: how many rows have an
    unknown path, but a file name that only one sample has.
    """

    votes: tuple[Vote, ...]
    problems: tuple[RowProblem, ...]
    by_name_alone: int


def match_labels(
    connection: Connection, workspace: Workspace, table: LabelFile, *, name: str, folder: Path | None
) -> MatchedLabels:
    """Find the samples and classes that the rows of ``table`` mean; rows without an answer give no vote.

    ``name`` is what the votes give for their file; paths may be relative to ``folder``, where the file is.
    """
    matcher = SampleMatcher.of(connection, workspace, folder)
    reader = _Reader(name, classes.names(connection), classes.positions(connection), matcher)
    votes: dict[tuple[int, str], Vote] = {}
    problems = list(table.problems)
    for row in table.rows:
        try:
            vote = reader.vote(row)
            if vote is not None:
                _agree(votes.setdefault((vote.sample, vote.annotator), vote), vote, reader.classes)
        except (UnknownSampleError, _BadRowError) as error:
            problems.append(RowProblem(row.line, str(error)))
    return MatchedLabels(tuple(votes.values()), tuple(problems), reader.matcher.by_name_alone)


def true_labels(connection: Connection, workspace: Workspace, file: Path) -> dict[int, int]:
    """Sample key → class position of every labeled row of ``file``; nothing is recorded.

    Annotators must agree: there is no ledger in which a sample could be disputed.

    Raises:
        BadInputError: there is no such file, or it has bad rows; each is listed with its line and reason.
    """
    table = read_labels(TextInput.from_path(file))
    labeled = LabelFile([row for row in table.rows if row.label is not None], table.problems)
    matched = match_labels(connection, workspace, labeled, name=str(file), folder=file.absolute().parent)
    first: dict[int, Vote] = {}
    problems = list(matched.problems)
    for vote in matched.votes:
        try:
            _agree(first.setdefault(vote.sample, vote), vote, classes.names(connection))
        except _BadRowError as error:
            problems.append(RowProblem(vote.line, str(error)))
    if problems:
        raise bad_rows(str(file), problems, "correct them, or leave --labels out")
    return {sample: vote.label for sample, vote in first.items() if vote.label is not None}


def bad_rows(what: str, problems: Sequence[RowProblem], remedy: str | None, outcome: str = "") -> BadInputError:
    """The error that lists all bad rows of the file ``what``, by line; ``outcome`` ends its first line."""
    lines = [str(problem) for problem in sorted(problems, key=lambda problem: (problem.line, problem.reason))]
    return BadInputError(f"{what}: {counted(len(lines), 'bad row')}{outcome}", remedy, lines)


def new_classes(rows: Iterable[LabelRow], known: Collection[str]) -> list[str]:
    """Labels that are no class yet, in the order in which they come."""
    names = dict.fromkeys(row.label for row in rows if row.label is not None)
    return [name for name in names if name not in known]


def answer(label: int | None, names: Sequence[str]) -> str:
    """A vote in a message: the class in quotes, or that the sample was skipped."""
    return "skipped" if label is None else f"'{names[label]}'"


def place(file: str, line: int) -> str:
    """``labels.csv:7``, or the file alone where there are no lines."""
    return f"{file}:{line}" if line else file


class _BadRowError(Exception):
    """Why the row at hand cannot be used."""


def _agree(earlier: Vote, vote: Vote, names: Sequence[str]) -> None:
    if earlier.label != vote.label:
        raise _BadRowError(
            f"{answer(vote.label, names)} contradicts {answer(earlier.label, names)} in line {earlier.line}"
        )


class _Reader:
    """Turns one row at a time into a vote."""

    def __init__(self, file: str, names: tuple[str, ...], positions: Mapping[str, int], matcher: SampleMatcher) -> None:
        self.classes = names
        self.matcher = matcher
        self._file = file
        self._position = positions

    def vote(self, row: LabelRow) -> Vote | None:
        """What the row says; None if it is not answered yet. Raises _BadRowError or UnknownSampleError."""
        sample = self.matcher.find(row.sample_ref)
        if row.label is None and not row.skipped:
            return None
        if row.path and self.matcher.exact_path(row.path) not in {None, sample}:
            raise _BadRowError(f"sample_id and path '{row.path}' name different images: {_TORN_ROWS}")
        return Vote(
            sample=sample,
            label=None if row.label is None else self._class(row.label),
            annotator=row.annotator,
            file=self._file,
            line=row.line,
            labeled_at=row.labeled_at,
            seconds=row.seconds,
            cost=row.cost,
            batch=row.batch,
        )

    def _class(self, label: str) -> int:
        if label not in self._position:
            raise _BadRowError(f"unknown class '{label}'{suggestion(label, self.classes)}")
        return self._position[label]
