"""Which samples of a model version still have to be scored. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dalcli.config.fingerprint import fingerprint
from dalcli.config.schema import Config
from dalcli.data.identity import digests
from dalcli.errors import DalcliError
from dalcli.scoring.table import Digests, Shard
from dalcli.state import catalog, scores
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.scores import ScoreShard
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import Workspace
from dalcli.strategies.samples import SampleSet


def score_fingerprint(config: Config, model: ModelVersion) -> str:
    """Changes when the model is another one, or would see other pixels (always at the size it was trained with)."""
    return fingerprint(model.fingerprint, model.labels_digest, config.data.resize, config.data.alpha_background)


def missing(
    connection: Connection,
    workspace: Workspace,
    config: Config,
    model: ModelVersion,
    shards: Sequence[ScoreShard] | None = None,
) -> list[PoolImage]:
    """Readable training samples that no complete shard of ``model`` holds, in the order of sample ids.

    Shards whose files were deleted or cannot be opened do not count: deleting ``scores/`` loses nothing but time.
    With ``shards``, no others do either.
    """
    rows = connection.execute("SELECT sample_id FROM sample WHERE purpose = 'training' AND quarantine IS NULL")
    ids = [row["sample_id"] for row in rows]
    done = _scored(connection, workspace, config, model, shards).contains(digests(ids))
    if done.all():  # the usual case, and a light one however large the pool
        return []
    wanted = {ids[place] for place in np.flatnonzero(~done)}
    return [image for image in catalog.images(connection, "training") if image.sample_id in wanted]


def is_intact(path: Path, shard: ScoreShard, model: ModelVersion) -> bool:
    """Whether every byte of a shard is as it was written; reads the whole file."""
    try:
        file = Shard(path)
        for _ in file.blocks(list(file.header.layout)):
            pass
        return (file.header.rows, file.header.metadata.model_version) == (shard.samples, model.version)
    except DalcliError:
        return False


def _scored(
    connection: Connection,
    workspace: Workspace,
    config: Config,
    model: ModelVersion,
    shards: Sequence[ScoreShard] | None,
) -> SampleSet:
    if scores.fingerprint(connection, model.key) != score_fingerprint(config, model):
        return SampleSet.EMPTY
    folder = workspace.score_folder(model.version)
    counted = scores.shards(connection, model.key) if shards is None else shards
    found = list(_digests(folder / shard.file for shard in counted))
    return SampleSet(np.concatenate(found)) if found else SampleSet.EMPTY


def _digests(paths: Iterator[Path]) -> Iterator[Digests]:
    for path in paths:
        try:
            yield Shard(path).read(("digest",))["digest"]
        except DalcliError:  # missing or damaged: as if it had never been written
            continue
