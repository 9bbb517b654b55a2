"""The sets of a diagnosis, from one snapshot of the workspace: S, S0, the pool outside S, and the batch Q.

Everything belongs to one model version: what is trained, labeled or issued meanwhile changes nothing. Never imports
torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dalcli.config.words import counted
from dalcli.diagnosis.labels import from_file
from dalcli.diagnosis.scores import stored_table
from dalcli.errors import NothingLeftError, NotReadyError, UsageError
from dalcli.querying.request import QueryRequest
from dalcli.querying.selection import select_batch
from dalcli.querying.snapshot import Missing, Snapshot, take_snapshot
from dalcli.scores.table import ScoreTable
from dalcli.state import batches, catalog, ledger, versions
from dalcli.state.batches import Batch
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.workspace.named_version import named_version
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class Query:
    """The batch Q, best first; ``source`` is ``issued`` or ``next``."""

    source: str
    batch_id: str | None
    strategy: str
    images: Sequence[PoolImage]


@dataclass(frozen=True)
class Candidates:
    """Images outside S whose true labels are known, and where from."""

    source: str
    images: Sequence[PoolImage]
    labels: Mapping[int, int]


@dataclass(frozen=True)
class Sets:
    """What a diagnosis of ``model`` looks at; images in the order of sample ids.

    ``labels``: S by sample key, as the version saw it; ``initial``: those that the first version saw, too (S0).
    ``pool``: training samples outside S. ``table``: the version's scores, if there are any.
    """

    model: ModelVersion
    newer_labels: int
    labels: Mapping[int, int]
    initial: frozenset[int]
    labeled: Sequence[PoolImage]
    pool: Sequence[PoolImage]
    table: ScoreTable | None
    budget: int
    query: Query | None
    candidates: Candidates | None


@dataclass(frozen=True)
class _Look:
    """A snapshot before a strategy has been asked."""

    sets: Sets
    request: QueryRequest
    snapshot: Snapshot | Missing | None


def gather(session: Session, version: str | None, budget: int | None, labels: Path | None) -> Sets:
    """The sets of ``version`` (None: the newest). Holds no lock and changes nothing.

    Raises:
        NotReadyError: there is no model, or the pool was not scored, so that no batch can be chosen.
        UsageError: no such version; no batch size is known.
        BadInputError: the labels file has bad rows.
    """
    with session.database.read() as connection:
        look = _look(connection, session, version, budget, labels)
    if look.snapshot is None:
        return look.sets
    if isinstance(look.snapshot, Missing):
        have = counted(look.snapshot.samples, "sample has", "samples have")
        raise NotReadyError(
            f"{have} no scores yet, so no batch can be chosen to look at",
            "run: dalcli score",
        )
    choice = select_batch(session, look.request, look.snapshot)
    return replace(look.sets, query=Query("next", None, choice.strategy, choice.images))


def _look(
    connection: Connection, session: Session, version: str | None, budget: int | None, file: Path | None
) -> _Look:
    model = named_version(connection, version)
    history = versions.history(connection)
    newest = model == history[-1]
    labels = versions.seen_labels(connection, model)
    images = catalog.images(connection, "training")
    issued = _issued(connection, model, budget)
    size = budget or (issued.requested if issued is not None else None) or _usual_budget(connection, session)
    request = QueryRequest(size, "training", session.config.query, stale_ok=True)
    query, snapshot = None, None
    if issued is not None:
        query = _as_query(connection, issued, {image.sample_id: image for image in images}, labels)
    elif newest:
        try:
            snapshot = take_snapshot(connection, session, request)
        except NothingLeftError as error:
            session.feedback.note(f"{error.message}: there is no batch to look at")
    sets = Sets(
        model=model,
        newer_labels=versions.newer_labels(connection, model) if newest else 0,
        labels=labels,
        initial=frozenset(versions.seen_labels(connection, history[0])) & labels.keys(),
        labeled=[image for image in images if image.key in labels],
        pool=[image for image in images if image.key not in labels],
        table=stored_table(connection, session, model),
        budget=size,
        query=query,
        candidates=_candidates(connection, session, model, labels, images, file),
    )
    if not sets.labeled:
        raise NotReadyError(
            f"none of the images that {model.version} was trained on can be read", "see `dalcli pool quarantine`"
        )
    return _Look(sets, request, snapshot)


def _issued(connection: Connection, model: ModelVersion, budget: int | None) -> Batch | None:
    """The newest training batch that was chosen with ``model``, open or not, if it has the size asked for."""
    found = [b for b in batches.listing(connection) if b.purpose == "training" and b.model == model.version]
    return found[-1] if found and budget in {None, found[-1].requested} else None


def _usual_budget(connection: Connection, session: Session) -> int:
    if session.config.query.budget is not None:
        return session.config.query.budget
    sizes = [batch.requested for batch in batches.listing(connection) if batch.purpose == "training"]
    if not sizes:
        raise UsageError("no batch size is known yet", "pass --budget N, or set query.budget in dalcli.yaml")
    return sizes[-1]


def _as_query(
    connection: Connection, batch: Batch, images: Mapping[str, PoolImage], labels: Mapping[int, int]
) -> Query | None:
    """The samples of an issued batch, but for those that became unreadable."""
    rows = [images[row.sample_id] for row in batches.rows(connection, batch) if row.sample_id in images]
    kept = [image for image in rows if image.key not in labels]
    strategies = connection.execute("SELECT DISTINCT strategy FROM batch_row WHERE batch = ?", (batch.key,))
    name = ", ".join(sorted(row["strategy"] for row in strategies))
    return Query("issued", batch.batch_id, name, kept) if kept else None


def _candidates(
    connection: Connection,
    session: Session,
    model: ModelVersion,
    seen: Mapping[int, int],
    images: Sequence[PoolImage],
    file: Path | None,
) -> Candidates | None:
    """Images with true labels that the model has not seen: of the file, or else of the evaluation set."""
    source = "labels file" if file is not None else "evaluation set"
    if file is not None:
        known = from_file(connection, session, file)
        among = [*images, *catalog.images(connection, "evaluation")]
    else:
        known = ledger.labels(connection, "evaluation")
        among = catalog.images(connection, "evaluation")
    usable = {key: label for key, label in known.items() if key not in seen and label < model.classes}
    chosen = [image for image in among if image.key in usable]
    if file is not None and not chosen:
        session.feedback.warn(f"{file}: no image of it is outside the labeled set of {model.version}")
    return Candidates(source, chosen, usable) if chosen else None
