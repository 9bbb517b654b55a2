"""Choosing a batch from a snapshot: which samples, and what is said about each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dalcli.config.hashing import derive_seed
from dalcli.data.identity import digests, id_from_digest
from dalcli.formats import batch_csv
from dalcli.querying.prescreened import other_gamma, select_exact
from dalcli.querying.request import QueryRequest
from dalcli.querying.snapshot import Snapshot
from dalcli.scores.samples import SampleSet
from dalcli.state.batches import BatchRow
from dalcli.state.catalog import PoolImage
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import Workspace
from dalcli.strategies.base import Memory, Request, Selection, Table
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class Choice:
    """A batch that can be issued, provided that nobody else took its id or its samples meanwhile."""

    batch_id: str
    images: Sequence[PoolImage]
    rows: Sequence[BatchRow]
    csv: bytes
    strategy: str
    model: ModelVersion | None
    non_finite: int
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    memory: Memory | None


def select_batch(session: Session, request: QueryRequest, snapshot: Snapshot) -> Choice:
    """The batch itself: evaluation samples in the order of their reserve, training samples by the strategy.

    Raises:
        NotReadyError: the strategy reads a column that the scores lack.
        DalcliError: a score file is damaged.
    """
    if request.purpose == "evaluation":
        first = snapshot.eligible[: request.budget]
        selection, arm = Selection(digests([image.sample_id for image in first])), "evaluation"
    else:
        selection, arm = _selected(session, request, snapshot), "active"
    by_id = {image.sample_id: image for image in snapshot.eligible}
    images = [by_id[id_from_digest(bytes(digest))] for digest in selection.digests]
    rows = _rows(images, selection, snapshot, arm)
    warning = other_gamma(snapshot.strategy.columns, request.query.gamma, snapshot.prescreen_gamma)
    return Choice(
        batch_id=snapshot.batch_id,
        images=images,
        rows=rows,
        csv=_csv(session.workspace, snapshot, images, rows),
        strategy=snapshot.strategy_name,
        model=snapshot.model,
        non_finite=selection.non_finite,
        notes=selection.notes,
        warnings=() if warning is None else (warning,),
        memory=selection.memory,
    )


def _selected(session: Session, request: QueryRequest, snapshot: Snapshot) -> Selection:
    """What the strategy takes."""
    asked = Request(
        budget=request.budget,
        eligible=SampleSet(digests([image.sample_id for image in snapshot.eligible])),
        seed=derive_seed(session.config.seed, "query", snapshot.batch_id),
        table=snapshot.table,
        labeled=SampleSet(digests(snapshot.labeled)),
        in_flight=SampleSet(digests(snapshot.in_flight)),
        memory_limit=request.query.memory_limit,
        memory=snapshot.memory,
        answers=snapshot.answers,
    )
    return select_exact(snapshot.strategy, asked)


def _rows(images: Sequence[PoolImage], selection: Selection, snapshot: Snapshot, arm: str) -> list[BatchRow]:
    """One row an image, best first, with its value and what the model predicts, if there are any."""
    values = [None] * len(images) if selection.values is None else [_finite(value) for value in selection.values]
    predictions = _predictions(selection, snapshot.table)
    return [
        BatchRow(
            rank=rank,
            sample=image.key,
            score=value,
            pseudo_label=label,
            confidence=confidence,
            strategy=snapshot.strategy_name,
            arm=arm,
        )
        for rank, (image, value, (label, confidence)) in enumerate(zip(images, values, predictions, strict=True), 1)
    ]


def _finite(value: np.float64) -> float | None:
    return None if math.isnan(value) else float(value)


def _predictions(selection: Selection, table: Table | None) -> Sequence[tuple[int | None, float | None]]:
    """Likeliest class and its probability, of every sample chosen."""
    if table is None or "probabilities" not in table.layout:  # without a model
        return [(None, None)] * len(selection.digests)
    probabilities = table.lookup(selection.digests, ["probabilities"])["probabilities"]
    return [(int(p.argmax()), shortest(p.max())) for p in probabilities]


def shortest(value: np.float32) -> float:
    """The float that prints as shortly as the float32 does: 0.9, not 0.8999999761581421."""
    return float(str(value))


def _csv(workspace: Workspace, snapshot: Snapshot, images: Sequence[PoolImage], rows: Sequence[BatchRow]) -> bytes:
    """The bytes that will be printed."""
    names = snapshot.class_names
    return batch_csv.render_batch(
        batch_csv.CsvRow(
            sample_id=image.sample_id,
            path=name_today(workspace, image),
            rank=row.rank,
            score=row.score,
            pseudo_label=None if row.pseudo_label is None else names[row.pseudo_label],
            confidence=row.confidence,
            strategy=row.strategy,
            arm=row.arm,
            batch_id=snapshot.batch_id,
        )
        for image, row in zip(images, rows, strict=True)
    )


def name_today(workspace: Workspace, image: PoolImage) -> str:
    """Of several known names the first under which the file is there: images are moved and renamed."""
    if len(image.files) < 2:
        return image.path
    paths: list[Path] = [workspace.absolute_path(seen.path) for seen in image.files]
    there = (seen.path for seen, path in zip(image.files, paths, strict=True) if path.exists())
    return next(there, image.path)
