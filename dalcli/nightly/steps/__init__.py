"""The steps of a night in their order: a file each, a line here."""

from __future__ import annotations

from dalcli.nightly.step import Step
from dalcli.nightly.steps import backup, evaluate, inbox, plan, pull, query, report, score, track, train

STEPS: tuple[Step, ...] = (
    inbox.STEP,
    pull.STEP,
    train.STEP,
    score.STEP,
    evaluate.STEP,
    track.STEP,
    plan.STEP,
    query.STEP,
    report.STEP,
    backup.STEP,
)
"""A query comes after the plan, which may say stop; the report after the query; what keeps the state, last."""
