"""What a version says of the pool: of the newest one from its score table, which is completed where it lacks images.

Memory: some numbers for each image, never one for each of its classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.crowd.merging import merged_probabilities
from dalcli.data.identity import digests
from dalcli.errors import NotReadyError
from dalcli.prediction.calibrated import Likeliest, likeliest
from dalcli.prediction.version import Predictor
from dalcli.scores.columns import Group
from dalcli.scores.samples import SampleSet
from dalcli.scores.store import ScoreStore
from dalcli.scores.table import ScoreTable
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session


@dataclass(frozen=True, eq=False)
class PoolPredictions:
    """What is said of ``sample_ids``; an image that could not be read has NaN."""

    sample_ids: Sequence[str]
    said: Likeliest


def of_pool(
    session: Session, found: Predictor, sample_ids: Sequence[str], top: int = 1, wait: float = 0.0
) -> PoolPredictions:
    """What ``found`` says of training samples (ascending ids); what is missing is computed first.

    Raises:
        LockedError: the pool is to be scored, and another process is computing.
        DalcliError: most of the images are missing, or the model's files are damaged.
    """
    table = stored(session, found)
    if table is None and found.is_newest:
        from dalcli.scoring.run import ScoreRequest, score

        score(session, ScoreRequest(columns=("probabilities",), stale_ok=True, wait=wait))
        table = stored(session, found)
    if table is not None:
        return PoolPredictions(sample_ids, read(table, found, sample_ids, top))
    return PoolPredictions(sample_ids, _computed(session, found, sample_ids, top))


def stored(session: Session, found: Predictor) -> ScoreTable | None:
    """The score table of the version, if nobody is missing in it."""
    with session.database.read() as connection:
        store = ScoreStore.open(connection, session.workspace, session.config, found.model)
        if not store.complete(connection, {Group.PREDICTIONS}):
            return None
    return store.table({Group.PREDICTIONS})


def required(session: Session, found: Predictor) -> ScoreTable:
    """The same for a command that computes nothing.

    Raises:
        NotReadyError: it is not complete.
    """
    table = stored(session, found)
    if table is None:
        raise NotReadyError(
            f"{found.model.version} has not been asked about all of the pool", "run: dalcli predict > predictions.csv"
        )
    return table


def read(table: ScoreTable, found: Predictor, sample_ids: Sequence[str], top: int = 1) -> Likeliest:
    """What the table says of ``sample_ids`` (ascending)."""
    wanted = SampleSet(digests(sample_ids) if len(sample_ids) else np.empty((0, 16), np.uint8))
    said = Likeliest.empty(len(sample_ids), min(top, found.most))
    for block in table.blocks(("probabilities",)):
        places = wanted.find(block.digests)
        rows = np.flatnonzero(places >= 0)
        if len(rows):
            probabilities = merged_probabilities(block["probabilities"][rows], found.counted_as)
            said.put(places[rows], likeliest(probabilities, found.temperature, said.classes.shape[1]))
    return said


def _computed(session: Session, found: Predictor, sample_ids: Sequence[str], top: int) -> Likeliest:
    """In a pass of its own: older versions' score tables are not added to."""
    from dalcli.prediction.passing import opened

    said = Likeliest.empty(len(sample_ids), min(top, found.most))
    place = {sample_id: row for row, sample_id in enumerate(sample_ids)}
    with session.database.read() as connection:
        images = [image for image in catalog.images(connection, "training") if image.sample_id in place]
    with (
        opened(session, found) as version,
        PoolImages.open(session, images, version.seen) as pool,
        session.feedback.task(f"predicting with {found.model.version}", len(pool)) as task,
    ):
        for block, probabilities in version.probabilities(pool):
            rows = np.array([place[pool.images[row].sample_id] for row in block.rows], np.int64)
            said.put(rows, likeliest(probabilities, found.temperature, said.classes.shape[1]))
            task.advance(len(block))
    return said


def unlabeled(session: Session) -> list[PoolImage]:
    """The rest of the pool: readable training samples that no person has answered, in the order of sample ids."""
    with session.database.read() as connection:
        return catalog.unanswered(connection, "training")
