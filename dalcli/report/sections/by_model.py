"""Labels that no person gave: how many there are, what was promised of them, and what became of the promise."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.config.words import plural
from dalcli.report.blocks import Block, Section, Table, Text
from dalcli.report.contents import LabeledByModel, Report
from dalcli.report.figures import DASH, day, number

RUNS_SHOWN = 20


def by_model(report: Report) -> Section:
    """Every run of ``predict --auto``, the newest first."""
    return Section("labels-by-model", "Labels by the model", list(_by_model(report)))


def _by_model(report: Report) -> Iterator[Block]:
    runs = list(reversed(report.by_model))
    standing = [each for each in runs if each.run.withdrawn_at is None]
    if not runs:
        yield Text("There are none: every label is a person's (dalcli predict --auto).", "missing")
        return
    if not standing:
        yield Text("None counts: all of them were taken back.", "lead")
    for each in standing:
        yield Text(_promise(each), "lead")
    yield Table(
        "Runs of the model",
        ("by", "on", "labels", "counting", "wrong at most", "sure", "checked by people", "wrong", "stands"),
        [_row(each) for each in runs[:RUNS_SHOWN]],
        words=frozenset({8}),
        codes=frozenset({0, 1}),
        folded=6 if len(runs) > 8 else None,
    )
    if len(runs) > RUNS_SHOWN:
        yield Text(f"{plural(len(runs) - RUNS_SHOWN, 'earlier run')} not listed: dalcli labels export --auto.", "note")


def _promise(each: LabeledByModel) -> str:
    run = each.run
    promise = run.promise
    return (
        f"{plural(run.standing, 'image')} without a person's label count as labeled by {run.version}: at most "
        f"{_share(promise['max_error'])} of its labels are wrong, {_share(promise['confidence'])} sure. That rests on "
        f"{plural(promise['evaluation_labels'], 'evaluation label')}."
    )


def _row(each: LabeledByModel) -> tuple[str, ...]:
    run = each.run
    withdrawn = run.withdrawn_at is not None
    return (
        run.annotator,
        day(run.recorded_at),
        number(run.labels),
        number(0 if withdrawn else run.standing),
        _share(run.promise["max_error"]),
        _share(run.promise["confidence"]),
        number(each.checked),
        number(each.wrong) if each.checked else DASH,
        f"no: {run.reason}" if withdrawn else "yes",
    )


def _share(value: float) -> str:
    return f"{100 * value:g}%"
