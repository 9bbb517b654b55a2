"""``evaluate``: how good a model version is, on evaluation labels only; ``--control``: and what choosing has gained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dalcli.errors import UsageError
from dalcli.evaluation.paired import PairedTest
from dalcli.evaluation.run import evaluate
from dalcli.gain.run import control_gain
from dalcli.prediction.checking import check_stored
from dalcli.tracking.run import track
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class EvaluateResult:
    """One version's report; ``labels`` is what it was trained on.

    Attributes:
        paired: the version against the one that was measured before it; None: there is none to compare with.
        control_gain: what choosing has gained, where that was asked for (``dalcli.gain.run.ControlGain``).
    """

    version: str
    labels: int
    report: Mapping[str, Any]
    paired: PairedTest | None
    control_gain: Mapping[str, Any] | None


def check(control: bool, retrain: bool) -> None:
    """Refuse what no workspace could make sense of.

    Raises:
        UsageError: an option without the one that it belongs to.
    """
    if retrain and not control:
        raise UsageError("--retrain says how far --control may go", "pass --control --retrain")


def run(
    session: Session,
    version: str | None = None,
    control: bool = False,
    retrain: bool = False,
    log: bool = True,
) -> EvaluateResult:
    """Measure the newest (or the named) version; a measurement made before is printed again.

    With ``log``, measurements go where ``tracking`` of the configuration says, too; that fails with a warning alone.
    """
    check(control, retrain)
    measured = evaluate(session, version)
    if log:
        track(session)
    check_stored(session)
    gain = control_gain(session, version, retrain) if control else None
    return EvaluateResult(measured.version, measured.labels, measured.report, measured.paired, gain)
