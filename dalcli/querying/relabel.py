"""Another look at samples that have labels already: disputed ones, or those whose label a model contradicts.

Both are chosen from what is stored. A dispute is worth the more, the less is known about its outcome: the entropy, in
nats, of the votes on each class, weighed with the probability that the newest model gives it, where that was scored and
the model was not trained on the sample, before somebody disagreed. Suspects come as ``labels suspects`` ranked them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.data.identity import digests
from dalcli.errors import NothingLeftError, NotReadyError
from dalcli.formats import batch_csv
from dalcli.querying.merged import as_counted
from dalcli.querying.request import QueryRequest
from dalcli.querying.selection import Choice, name_today, shortest
from dalcli.scores.columns import Group
from dalcli.scores.store import ScoreStore
from dalcli.state import batches, catalog, classes, consensus, disputes, suspicions, versions
from dalcli.state.batches import BatchRow
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.strategies.base import Table
from dalcli.workspace.session import Session

STRATEGIES = {"disputed": "relabel", "suspects": "suspects"}
"""What stands in the column ``strategy``."""


@dataclass(frozen=True)
class Candidate:
    """A sample that may be asked again; ``votes`` by class where it is disputed, ``value`` where it is suspect."""

    sample: int
    votes: Mapping[int, int]
    value: float | None


def candidates(connection: Connection, request: QueryRequest) -> list[Candidate]:
    """Readable samples of the purpose that qualify and are not out already.

    Raises:
        NotReadyError: nobody has looked for suspects since labels changed.
    """
    if request.relabel == "disputed":
        return [Candidate(d.sample, d.votes, None) for d in disputes.open_ones(connection, request.purpose)]
    found = suspicions.newest(connection)
    if found is None or not suspicions.is_current(connection, found):
        raise NotReadyError(
            "labels have changed since suspects were looked for" if found else "nobody has looked for suspects yet",
            "run: dalcli labels suspects",
        )
    free = disputes.labeled_and_free(connection) - suspicions.looked_at(connection)
    return [Candidate(s.sample, {}, 1.0 - s.probability) for s in found.suspects if s.sample in free]


def choose(connection: Connection, session: Session, request: QueryRequest) -> Choice:
    """The batch, most informative first; ties by sample id.

    Raises:
        NothingLeftError: no sample qualifies.
        NotReadyError: nobody has looked for suspects since labels changed.
    """
    found = candidates(connection, request)
    if not found:
        raise _nothing_left(connection, request)
    images = {image.key: image for image in catalog.images_of(connection, [each.sample for each in found])}
    model = versions.newest(connection) if request.purpose == "training" else None
    names, counted_as = classes.names(connection), classes.counted_as(connection)
    predicted = _predictions(connection, session, model, list(images.values()))
    trained_on = set() if model is None else versions.seen_labels(connection, model).keys()
    opinion = {key: probabilities for key, probabilities in predicted.items() if key not in trained_on}
    worth = {each.sample: _worth(each, opinion.get(each.sample), counted_as) for each in found}
    best = sorted(images.values(), key=lambda image: (-worth[image.key], image.sample_id))[: request.budget]
    batch_id, strategy = batches.next_id(connection), STRATEGIES[request.relabel or "disputed"]
    arm = "evaluation" if request.purpose == "evaluation" else "active"
    rows = [_row(rank, image, worth, predicted, strategy, arm) for rank, image in enumerate(best, 1)]
    csv = batch_csv.render_batch(
        batch_csv.CsvRow(
            sample_id=image.sample_id,
            path=name_today(session.workspace, image),
            rank=row.rank,
            score=row.score,
            pseudo_label=None if row.pseudo_label is None else names[counted_as[row.pseudo_label]],
            confidence=row.confidence,
            strategy=strategy,
            arm=arm,
            batch_id=batch_id,
        )
        for image, row in zip(best, rows, strict=True)
    )
    return Choice(
        batch_id=batch_id,
        images=best,
        rows=rows,
        csv=csv,
        strategy=strategy,
        model=model,
        non_finite=0,
        notes=_advice(connection, request),
        warnings=(),
        memory=None,
    )


def _worth(candidate: Candidate, probabilities: Sequence[float] | None, counted_as: Sequence[int]) -> float:
    """See above; a class that the model does not know keeps its votes."""
    if candidate.value is not None:
        return candidate.value
    weights = [
        count * (1.0 if probabilities is None else max(_of_class(probabilities, label, counted_as), 1e-12))
        for label, count in sorted(candidate.votes.items())
    ]
    total = math.fsum(weights)
    return -math.fsum(w / total * math.log(w / total) for w in weights)


def _of_class(probabilities: Sequence[float], label: int, counted_as: Sequence[int]) -> float:
    parts = [p for position, p in enumerate(probabilities) if counted_as[position] == label]
    return math.fsum(parts) if parts else 1.0


def _row(
    rank: int,
    image: PoolImage,
    worth: Mapping[int, float],
    predicted: Mapping[int, Sequence[float]],
    strategy: str,
    arm: str,
) -> BatchRow:
    probabilities = predicted.get(image.key)
    label = None if probabilities is None else int(np.argmax(probabilities))
    confidence = None if probabilities is None or label is None else probabilities[label]
    return BatchRow(
        rank=rank,
        sample=image.key,
        score=worth[image.key],
        pseudo_label=label,
        confidence=confidence,
        strategy=strategy,
        arm=arm,
    )


def _predictions(
    connection: Connection, session: Session, model: ModelVersion | None, images: Sequence[PoolImage]
) -> dict[int, list[float]]:
    """By sample, what the newest model says of every class; nothing where its scores are not complete."""
    if model is None:
        return {}
    store, groups = ScoreStore.open(connection, session.workspace, session.config, model), {Group.PREDICTIONS}
    if store.missing(connection, groups):
        return {}
    table: Table | None = as_counted(store.table(groups), classes.counted_as(connection))
    if table is None:
        return {}
    ids = digests([image.sample_id for image in images])
    found = table.lookup(ids, ["probabilities"])["probabilities"]
    return {image.key: [shortest(p) for p in row] for image, row in zip(images, found, strict=True)}


def _advice(connection: Connection, request: QueryRequest) -> tuple[str, ...]:
    force = consensus.in_force(connection)
    if request.relabel != "disputed" or force.rule != "unanimous":
        return ()
    return (
        "labels.consensus is unanimous: a dispute ends when those who disagree come to agree; "
        "with majority, a third opinion settles it",
    )


def _nothing_left(connection: Connection, request: QueryRequest) -> NothingLeftError:
    if request.relabel == "suspects":
        return NothingLeftError("no suspect label is left to look at", "all are out, or have been answered since")
    disputed = catalog.count_states(connection)[request.purpose]["disputed"]
    out = f"all {disputed} disputed ones are out already" if disputed else "none is disputed"
    return NothingLeftError(
        f"no {request.purpose} sample is left to label again: {out}",
        "`dalcli labels disputed` lists what annotators disagree on",
    )
