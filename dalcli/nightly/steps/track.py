"""Log measurements where ``tracking`` says; what a silent server does not take waits for the next night."""

from __future__ import annotations

from dalcli.config.words import counted
from dalcli.nightly.step import Done, Need, Night, Step
from dalcli.tracking.run import track, waiting


def _needed(night: Night) -> Need:
    config = night.session.config.tracking
    if config.jsonl is None and config.mlflow is None:
        return Need(False, "tracking names no place")
    found = waiting(night.session)
    if not found:
        return Need(False, "every measurement is logged", later=True)
    return Need(True, "; ".join(f"{name} lacks {counted(count, 'measurement')}" for name, count in found.items()))


def _run(night: Night) -> Done:
    found = track(night.session)
    logged = {each.place: each.measurements for each in found if each.problem is None}
    failed = {each.place: each.problem for each in found if each.problem is not None}
    parts = [f"{counted(count, 'measurement')} to {place}" for place, count in logged.items()]
    parts += [f"{place} failed: {problem}" for place, problem in failed.items()]
    details = {"logged": logged, "failed": failed}
    return Done("; ".join(parts) or "another command is logging", details, changed=bool(logged))


STEP = Step("track", _needed, _run, after=("evaluate",))
