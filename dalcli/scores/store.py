"""Which samples of a model version still have to be scored. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dalcli.config.schema import Config
from dalcli.data.identity import digests
from dalcli.errors import DalcliError
from dalcli.scores.samples import SampleSet
from dalcli.scores.settings import TableSettings, wanted_settings
from dalcli.scores.table import Digests, Shard
from dalcli.state import catalog, scores
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.scores import ScoreShard
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import Workspace


def recorded(connection: Connection, model: ModelVersion) -> TableSettings | None:
    """What the score table of ``model`` was begun with, if there is one."""
    text = scores.fingerprint(connection, model.key)
    return None if text is None else TableSettings.parse(text)


def table_settings(connection: Connection, config: Config, model: ModelVersion) -> TableSettings:
    """What to score with: what a table that serves was begun with, even if less would do by now; else as configured."""
    before, wanted = recorded(connection, model), wanted_settings(config, model)
    return before if before is not None and before.serves(wanted) else wanted


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
    if recorded(connection, model) != table_settings(connection, config, model):
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
