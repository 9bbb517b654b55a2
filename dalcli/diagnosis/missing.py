"""Gradients that a diagnosis reads and `score` has not computed: they are added to the same score table."""

from __future__ import annotations

from dalcli.errors import LockedError
from dalcli.scores.columns import Group
from dalcli.scores.store import ScoreStore
from dalcli.scoring.run import ScoreRequest, score
from dalcli.state import versions
from dalcli.workspace.session import Session

COLUMNS = ("grad_sq_norm", "grad_inner")


def add_gradients(session: Session, version: str | None) -> None:
    """If the newest version is meant, and its table has all predictions: have it hold gradients, too.

    An older version's table is not added to, nor one that another process is working at: then a diagnosis computes what
    it reads itself, and keeps nothing.
    """
    with session.database.read() as connection:
        model = versions.newest(connection)
        if model is None or version not in {None, model.version}:
            return
        store = ScoreStore.open(connection, session.workspace, session.config, model)
        predicted = bool(store.shards) and not store.missing(connection, {Group.PREDICTIONS})
        if not predicted or not store.missing(connection, {Group.PREDICTIONS, Group.GRADIENTS}):
            return
    try:
        score(session, ScoreRequest(columns=COLUMNS, stale_ok=True))
    except LockedError as error:
        session.feedback.note(f"{error.message}: gradients are computed here, and not kept")
