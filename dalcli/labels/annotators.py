"""Annotators compared: how often they agree with others, beyond chance too, how fast they are, and what they cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from dalcli.crowd.kappa import agreement, kappa
from dalcli.state import classes, history, ledger
from dalcli.state.catalog import PURPOSES
from dalcli.state.database import Connection
from dalcli.state.history import LoggedVote


@dataclass(frozen=True)
class Annotator:
    """One annotator; None where nothing is known.

    Attributes:
        labels, skipped: samples whose latest answer it is.
        corrected: answers that replaced a different one of their own.
        shared: answers of others on samples that this annotator has labeled, too.
        agreement, kappa: with those, one by one.
        with_consensus: share of labels that are the label of the sample, where several have labeled it and it has one.
        seconds: the median of an answer's time.
        per_hour: answers an hour, at that pace.
        cost: of all answers together, and ``cost_per_label`` of what counts.
    """

    annotator: str
    labels: int
    skipped: int
    corrected: int
    shared: int
    agreement: float | None
    kappa: float | None
    with_consensus: float | None
    seconds: float | None
    per_hour: float | None
    cost: float | None
    cost_per_label: float | None


@dataclass(frozen=True)
class Pair:
    """Two annotators on the samples that both have labeled."""

    one: str
    other: str
    shared: int
    agreement: float | None
    kappa: float | None


@dataclass(frozen=True)
class Comparison:
    """Everybody, by name, and every two who share samples."""

    annotators: tuple[Annotator, ...]
    pairs: tuple[Pair, ...]


def compare(connection: Connection) -> Comparison:
    """All annotators of the ledger."""
    said = list(history.votes(connection))
    number = {name: position for position, name in enumerate(classes.names(connection))}
    labels: defaultdict[str, dict[int, int]] = defaultdict(dict)
    on_sample: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for vote in said:
        if vote.counts and vote.counted_label is not None:
            label = number[vote.counted_label]
            labels[vote.annotator][vote.sample] = label
            on_sample[vote.sample][vote.annotator] = label
    settled = {
        sample: label
        for purpose in PURPOSES
        for sample, label in ledger.labels(connection, purpose).items()
        if len(on_sample[sample]) > 1
    }
    votes: defaultdict[str, list[LoggedVote]] = defaultdict(list)
    for vote in said:
        votes[vote.annotator].append(vote)
    everybody = sorted(votes)
    return Comparison(
        tuple(_annotator(name, votes[name], labels[name], on_sample, settled) for name in everybody),
        tuple(pair for one, other in combinations(everybody, 2) if (pair := _pair(one, other, labels)).shared),
    )


def _annotator(
    name: str,
    votes: Sequence[LoggedVote],
    labels: dict[int, int],
    on_sample: dict[int, dict[str, int]],
    settled: dict[int, int],
) -> Annotator:
    mine, theirs = [], []
    for sample, label in labels.items():
        for other, their_label in on_sample[sample].items():
            if other != name:
                mine.append(label)
                theirs.append(their_label)
    decided = [sample for sample in labels if sample in settled]
    times = [vote.seconds for vote in votes if vote.seconds is not None]
    costs = [vote.cost for vote in votes if vote.cost is not None]
    pace = median(times) if times else None
    return Annotator(
        annotator=name,
        labels=len(labels),
        skipped=sum(vote.counts and vote.label is None for vote in votes),
        corrected=sum(vote.before is not None and vote.before != (vote.label or "skipped") for vote in votes),
        shared=len(mine),
        agreement=agreement(mine, theirs),
        kappa=kappa(mine, theirs),
        with_consensus=agreement([labels[s] for s in decided], [settled[s] for s in decided]),
        seconds=pace,
        per_hour=3600 / pace if pace else None,
        cost=sum(costs) if costs else None,
        cost_per_label=sum(costs) / len(labels) if costs and labels else None,
    )


def _pair(one: str, other: str, labels: dict[str, dict[int, int]]) -> Pair:
    both = sorted(labels[one].keys() & labels[other].keys())
    mine, theirs = [labels[one][sample] for sample in both], [labels[other][sample] for sample in both]
    return Pair(one, other, len(both), agreement(mine, theirs), kappa(mine, theirs))
