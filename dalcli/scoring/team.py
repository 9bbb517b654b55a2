"""The processes that score together, as rank 0 gives them orders, and what the others do: see ``score_member``."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import dalcli
from dalcli.config.schema import Config, ImageSize
from dalcli.data.pixels import Failure, UnreadableImagesError
from dalcli.errors import DalcliError
from dalcli.feedback import Task
from dalcli.runtime.device import reproducible
from dalcli.runtime.ranks import Json, Ranks
from dalcli.scoring.member import Member, Relay
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.shards import ShardOutcome, ShardPlan
from dalcli.state.versions import ModelVersion
from dalcli.state.workspace import find
from dalcli.workspace.images import ReadableImages, listed
from dalcli.workspace.session import Session, Surroundings


class Team:
    """All processes, as rank 0 sees them; without torchrun it is alone, and nothing is sent anywhere."""

    def __init__(self, session: Session, ranks: Ranks, model: ModelVersion, scorer: Scorer, micro_batch: int) -> None:
        self._session, self._ranks = session, ranks
        self._engine_notes: dict[str, None] = {}
        self._member = Member(ranks, session, model, scorer, micro_batch)
        ranks.broadcast(
            {
                "dalcli": dalcli.__version__,
                "config": session.config.model_dump(),
                "model": asdict(model),
                "micro_batch": micro_batch,
            }
        )
        self._hosts = ranks.together(socket.gethostname)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return self._ranks.size

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._member.device

    @property
    def image_size(self) -> ImageSize:
        return self._member.image_size

    @property
    def engine_notes(self) -> list[str]:
        """What the engines of all processes have to say."""
        return list(self._engine_notes)

    def name(self, rank: int) -> str:
        """A process, for people."""
        return f"process {rank} on {self._hosts[rank]}"

    def open(self, opened: ReadableImages) -> None:
        """From now on rows are those of ``opened``."""
        self._member.opened = opened
        if self.size > 1:
            look_only = opened.cache is None or not opened.cache.writable
            self._order({"do": "open", "images": listed(opened), "look_only": look_only})

    def labeled_gradient(self, opened: ReadableImages, labels: Sequence[int]) -> dict[str, Tensor]:
        """G_S over ``opened`` with their ``labels``, on the processor, in each parameter's dtype.

        Every process sums over its share of the micro-batches, in float64, and the sums are added: the result
        differs from one process's by float64 rounding at most.

        Raises:
            UnreadableImagesError: some of the images, by any process.
        """
        self.open(opened)
        reports = self._order({"do": "labeled gradient", "labels": list(labels)})
        failures = [failure for rank, report in enumerate(reports) for failure in self._failures(rank, report)]
        if failures:
            raise UnreadableImagesError(failures)
        return self._member.take_gradient()

    def use(self, direction: dict[str, Tensor], settings: str) -> None:
        """Score against ``direction`` (G_S, on the device) from now on, for a table with ``settings``."""
        self._member.direction = direction
        tensors = [(name, str(value.dtype).removeprefix("torch."), value.shape) for name, value in direction.items()]
        self._order({"do": "direction", "tensors": tensors, "settings": settings})

    def make(self, plans: Sequence[ShardPlan], task: Task) -> list[ShardOutcome]:
        """Make at most as many shards as there are processes, one each; ``task`` counts the samples of the first."""
        self._member.task = task
        reports = self._order({"do": "shards", "plans": [(plan.ordinal, plan.rows.tolist()) for plan in plans]})
        self._engine_notes.update(dict.fromkeys(note for report in reports for note in report["engine"]))
        return [
            ShardOutcome(report["seconds"], tuple(self._failures(rank, report)))
            for rank, report in enumerate(reports[: len(plans)])
        ]

    def _order(self, order: dict[str, Json]) -> list[Json]:
        self._ranks.broadcast(order)
        reports = self._member.follow(order)
        for rank, report in enumerate(reports):
            for note in report["notes"]:
                self._session.feedback.note(f"{self.name(rank)}: {note}")
        return reports

    def _failures(self, rank: int, report: Json) -> Iterator[Failure]:
        """What a process could not read. An image counts as lost only if this process cannot read it either."""
        for document in report["failures"]:
            failure = Failure(**document)
            if rank > 0 and self._can_read(failure):
                raise DalcliError(
                    f"{self.name(rank)} cannot read {failure.path} ({failure.reason}); {self.name(0)} can",
                    "all machines of a torchrun must see the images under the same paths",
                )
            yield failure

    def _can_read(self, failure: Failure) -> bool:
        assert self._member.opened is not None
        try:
            self._member.opened.pixels.read(np.array([failure.row], dtype=np.int64))
        except UnreadableImagesError:
            return False
        return True


def serve(directory: Path | None, ranks: Ranks) -> None:
    """What every process but rank 0 does: follow orders, until there are no more."""
    start = ranks.broadcast()
    if start is None:  # there was nothing to do
        return
    members: list[Member] = []

    def join() -> str:
        members.append(_member(directory, ranks, start))
        return socket.gethostname()

    ranks.together(join)
    member = members[0]
    with reproducible(member.device, start["config"]["threads"]), member.remembering():
        while (order := ranks.broadcast()) is not None:
            member.follow(order)


def _member(directory: Path | None, ranks: Ranks, start: dict[str, Json]) -> Member:
    if start["dalcli"] != dalcli.__version__:
        raise DalcliError(
            f"dalcli {dalcli.__version__} is installed here, but {start['dalcli']} where process 0 runs",
            "install the same version on all machines",
        )
    surroundings = Surroundings(find(directory), Config.model_validate(start["config"]), Relay())
    model = ModelVersion(**start["model"])
    scorer = Scorer(surroundings, model, ranks.device(surroundings.config.device))
    return Member(ranks, surroundings, model, scorer, start["micro_batch"])
