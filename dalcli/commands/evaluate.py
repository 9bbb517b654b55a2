"""``evaluate``: how good a model version is, on evaluation labels only."""

from __future__ import annotations

from dalcli.evaluation.run import EvaluateResult, evaluate
from dalcli.workspace.session import Session


def run(session: Session, version: str | None = None) -> EvaluateResult:
    """Measure the newest (or the named) version; a measurement made before is printed again."""
    return evaluate(session, version)
