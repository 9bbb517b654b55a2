"""``train``: a new model version from the labels there are now. Imports torch only if there is something to train."""

from __future__ import annotations

from dataclasses import replace

from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.training.run import TrainResult, train
from dalcli.workspace.session import Session


def run(session: Session, everything: bool = False, wait: float = 0.0, ranks: Ranks = SOLO) -> TrainResult:
    """Train to convergence, or say that the newest version is up to date; under torchrun this is rank 0's part.

    ``everything``: all of the model, although the configuration says that its head alone is trained.
    """
    if everything and session.config.model.train == "head":
        model = session.config.model.model_copy(update={"train": "all"})
        session = replace(session, config=session.config.model_copy(update={"model": model}))
    return train(session, wait, ranks)
