"""One of the processes that score together: follows orders, the same ones as all others, and reports to all.

Orders and reports are JSON; tensors are summed or shared beside them. No database here: a process sees the workspace's
files, that is models, images, the pixel cache, and the folder into which it writes shards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dalcli.config.schema import ImageSize
from dalcli.data.pixels import Failure, UnreadableImagesError
from dalcli.feedback import SilentFeedback, SilentTask, Task
from dalcli.gradients.kernels import laid_out
from dalcli.runtime.ranks import Json, Ranks
from dalcli.scores.settings import TableSettings
from dalcli.scoring.columns import PLAIN, Extras, Scoring
from dalcli.scoring.extras import VISIBLE_SECONDS, settled
from dalcli.scoring.labeled_gradient import part_of_labeled_gradient
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.shards import ShardOutcome, ShardPlan, Target, make_shard
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import ReadableImages, reopen_images
from dalcli.workspace.session import Surroundings


class Relay(SilentFeedback):
    """Keeps what is to be said until it is asked for: it is rank 0 that speaks."""

    def __init__(self) -> None:
        self._kept: list[str] = []

    def note(self, message: str) -> None:
        self._kept.append(message)

    warn = note

    def take(self) -> list[str]:
        """What was said since the last call."""
        taken, self._kept = self._kept, []
        return taken


class Member:
    """This process's part. Rank 0 sets ``opened``, ``direction`` and ``task`` itself; the others follow orders."""

    def __init__(
        self, ranks: Ranks, surroundings: Surroundings, model: ModelVersion, scorer: Scorer, micro_batch: int
    ) -> None:
        self._ranks, self._surroundings, self._model = ranks, surroundings, model
        self._scorer, self._micro_batch = scorer, micro_batch
        self._gradient: dict[str, Tensor] = {}
        self.opened: ReadableImages | None = None
        self.direction: dict[str, Tensor] = {}
        self._extras: Extras = PLAIN
        self.task: Task = SilentTask()

    @property
    def device(self) -> torch.device:
        return self._scorer.loaded.device

    @property
    def image_size(self) -> ImageSize:
        return self._scorer.loaded.meta.spec.image_size

    def follow(self, order: dict[str, Json]) -> list[Json]:
        """Do what rank 0 ordered; the reports of all processes, by rank."""
        work = {
            "open": self._open,
            "labeled gradient": self._sum_gradients,
            "direction": self._make_room,
            "shards": self._make_shard,
        }[order["do"]]
        reports = self._ranks.together(lambda: work(order) | {"notes": self._notes()})
        if order["do"] == "labeled gradient" and not any(report["failures"] for report in reports):
            self._ranks.sum([self._gradient[name] for name in sorted(self._gradient)])
        if order["do"] == "direction":
            self._ranks.share([self.direction[name] for name, *_ in order["tensors"]])
        return reports

    def take_gradient(self) -> dict[str, Tensor]:
        """G_S as it was summed last, on the processor, in each parameter's dtype."""
        dtypes = {name: parameter.dtype for name, parameter in self._scorer.loaded.model.named_parameters()}
        total, self._gradient = self._gradient, {}
        return {name: value.to(dtypes[name]).cpu() for name, value in total.items()}

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """What is decoded meanwhile is in the pixel cache afterwards, also if the work is interrupted."""
        try:
            yield
        finally:
            self._close()

    def _open(self, order: dict[str, Json]) -> dict[str, Json]:
        """The images that rows mean from now on."""
        if not self._ranks.main:
            self._close()
            self.opened = reopen_images(
                self._surroundings, order["images"], self.image_size, look_only=order["look_only"]
            )
        return {}

    def _close(self) -> None:
        if self.opened is not None:
            with self.opened.remembered(self._surroundings):
                self.opened = None

    def _sum_gradients(self, order: dict[str, Json]) -> dict[str, Json]:
        """This process's share of G_S: whole micro-batches, so that all of them are those of a single process."""
        assert self.opened is not None
        count, size = len(order["labels"]), self._micro_batch
        part = self._ranks.part(-(-count // size))
        rows = np.arange(part.start * size, min(part.stop * size, count), dtype=np.int64)
        try:
            self._gradient = part_of_labeled_gradient(self._scorer, self.opened, rows, order["labels"], size)
        except UnreadableImagesError as error:
            return {"failures": _documents(error.failures)}
        return {"failures": []}

    def _make_room(self, order: dict[str, Json]) -> dict[str, Json]:
        """For the direction, which comes from rank 0; what else the table needs is in its folder."""
        settings = TableSettings.parse(order["settings"])
        self._extras = settled(self._folder, settings, wait=0.0 if self._ranks.main else VISIBLE_SECONDS)
        if not self._ranks.main:
            self.direction = {
                name: laid_out(torch.empty(shape, dtype=getattr(torch, dtype), device=self.device))
                for name, dtype, shape in order["tensors"]
            }
        return {}

    def _make_shard(self, order: dict[str, Json]) -> dict[str, Json]:
        """One shard of the order, if there are enough of them."""
        outcome = ShardOutcome()
        if self._ranks.rank < len(order["plans"]):
            assert self.opened is not None
            ordinal, rows = order["plans"][self._ranks.rank]
            scoring = Scoring(self._scorer, self.direction, self._micro_batch, self._extras)
            target = Target(scoring, self._model.version, self._folder)
            outcome = make_shard(target, self.opened, ShardPlan(ordinal, np.array(rows, dtype=np.int64)), self.task)
        return {
            "seconds": outcome.seconds,
            "failures": _documents(outcome.failures),
            "engine": self._scorer.engine.notes,
        }

    @property
    def _folder(self) -> Path:
        return self._surroundings.workspace.score_folder(self._model.version)

    def _notes(self) -> list[str]:
        feedback = self._surroundings.feedback
        return feedback.take() if isinstance(feedback, Relay) else []


def _documents(failures: tuple[Failure, ...]) -> list[dict[str, Any]]:
    return [asdict(failure) for failure in failures]
