"""Which samples of a model version still have to be scored. Never imports torch."""

from __future__ import annotations

import numpy as np

from dalcli.commands.session import model_choice
from dalcli.config.fingerprint import fingerprint
from dalcli.config.schema import Config
from dalcli.data.identity import digests
from dalcli.scoring.table import ScoreTable
from dalcli.state import catalog, scores
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import Workspace
from dalcli.strategies.samples import SampleSet


def score_fingerprint(connection: Connection, config: Config, model: ModelVersion) -> str:
    """Changes when the same model would see other pixels."""
    data = config.data
    size = model_choice(connection, config).image_size
    return fingerprint(model.fingerprint, size, data.resize, data.alpha_background)


def missing(connection: Connection, workspace: Workspace, config: Config, model: ModelVersion) -> list[PoolImage]:
    """Readable training samples that no complete shard of ``model`` holds, in the order of sample ids.

    Shards whose files were deleted count as missing: deleting ``scores/`` loses nothing but time.
    """
    images = catalog.images(connection, "training")
    if scores.fingerprint(connection, model.key) != score_fingerprint(connection, config, model):
        return images
    folder = workspace.score_folder(model.version)
    present = [folder / s.file for s in scores.shards(connection, model.key) if (folder / s.file).is_file()]
    if not present:
        return images
    scored = [block.digests for block in ScoreTable(present).blocks(())]
    covered = SampleSet(np.concatenate(scored)).contains(digests([image.sample_id for image in images]))
    return [image for image, done in zip(images, covered, strict=True) if not done]
