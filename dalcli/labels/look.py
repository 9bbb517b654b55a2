"""What the ledger says: of one sample, of all in order, of those on which annotators disagree."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from dalcli.errors import BadInputError
from dalcli.state import auto_labels, batches, classes, history
from dalcli.state.auto_labels import AutoVote
from dalcli.state.catalog import Purpose
from dalcli.state.classes import ClassEvent
from dalcli.state.database import Connection
from dalcli.state.history import LoggedVote
from dalcli.state.workspace import Workspace
from dalcli.workspace.matching import SampleMatcher, UnknownSampleError


@dataclass(frozen=True)
class Issued:
    """A batch in which the sample was handed out; ``state``: answered, released or out."""

    batch_id: str
    rank: int
    state: str
    relabel: bool


@dataclass(frozen=True)
class SampleLabels:
    """Everything that was said of one sample; ``confidence``: how much speaks for ``leading``, the first choice.

    ``by_models``: what counts as a label, if at all, for want of a person's.
    """

    sample_id: str
    path: str
    purpose: str
    state: str
    label: str | None
    leading: str | None
    confidence: float | None
    votes: tuple[LoggedVote, ...]
    batches: tuple[Issued, ...]
    by_models: tuple[AutoVote, ...] = ()


@dataclass(frozen=True)
class Disputed:
    """A disputed sample: who says what, by label, and the batch that it is out in for another look."""

    sample_id: str
    path: str
    purpose: str
    leading: str | None
    confidence: float | None
    votes: dict[str, list[str]] = field(default_factory=dict)
    batch: str | None = None


@dataclass(frozen=True)
class Log:
    """Votes in the order in which they were recorded, and what happened to classes."""

    votes: tuple[LoggedVote, ...]
    classes: tuple[ClassEvent, ...]
    by_models: tuple[AutoVote, ...] = ()


def find_sample(connection: Connection, workspace: Workspace, reference: str) -> int:
    """The key of the sample that ``reference`` means: an id, or a path however it is written.

    Raises:
        BadInputError: there is none, or several samples have a file of that name.
    """
    try:
        return SampleMatcher.of(connection, workspace, Path.cwd()).find(reference)
    except UnknownSampleError as error:
        raise BadInputError(str(error), "give a sample_id or a path, as `dalcli pool list` prints them") from None


def show(connection: Connection, workspace: Workspace, reference: str) -> SampleLabels:
    """One sample.

    Raises:
        BadInputError: no such sample.
    """
    key = find_sample(connection, workspace, reference)
    found = history.standing(connection, key)
    issued = []
    for batch in batches.holding(connection, [key]):
        row = next(row for row in batches.rows(connection, batch) if row.sample_id == found.sample_id)
        issued.append(Issued(batch.batch_id, row.rank, row.state, batch.relabel))
    return SampleLabels(
        sample_id=found.sample_id,
        path=found.path,
        purpose=found.purpose,
        state=found.state,
        label=found.label,
        leading=found.leading,
        confidence=found.confidence,
        votes=tuple(history.votes(connection, sample=key)),
        batches=tuple(issued),
        by_models=tuple(auto_labels.votes(connection, sample=key)),
    )


def disputed(connection: Connection) -> list[Disputed]:
    """All disputed samples, least settled first."""
    said: defaultdict[int, dict[str, list[str]]] = defaultdict(dict)
    for vote in history.latest_votes(connection):
        if vote.counted_label is not None:
            said[vote.sample].setdefault(vote.counted_label, []).append(vote.annotator)
    out = batches.out_for_relabeling(connection)
    found = [
        Disputed(
            sample_id=s.sample_id,
            path=s.path,
            purpose=s.purpose,
            leading=s.leading,
            confidence=s.confidence,
            votes=said[s.sample],
            batch=out.get(s.sample),
        )
        for s in history.standings(connection, "disputed")
    ]
    return sorted(found, key=lambda each: (each.confidence or 0.0, each.sample_id))


def log(
    connection: Connection,
    workspace: Workspace,
    sample: str | None = None,
    annotator: str | None = None,
    purpose: Purpose | None = None,
) -> Log:
    """The whole ledger, or the part of it on one sample or by one annotator (then without what happened to classes).

    Raises:
        BadInputError: no such sample, or nobody of that name.
    """
    if annotator is not None and annotator not in (
        known := [*history.annotators(connection), *sorted({run.annotator for run in auto_labels.runs(connection)})]
    ):
        listed = ", ".join(name or "''" for name in known)
        raise BadInputError(f"no label is by '{annotator}'", f"annotators: {listed}" if known else None)
    key = None if sample is None else find_sample(connection, workspace, sample)
    found = tuple(v for v in history.votes(connection, key, annotator) if purpose in {None, v.purpose})
    partly = sample is not None or annotator is not None or purpose is not None
    by_models = () if purpose == "evaluation" else tuple(auto_labels.votes(connection, key, annotator))
    return Log(found, () if partly else tuple(classes.events(connection)), by_models)
