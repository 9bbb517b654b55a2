"""G_S, the summed gradient of the labeled set: computed once per model version and kept beside its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue
from torch import Tensor

from dalcli.data.pixels import FAILURES, IntArray
from dalcli.gradients.kernels import laid_out
from dalcli.models.tensorfile import DamagedFileError, read_tensors, write_tensors
from dalcli.runtime.ranks import Ranks
from dalcli.scores.store import ScoreStore
from dalcli.scoring.scorer import Scorer
from dalcli.workspace.images import PoolImages


@dataclass(frozen=True)
class LabeledGradient:
    """G_S by parameter name, on the processor; ``samples`` is the size of S it was summed over."""

    tensors: dict[str, Tensor]
    samples: int

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], samples: int) -> LabeledGradient:
        """Laid out as scoring wants it: it is as large as the model, once should do. In one order, wherever from."""
        return cls({name: laid_out(tensors[name]) for name in sorted(tensors)}, samples)

    @property
    def norm(self) -> float:
        """‖G_S‖, whose square is Eq. 8's training dynamics."""
        return float(sum(value.double().square().sum() for value in self.tensors.values()) ** 0.5)

    def to(self, device: torch.device) -> dict[str, Tensor]:
        """The tensors on ``device``."""
        return {name: value.to(device) for name, value in self.tensors.items()}


def stored(store: ScoreStore) -> LabeledGradient | None:
    """The G_S that ``store`` keeps, if it is whole and belongs to the pixels of today."""
    return read(store.labeled_gradient_path, store.pixels)


def read(path: Path, pixels: str) -> LabeledGradient | None:
    """The G_S kept at ``path``, if it is whole and was made with the same ``pixels`` (a fingerprint)."""
    try:
        tensors, metadata = read_tensors(path)
        if metadata["settings"] != pixels:
            return None
        return LabeledGradient.of(tensors, int(metadata["samples"]))
    except (DamagedFileError, KeyError, TypeError, ValueError):
        return None


def keep(path: Path, gradient: LabeledGradient, pixels: str) -> None:
    """Write what :func:`read` reads."""
    write_tensors(path, gradient.tensors, {"settings": pixels, "samples": gradient.samples})


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """S: ``rows`` (n,) of ``images`` and their ``labels`` (n,); ``hosts`` of the processes that look at them."""

    images: PoolImages
    rows: IntArray
    labels: IntArray
    hosts: Sequence[str] = ()

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(n,) which of them are not lost."""
        return ~np.isin(self.rows, list(self.images.lost))

    def batches(self, scorer: Scorer, part: slice, size: int, taken: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels of those in ``part`` that can be read, ``size`` at a time; their rows go into ``taken``."""
        rows = self.rows[part][self.readable[part]]
        label = dict(zip(self.rows.tolist(), self.labels.tolist(), strict=True))
        for block in self.images.blocks(size, rows):
            taken += block.rows.tolist()
            truth = torch.tensor([label[row] for row in block.rows.tolist()], dtype=torch.int64)
            yield scorer.inputs(block.inputs), truth.to(scorer.device)


def summed(scorer: Scorer, labeled: LabeledImages, micro_batch: int, ranks: Ranks) -> LabeledGradient | None:
    """G_S = Σ_{(x,y)∈S} ∇ℓ over the ``labeled`` images (Eq. 15); None if none of them can be read.

    Every rank sums over its share of the micro-batches, in float64, and the sums are added: the result differs from one
    process's by float64 rounding at most. What cannot be read is left out, and set aside by rank 0; where some of what
    was summed already turns out to be lost (a folder went meanwhile, say), the others are summed again.
    """
    share = ranks.part(-(-len(labeled.rows) // micro_batch))  # whole ones: all of them are a single process's
    part = slice(share.start * micro_batch, share.stop * micro_batch)
    while True:
        taken: list[int] = []
        with ranks.agreed():
            total = scorer.engine.labeled_gradient(labeled.batches(scorer, part, micro_batch, taken), double=True)
        lose_together(labeled.images, ranks, labeled.hosts)
        if not any(ranks.gather(not labeled.images.lost.keys().isdisjoint(taken))):
            break
    samples = int(labeled.readable.sum())
    if not samples:
        return None
    ranks.sum([total[name] for name in sorted(total)])
    dtypes = {name: parameter.dtype for name, parameter in scorer.loaded.model.named_parameters()}
    return LabeledGradient.of({name: value.to(dtypes[name]).cpu() for name, value in total.items()}, samples)


def lose_together(images: PoolImages, ranks: Ranks, hosts: Sequence[str]) -> None:
    """What any rank has lost is lost on all of them; an image counts as lost only if rank 0 cannot read it either.

    Raises:
        DalcliError: rank 0 can: the others do not see the same files; or so many are missing that a disk must be.
    """
    if ranks.size == 1:
        return
    told = ranks.gather(_lost(images))
    with ranks.agreed():
        if ranks.main:
            found = [(rank, failure) for rank, part in enumerate(told) for failure in FAILURES.validate_python(part)]
            for rank, failure in found:
                if rank > 0:
                    images.require_unreadable(failure, f"process {rank} on {hosts[rank]}")
            images.lose([failure for _, failure in found])
    # Rank 0 has looked for all files: it may know of more.
    images.lose(FAILURES.validate_python(ranks.broadcast(_lost(images))))


def _lost(images: PoolImages) -> JsonValue:
    document: JsonValue = FAILURES.dump_python(list(images.lost.values()), mode="json")
    return document
