"""Score what the configured strategy reads and the newest model has not scored."""

from __future__ import annotations

from dalcli.config.words import counted
from dalcli.nightly.step import Done, Need, Night, Step
from dalcli.scores.store import ScoreStore
from dalcli.state import versions
from dalcli.workspace.session import strategy_columns


def _needed(night: Night) -> Need:
    session = night.session
    with session.database.read() as connection:
        model = versions.newest(connection)
        if model is None:
            return Need(False, "there is no model yet", later=True)
        store = ScoreStore.open(connection, session.workspace, session.config, model)
        missing = store.count_missing(connection, store.groups_for(strategy_columns(session.config)))
    if not missing:
        return Need(False, f"the pool is scored with {model.version}", later=True)
    return Need(True, f"{counted(missing, 'sample')} not scored with {model.version}")


def _run(night: Night) -> Done:
    from dalcli.commands import score  # imports torch

    scored = score.run(night.session, score.ScoreRequest(wait=night.options.wait))
    details = {"version": scored.version, "samples": scored.samples}
    return Done(f"{counted(scored.samples, 'sample')} with {scored.version}", details)


STEP = Step("score", _needed, _run, after=("train",), requires=("train",), long=True)
