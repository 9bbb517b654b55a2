"""Label files held against the pool: rows become votes, and every row that cannot is listed with its reason.

The one reader of label files: ``ingest-labels`` records the votes, ``diagnose --labels`` only looks at them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from dalcli.config.words import counted, suggestion, text_key
from dalcli.data.table import RowProblem
from dalcli.errors import BadInputError
from dalcli.formats.cells import guarded, spreadsheet_damage, unguarded
from dalcli.formats.labels import LabelFile, LabelRow
from dalcli.formats.registry import read_labels
from dalcli.formats.source import LabelSource
from dalcli.state import auto_labels, classes
from dalcli.state.database import Connection
from dalcli.state.ledger import Vote
from dalcli.state.workspace import Workspace
from dalcli.workspace.matching import SampleMatcher, UnknownSampleError

_TORN_ROWS = "was a column sorted by itself? (without the path column, sample_id alone counts)"


@dataclass(frozen=True)
class MatchedLabels:
    """What a label file says about the pool: one vote per sample and annotator, for whoever records or measures.

    ``problems``: every row that says nothing usable, in no particular order. ``by_name_alone``: how many rows have an
    unknown path, but a file name that only one sample has. ``superseded``: how many answers their annotator changed
    within the file.
    """

    votes: tuple[Vote, ...]
    problems: tuple[RowProblem, ...]
    by_name_alone: int
    superseded: int


def match_labels(
    connection: Connection, workspace: Workspace, table: LabelFile, *, name: str, folder: Path | None
) -> MatchedLabels:
    """Find the samples and classes that the rows of ``table`` mean; rows without an answer give no vote.

    Of several answers of one annotator about one sample the latest counts, if the file tells their times.
    ``name`` is what the votes give for their file; paths may be relative to ``folder``, where the file is.
    """
    matcher = SampleMatcher.of(connection, workspace, folder)
    reader = _Reader(name, classes.names(connection), classes.positions(connection), matcher)
    latest: dict[tuple[int, str], _Answer] = {}
    problems = list(table.problems)
    superseded = 0
    for row in table.rows:
        try:
            answer = reader.answer(row)
            # A row that nobody answered yet says nothing; one that was handed in empty takes an answer back.
            if answer.vote is not None or row.labeled_at is not None:
                key = (answer.sample, row.annotator)
                earlier = latest.setdefault(key, answer)
                latest[key] = _later(earlier, answer, table, reader.classes)
                superseded += earlier.said != answer.said and None not in {earlier.vote, answer.vote}
        except (UnknownSampleError, _BadRowError) as error:
            problems.append(RowProblem(row.line, str(error), table.unit, row.part))
    votes = tuple(answer.vote for answer in latest.values() if answer.vote is not None)
    return MatchedLabels(votes, tuple(problems), reader.matcher.by_name_alone, superseded)


def true_labels(connection: Connection, workspace: Workspace, file: Path) -> dict[int, int]:
    """Sample key → class position of every labeled row of ``file``; nothing is recorded.

    Annotators must agree: there is no ledger in which a sample could be disputed.

    Raises:
        BadInputError: there is no such file, or it has bad rows; each is listed with its line and reason.
    """
    table = read_labels(LabelSource.from_path(file))
    labeled = replace(table, rows=[row for row in table.rows if row.label is not None])
    matched = match_labels(connection, workspace, labeled, name=str(file), folder=folder_of(file))
    first: dict[int, Vote] = {}
    problems = list(matched.problems)
    for vote in matched.votes:
        try:
            _agree(first.setdefault(vote.sample, vote), vote, classes.names(connection))
        except _BadRowError as error:
            problems.append(RowProblem(vote.line, str(error), table.unit))
    if problems:
        raise bad_rows(str(file), problems, "correct them, or leave --labels out")
    return {sample: vote.label for sample, vote in first.items() if vote.label is not None}


def bad_rows(what: str, problems: Sequence[RowProblem], remedy: str | None, outcome: str = "") -> BadInputError:
    """The error that lists all bad rows of the file ``what``, by line; ``outcome`` ends its first line."""
    ordered = sorted(problems, key=lambda problem: (problem.part, problem.line, problem.reason))
    lines = [str(problem) for problem in ordered]
    return BadInputError(f"{what}: {counted(len(lines), 'bad row')}{outcome}", remedy, lines)


def folder_of(file: Path) -> Path:
    """Where relative paths in a label file start: the folder it is in, or that it is."""
    return file.absolute() if file.is_dir() else file.absolute().parent


def new_classes(rows: Iterable[LabelRow], known: Collection[str]) -> list[str]:
    """Labels that are no class yet, in the order in which they come; two spellings that look the same are one.

    What a spreadsheet seems to have done to a name is no class.
    """
    seen = {text_key(name) for name in known}
    seen |= {unguarded(name) for name in seen}
    found = []
    for name in dict.fromkeys(row.label for row in rows if row.label is not None):
        if text_key(name) not in seen and spreadsheet_damage(name) is None and text_key(name):
            seen.add(text_key(name))
            found.append(name)
    return found


def answer(label: int | None, names: Sequence[str]) -> str:
    """A vote in a message: the class in quotes, or that the sample was skipped."""
    return "skipped" if label is None else f"'{names[label]}'"


def place(file: str, line: int) -> str:
    """``labels.csv:7``, or the file alone where there are no lines."""
    return f"{file}:{line}" if line else file


class _BadRowError(Exception):
    """Why the row at hand cannot be used."""


def _agree(earlier: Vote, vote: Vote, names: Sequence[str], unit: str = "line") -> None:
    if earlier.label != vote.label:
        where = f"{unit} {earlier.line}" if earlier.line else earlier.file
        raise _BadRowError(f"{answer(vote.label, names)} contradicts {answer(earlier.label, names)} in {where}")


class _Answer(NamedTuple):
    """What a row says about a sample; ``vote`` None: it was handed in without an answer."""

    sample: int
    vote: Vote | None
    labeled_at: str | None

    @property
    def said(self) -> int | None:
        return None if self.vote is None else self.vote.label


def _later(earlier: _Answer, answer: _Answer, table: LabelFile, names: Sequence[str]) -> _Answer:
    """Which of two answers of one annotator counts; _BadRowError if they differ and nothing says which is later."""
    if earlier.labeled_at is not None and answer.labeled_at is not None and earlier.labeled_at != answer.labeled_at:
        return max(earlier, answer, key=lambda one: one.labeled_at or "")
    if table.in_order:
        return answer if earlier.said != answer.said else earlier
    if earlier.vote is not None and answer.vote is not None:
        _agree(earlier.vote, answer.vote, names, table.unit)
    return earlier if earlier.vote is not None else answer


class _Reader:
    """Turns one row at a time into an answer."""

    def __init__(self, file: str, names: tuple[str, ...], positions: Mapping[str, int], matcher: SampleMatcher) -> None:
        self.classes = names
        self.matcher = matcher
        self._file = file
        self._position = positions
        self._alike: defaultdict[str, set[int]] = defaultdict(set)
        for each, position in positions.items():
            self._alike[text_key(each)].add(position)

    def answer(self, row: LabelRow) -> _Answer:
        """What the row says. Raises _BadRowError or UnknownSampleError."""
        sample = self.matcher.find(row.sample_ref, row.aliases, without_extension=row.without_extension)
        if row.label is None and not row.skipped:
            return _Answer(sample, None, row.labeled_at)
        if auto_labels.is_model(row.annotator):
            raise _BadRowError(f"annotator '{row.annotator}' is a model's name: its labels are no person's")
        if row.path and self.matcher.exact_path(row.path) not in {None, sample}:
            raise _BadRowError(f"sample_id and path '{row.path}' name different images: {_TORN_ROWS}")
        vote = Vote(
            sample=sample,
            label=None if row.label is None else self._class(row.label),
            annotator=row.annotator,
            file=f"{self._file}/{row.part}" if row.part else self._file,
            line=row.line,
            labeled_at=row.labeled_at,
            seconds=row.seconds,
            cost=row.cost,
            batch=row.batch,
        )
        return _Answer(sample, vote, row.labeled_at)

    def _class(self, label: str) -> int:
        if label in self._position:
            return self._position[label]
        if guarded(label) in self._position:  # a class that begins with an apostrophe of its own
            return self._position[guarded(label)]
        alike = self._alike.get(text_key(label), set())
        if len(alike) == 1:
            return next(iter(alike))
        if alike:
            raise _BadRowError(f"class '{label}' could be {len(alike)} classes that look the same")
        damage = spreadsheet_damage(label)
        because = f": {damage}; format the column as text and enter it again" if damage else ""
        raise _BadRowError(f"unknown class '{label}'{because or suggestion(label, self.classes)}")
