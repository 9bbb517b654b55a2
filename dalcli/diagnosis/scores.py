"""What `score` has kept for a version: its table and G_S, as far as they were made with the pixels of today.

Never imports torch before G_S is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dalcli.scores.settings import TableSettings, pixels_fingerprint
from dalcli.scores.table import ScoreTable
from dalcli.state import scores
from dalcli.state.database import Connection
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session

if TYPE_CHECKING:
    from dalcli.scoring.labeled_gradient import LabeledGradient


def stored_table(connection: Connection, session: Session, model: ModelVersion) -> ScoreTable | None:
    """The version's score table, complete or not; None if there is none."""
    text = scores.fingerprint(connection, model.key)
    if text is None or TableSettings.parse(text).pixels != pixels_fingerprint(session.config, model):
        return None
    folder = session.workspace.score_folder(model.version)
    shards = [folder / shard.file for shard in scores.shards(connection, model.key)]
    return ScoreTable(shards) if shards else None


def stored_gradient(session: Session, model: ModelVersion) -> LabeledGradient | None:
    """G_S as `score` kept it, if it did."""
    from dalcli.scoring.labeled_gradient import LABELED_GRADIENT_NAME, stored

    folder = session.workspace.score_folder(model.version)
    return stored(folder / LABELED_GRADIENT_NAME, pixels_fingerprint(session.config, model))
