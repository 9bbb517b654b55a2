"""Measure the newest model on the evaluation labels of today."""

from __future__ import annotations

from dalcli.commands import evaluate
from dalcli.config.words import counted
from dalcli.evaluation.run import is_measured
from dalcli.nightly.step import Done, Need, Night, Step
from dalcli.state import ledger, versions


def _needed(night: Night) -> Need:
    session = night.session
    with session.database.read() as connection:
        model = versions.newest(connection)
        if model is None:
            return Need(False, "there is no model yet", later=True)
        labels = len(ledger.labels(connection, "evaluation"))
        measured = is_measured(connection, session.config, model)
    if not labels:
        return Need(False, "there are no evaluation labels", later=True)
    if measured:
        return Need(False, f"{model.version} was measured on all {labels} evaluation labels", later=True)
    return Need(True, f"{model.version} on {counted(labels, 'evaluation label')}")


def _run(night: Night) -> Done:
    measured = evaluate.run(night.session, log=False)  # a step of its own
    report = measured.report
    interval = report["accuracy_interval"]
    details = {
        "version": measured.version,
        "labels": measured.labels,
        "accuracy": report["accuracy"],
        "low": interval["low"],
        "high": interval["high"],
        "examples": report["examples"],
    }
    low, high = (f"{100 * interval[side]:.1f}" for side in ("low", "high"))
    return Done(f"{measured.version}: accuracy {100 * report['accuracy']:.1f}% ({low} to {high})", details)


STEP = Step("evaluate", _needed, _run, after=("inbox", "pull", "train"), requires=("train",), long=True)
