"""The processes that train together: rank 0 says what is to be trained, and then all do the same work.

Only rank 0 has a database and writes files. The others see the images, the pixel cache and the code of a user's model;
weights come from rank 0.
"""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import nn

import dalcli
from dalcli.config.schema import Config
from dalcli.data.pixels import Failure, IntArray, UnreadableImagesError
from dalcli.errors import DalcliError
from dalcli.feedback import Feedback, SilentFeedback
from dalcli.models import zoo
from dalcli.models.preprocess import PixelStats
from dalcli.models.spec import ModelSpec
from dalcli.runtime.ranks import Json, Ranks
from dalcli.state.workspace import find
from dalcli.training.batches import TrainingData
from dalcli.training.loop import FitResult, fit
from dalcli.workspace.images import ReadableImages, listed, reopen_images
from dalcli.workspace.session import Session, Surroundings


@dataclass(frozen=True)
class Job:
    """One run of :func:`~dalcli.training.loop.fit`, on any rank.

    Attributes:
        version: name of the model version.
        threads: of each rank.
        truth: ``(n,)`` int64, the classes of the images.
    """

    config: Config
    spec: ModelSpec
    stats: PixelStats
    version: str
    threads: int
    fingerprint: str
    truth: IntArray


def train(
    session: Session, ranks: Ranks, job: Job, opened: ReadableImages, model: nn.Module, device: torch.device, to: Path
) -> FitResult:
    """Rank 0's part: have everybody train ``model`` on ``opened``, with checkpoints in ``to``.

    Raises:
        UnreadableImagesError: nobody can read some of the images any more.
        DalcliError: see ``fit``; or another machine does not see the images that this one does.
    """
    if ranks.size > 1:
        ranks.broadcast(_order(job, opened))
    ranks.together(lambda: None)  # wait until all are prepared, or learn why one is not
    try:
        return _fit(job, ranks, opened, model, device, session.feedback, to)
    except UnreadableImagesError as error:
        for failure in error.failures if ranks.size > 1 else ():
            _require_unreadable(opened, failure)
        raise


def serve(directory: Path | None, ranks: Ranks) -> None:
    """What every process but rank 0 does: train what it says, until there is no more."""
    while (order := ranks.broadcast()) is not None:
        _follow(directory, ranks, order)


def _follow(directory: Path | None, ranks: Ranks, order: Json) -> None:
    prepared: list[_Prepared] = []
    ranks.together(lambda: prepared.append(_prepare(directory, ranks, order)))
    work = prepared[0]
    with suppress(UnreadableImagesError):  # rank 0 has heard of it and decides
        _fit(work.job, ranks, work.opened, work.model, work.device, SilentFeedback(), None)


@dataclass(frozen=True)
class _Prepared:
    job: Job
    opened: ReadableImages
    model: nn.Module
    device: torch.device


def _fit(
    job: Job,
    ranks: Ranks,
    opened: ReadableImages,
    model: nn.Module,
    device: torch.device,
    feedback: Feedback,
    checkpoint: Path | None,
) -> FitResult:
    return fit(
        model,
        TrainingData(opened.pixels, job.truth),
        job.config.training,
        stats=job.stats,
        seed=job.config.seed,
        version=job.version,
        device=device,
        threads=job.threads,
        checkpoint=checkpoint,
        feedback=feedback,
        fingerprint=job.fingerprint,
        ranks=ranks,
    )


def _order(job: Job, opened: ReadableImages) -> Json:
    return {
        "dalcli": dalcli.__version__,
        "config": job.config.model_dump(),
        "spec": dataclasses.asdict(job.spec),
        "stats": dataclasses.asdict(job.stats),
        "version": job.version,
        "threads": job.threads,
        "fingerprint": job.fingerprint,
        "truth": job.truth.tolist(),
        "images": listed(opened),
    }


def _prepare(directory: Path | None, ranks: Ranks, order: Json) -> _Prepared:
    """Everything an order needs, but for the weights."""
    if order["dalcli"] != dalcli.__version__:
        raise DalcliError(
            f"dalcli {dalcli.__version__} is installed here, but {order['dalcli']} where process 0 runs",
            "install the same version on all machines",
        )
    job = Job(
        config=Config.model_validate(order["config"]),
        spec=_SPEC.validate_python(order["spec"]),
        stats=_STATS.validate_python(order["stats"]),
        version=order["version"],
        threads=order["threads"],
        fingerprint=order["fingerprint"],
        truth=np.array(order["truth"], dtype=np.int64),
    )
    surroundings = Surroundings(find(directory), job.config, SilentFeedback())
    opened = reopen_images(surroundings, order["images"], job.spec.image_size, look_only=True, keep=True)
    model = zoo.build(job.spec, job.config.seed, surroundings.workspace.root)
    return _Prepared(job, opened, model, ranks.device(job.config.device))


def _require_unreadable(opened: ReadableImages, failure: Failure) -> None:
    """An image is lost only if this process cannot read it either."""
    try:
        opened.pixels.read(np.array([failure.row], dtype=np.int64))
    except UnreadableImagesError:
        return
    raise DalcliError(
        f"another process cannot read {failure.path} ({failure.reason}), which process 0 can",
        "all machines of a torchrun must see the images under the same paths",
    )


_SPEC: TypeAdapter[ModelSpec] = TypeAdapter(ModelSpec)
_STATS: TypeAdapter[PixelStats] = TypeAdapter(PixelStats)
