"""The sets of a diagnosis, from one snapshot of the workspace: S, S0, the pool outside S, the batch Q, and candidates.

Everything belongs to one model version: what is trained, labeled or issued meanwhile changes nothing. Never imports
torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dalcli.config.words import counted
from dalcli.errors import NothingLeftError, NotReadyError, UsageError
from dalcli.querying.request import QueryRequest
from dalcli.querying.selection import select_batch
from dalcli.querying.snapshot import Missing, Snapshot, take_snapshot
from dalcli.scores.store import ScoreStore
from dalcli.state import batches, catalog, ledger, versions
from dalcli.state.batches import Batch
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.workspace.label_files import true_labels
from dalcli.workspace.session import Session
from dalcli.workspace.versions import named_version, none_readable


@dataclass(frozen=True)
class ChosenBatch:
    """The batch Q that R is asked about, best first: ``issued`` with the version, or the ``next`` one."""

    source: Literal["issued", "next"]
    batch_id: str | None
    strategy: str
    images: Sequence[PoolImage]


@dataclass(frozen=True)
class Candidates:
    """What Kendall's τ draws from: images outside S whose true ``labels`` (by sample key) are known, and where from."""

    source: Literal["labels file", "evaluation set"]
    images: Sequence[PoolImage]
    labels: Mapping[int, int]


@dataclass(frozen=True, kw_only=True)
class Sets:
    """What a diagnosis of ``model`` is about; images in the order of sample ids.

    ``labels``: S by sample key, as the version saw it; ``initial``: those that the first version saw, too (S0).
    ``pool``: training samples outside S. ``scores``: what is known of the version's gradients. ``budget``: the size of
    the batches in question, whether there is a ``batch`` or not.
    """

    model: ModelVersion
    newer_labels: int
    labels: Mapping[int, int]
    initial: frozenset[int]
    labeled: Sequence[PoolImage]
    pool: Sequence[PoolImage]
    scores: ScoreStore
    budget: int
    batch: ChosenBatch | None = None
    candidates: Candidates | None = None


def check(session: Session, version: str | None, budget: int | None, labels: Path | None) -> None:
    """What :func:`gather` would refuse of a version, a batch size or a labels file, before anything is computed."""
    with session.database.read() as connection:
        _size(connection, session, _issued(connection, named_version(connection, version), budget), budget)
        if labels is not None:
            true_labels(connection, session.workspace, labels)


def gather(session: Session, version: str | None, budget: int | None, labels: Path | None) -> Sets:
    """The sets of ``version`` (None: the newest). Holds no lock and changes nothing.

    Raises:
        NotReadyError: there is no model, or the pool was not scored, so that no batch can be chosen.
        UsageError: no such version; no batch size is known.
        BadInputError: the labels file has bad rows.
    """
    with session.database.read() as connection:
        model = named_version(connection, version)
        issued = _issued(connection, model, budget)
        size = _size(connection, session, issued, budget)
        sets = _without_batch(connection, session, model, size)
        sets = replace(sets, candidates=_candidates(connection, session, sets, labels))
        if not sets.labeled:
            raise none_readable(model)
        if issued is not None:
            return replace(sets, batch=_issued_batch(connection, issued, sets.pool))
        if model != versions.newest(connection):
            return sets
        request = QueryRequest(size, "training", session.config.query, stale_ok=True)
        try:
            snapshot = take_snapshot(connection, session, request)
        except NothingLeftError as error:
            session.feedback.note(f"{error.message}: there is no batch to look at")
            return sets
    return replace(sets, batch=_next_batch(session, request, snapshot))


def _issued(connection: Connection, model: ModelVersion, budget: int | None) -> Batch | None:
    """The newest training batch that was chosen with ``model``, open or not, if it has the size asked for."""
    found = [b for b in batches.listing(connection) if b.purpose == "training" and b.model == model.version]
    return found[-1] if found and budget in {None, found[-1].requested} else None


def _size(connection: Connection, session: Session, issued: Batch | None, budget: int | None) -> int:
    return budget or (issued.requested if issued is not None else None) or _usual_budget(connection, session)


def _usual_budget(connection: Connection, session: Session) -> int:
    if session.config.query.budget is not None:
        return session.config.query.budget
    sizes = [batch.requested for batch in batches.listing(connection) if batch.purpose == "training"]
    if not sizes:
        raise UsageError("no batch size is known yet", "pass --budget N, or set query.budget in dalcli.yaml")
    return sizes[-1]


def _without_batch(connection: Connection, session: Session, model: ModelVersion, budget: int) -> Sets:
    """All but the batch and the candidates."""
    history = versions.history(connection)
    labels = versions.seen_labels(connection, model)
    images = catalog.images(connection, "training")
    return Sets(
        model=model,
        newer_labels=versions.newer_labels(connection, model) if model == history[-1] else 0,
        labels=labels,
        initial=frozenset(versions.seen_labels(connection, history[0])) & labels.keys(),
        labeled=[image for image in images if image.key in labels],
        pool=[image for image in images if image.key not in labels],
        scores=ScoreStore.open(connection, session.workspace, session.config, model),
        budget=budget,
    )


def _candidates(connection: Connection, session: Session, sets: Sets, file: Path | None) -> Candidates | None:
    """Images with true labels that the model has not seen: of the file, or else of the evaluation set."""
    evaluation = catalog.images(connection, "evaluation")
    if file is not None:
        return _candidates_of_file(connection, session, sets, file, evaluation)
    known = _unseen(sets, ledger.labels(connection, "evaluation"))
    images = [image for image in evaluation if image.key in known]
    return Candidates("evaluation set", images, known) if images else None


def _candidates_of_file(
    connection: Connection, session: Session, sets: Sets, file: Path, evaluation: Sequence[PoolImage]
) -> Candidates | None:
    known = _unseen(sets, true_labels(connection, session.workspace, file))
    images = [image for image in (*sets.pool, *evaluation) if image.key in known]
    if not images:
        session.feedback.warn(f"{file}: no image of it is outside the labeled set of {sets.model.version}")
    return Candidates("labels file", images, known) if images else None


def _unseen(sets: Sets, labels: Mapping[int, int]) -> dict[int, int]:
    """Those outside S, of classes that the model knows."""
    return {key: label for key, label in labels.items() if key not in sets.labels and label < sets.model.classes}


def _issued_batch(connection: Connection, batch: Batch, pool: Sequence[PoolImage]) -> ChosenBatch | None:
    """The samples of an issued batch, but for those that became unreadable."""
    outside = {image.sample_id: image for image in pool}
    images = [outside[row.sample_id] for row in batches.rows(connection, batch) if row.sample_id in outside]
    strategy = ", ".join(batches.strategies(connection, batch))
    return ChosenBatch("issued", batch.batch_id, strategy, images) if images else None


def _next_batch(session: Session, request: QueryRequest, snapshot: Snapshot | Missing) -> ChosenBatch:
    """What `query` would choose now; outside the snapshot, because a strategy may take its time."""
    if isinstance(snapshot, Missing):
        unscored = counted(snapshot.samples, "sample has", "samples have")
        raise NotReadyError(f"{unscored} no scores yet, so no batch can be chosen to look at", "run: dalcli score")
    choice = select_batch(session, request, snapshot)
    return ChosenBatch("next", None, choice.strategy, choice.images)
