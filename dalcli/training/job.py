"""One training run as one value, and what every process does with it: rank 0 says what is to be trained, and all train.

Only rank 0 has a database and writes files. The others see the images, the pixel cache and the code of a user's model;
weights come from rank 0.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import nn

from dalcli.data.pixels import UnreadableImagesError
from dalcli.feedback import Feedback, SilentFeedback
from dalcli.models.preprocess import PixelStats
from dalcli.models.spec import ModelSpec
from dalcli.runtime.ranks import Ranks
from dalcli.state.workspace import find
from dalcli.training.batches import TrainingData
from dalcli.training.loop import FitResult, fit
from dalcli.workspace.images import Listing, PoolImages
from dalcli.workspace.jobs import Job, announced
from dalcli.workspace.loading import build
from dalcli.workspace.session import Surroundings


class TrainingJob(Job):
    """Everything that any process needs for one run of :func:`~dalcli.training.loop.fit`, but for the weights.

    Attributes:
        version: name of the model version.
        threads: of each rank.
        images: the labeled set; ``truth`` their classes.
    """

    spec: ModelSpec
    stats: PixelStats
    version: str
    threads: int
    fingerprint: str
    images: Listing
    truth: tuple[int, ...]


@dataclass
class TrainingProcess:
    """What one process trains: ``model`` on ``images``; ``checkpoint`` and ``feedback`` are rank 0's alone."""

    images: PoolImages
    model: nn.Module
    device: torch.device
    checkpoint: Path | None = None
    feedback: Feedback = field(default_factory=SilentFeedback)

    @classmethod
    def following(cls, job: TrainingJob, directory: Path | None, ranks: Ranks) -> Self:
        """For any process but rank 0."""
        surroundings = Surroundings(find(directory), job.config, SilentFeedback())
        images = PoolImages.reopen(surroundings, job.images, job.spec.seen, look_only=True, keep=True)
        model = build(surroundings.workspace, job.spec, job.config.seed)
        return cls(images, model, ranks.device(job.config.device))


def train(job: TrainingJob, ranks: Ranks, process: TrainingProcess) -> FitResult:
    """What every process does.

    Raises:
        UnreadableImagesError: nobody can read some of the images any more.
        DalcliError: see ``fit``; or another machine does not see the images that rank 0 does.
    """
    try:
        return fit(
            process.model,
            TrainingData(process.images.source, np.array(job.truth, dtype=np.int64)),
            job.config.training,
            stats=job.stats,
            seed=job.config.seed,
            version=job.version,
            device=process.device,
            threads=job.threads,
            checkpoint=process.checkpoint,
            feedback=process.feedback,
            fingerprint=job.fingerprint,
            ranks=ranks,
        )
    except UnreadableImagesError as error:
        if ranks.main and ranks.size > 1:
            for failure in error.failures:
                process.images.require_unreadable(failure, "another process")
        raise


def serve(directory: Path | None, ranks: Ranks) -> None:
    """What every process but rank 0 does: carry out its jobs, until there are no more."""
    for document in announced(ranks):
        with ranks.agreed():
            job = TrainingJob.received(document)
            process = TrainingProcess.following(job, directory, ranks)
        with suppress(UnreadableImagesError):  # rank 0 has heard of it and decides
            train(job, ranks, process)
