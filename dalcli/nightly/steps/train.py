"""Train where labels or settings are new."""

from __future__ import annotations

from dalcli.commands import train
from dalcli.config.words import counted
from dalcli.nightly.step import Done, Need, Night, Step
from dalcli.state import ledger, versions
from dalcli.training.plan import make_plan
from dalcli.workspace.network import recorded


def _needed(night: Night) -> Need:
    session = night.session
    with session.database.read() as connection:
        labels = len(ledger.labels(connection, "training"))
        newest, unfinished = versions.newest(connection), versions.unfinished(connection)
        adopted = session.config.model.train != "head" or recorded(connection, session.config) is not None
    if not labels:
        return Need(False, "there are no labels yet", later=True)
    if newest is None:
        return Need(True, f"the first model, from {counted(labels, 'label')}" if unfinished is None else "goes on")
    if not adopted:
        return Need(True, "another frozen network")
    plan = make_plan(session)
    if plan.done is not None:
        return Need(False, f"{newest.version} was trained on all {labels} labels", later=True)
    if plan.newer:
        are = counted(plan.newer, "label is", "labels are")
        return Need(True, f"{are} newer than {newest.version}")
    return Need(True, f"other settings, classes or files than those of {newest.version}")


def _run(night: Night) -> Done:
    model = train.run(night.session, wait=night.options.wait).model
    how = "" if model.converged else f", not converged ({model.stopped})"
    details = {"version": model.version, "labels": model.labels, "epochs": model.epochs, "converged": model.converged}
    return Done(f"{model.version} on {counted(model.labels, 'label')}{how}", details)


STEP = Step("train", _needed, _run, after=("inbox", "pull"), long=True)
