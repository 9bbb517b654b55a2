"""``train``: a new model version from the labels there are now. Imports torch only if there is something to train."""

from __future__ import annotations

from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.training.run import TrainResult, train
from dalcli.workspace.session import Session


def run(session: Session, wait: float = 0.0, ranks: Ranks = SOLO) -> TrainResult:
    """Train to convergence, or say that the newest version is up to date; under torchrun this is rank 0's part."""
    return train(session, wait, ranks)
