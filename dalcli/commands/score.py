"""``score``: what the pool is to be chosen by, under the newest model; ``--dry-run`` says what that would take."""

from __future__ import annotations

from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.scoring.estimate import ScoreEstimate, estimate
from dalcli.scoring.run import ScoreRequest, ScoreResult, score
from dalcli.workspace.session import Session

__all__ = ["ScoreRequest", "dry_run", "run"]


def run(session: Session, request: ScoreRequest | None = None, ranks: Ranks = SOLO) -> ScoreResult:
    """Score what is missing, or say that the scores are up to date; under torchrun this is rank 0's part."""
    return score(session, request, ranks)


def dry_run(session: Session, request: ScoreRequest | None = None) -> ScoreEstimate:
    """What :func:`run` would take now; changes nothing."""
    return estimate(session, request)
