"""Ask what the next labels buy: the verdict decides whether any go out."""

from __future__ import annotations

from dalcli.commands import plan
from dalcli.nightly.step import Done, Need, Night, Step


def _needed(night: Night) -> Need:
    return Need(True, "")


def _run(night: Night) -> Done:
    found = plan.run(night.session, plan.check(plan.Options(exit_code=True)))
    night.verdict, night.reason = found.verdict, found.reason
    standing = found.standing
    details = {
        "verdict": found.verdict,
        "reason": found.reason,
        "next_step": found.next_step,
        "metric": found.metric,
        "target": found.target,
        "value": standing.value,
        "proven": standing.proven,
        "labels": standing.labels_now,
        "spent": standing.spent.money,
        "currency": standing.spent.currency,
    }
    return Done(f"{found.verdict}: {found.reason}", details, changed=False)


STEP = Step("plan", _needed, _run, after=("evaluate",), requires=("train", "evaluate"), long=True)
