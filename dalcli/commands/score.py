"""``score``: what the pool is to be chosen by, under the newest model; ``--dry-run`` says what that would take."""

from __future__ import annotations

from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.scoring.estimate import ScoreEstimate, estimate
from dalcli.scoring.run import ScoreResult, score
from dalcli.workspace.session import Session


def run(session: Session, stale_ok: bool = False, wait: float = 0.0, ranks: Ranks = SOLO) -> ScoreResult:
    """Score what is missing, or say that the scores are up to date; under torchrun this is rank 0's part."""
    return score(session, stale_ok, wait, ranks)


def dry_run(session: Session, stale_ok: bool = False) -> ScoreEstimate:
    """What :func:`run` would take now; changes nothing."""
    return estimate(session, stale_ok)
