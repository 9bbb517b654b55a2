"""G_S, the summed gradient of the labeled set: computed once per model version and kept beside its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dalcli.data.pixels import IntArray
from dalcli.errors import NotReadyError
from dalcli.gradients.kernels import laid_out
from dalcli.models.tensorfile import DamagedFileError, read_tensors, write_tensors
from dalcli.runtime.prefetch import prefetch
from dalcli.scoring.scorer import Batches, Scorer
from dalcli.state import catalog, versions
from dalcli.state.versions import ModelVersion
from dalcli.workspace.images import ReadableImages, row_chunks, with_readable_images
from dalcli.workspace.session import Session

if TYPE_CHECKING:
    from dalcli.scoring.team import Team

LABELED_GRADIENT_NAME = "labeled_gradient.safetensors"


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


def stored(path: Path, settings: str) -> LabeledGradient | None:
    """The kept G_S, if it is whole and was made with the same ``settings``."""
    try:
        tensors, metadata = read_tensors(path)
        if metadata["settings"] != settings:
            return None
        return LabeledGradient.of(tensors, int(metadata["samples"]))
    except (DamagedFileError, KeyError, TypeError, ValueError):
        return None


def labeled_gradient(session: Session, model: ModelVersion, team: Team, settings: str) -> LabeledGradient:
    """Compute and keep G_S = Σ_{(x,y)∈S} ∇ℓ over what ``model`` was trained on, with the labels it saw (Eq. 15).

    Raises:
        NotReadyError: none of those images can be read any more.
    """
    with session.database.read() as connection:
        labels = versions.seen_labels(connection, model)
        images = [image for image in catalog.images(connection, "training") if image.key in labels]

    def total(opened: ReadableImages) -> LabeledGradient:
        if not opened.images:
            raise NotReadyError(
                f"none of the images that {model.version} was trained on can be read", "see `dalcli pool quarantine`"
            )
        found = team.labeled_gradient(opened, [labels[image.key] for image in opened.images])
        return LabeledGradient.of(found, len(opened.images))

    gradient = with_readable_images(session, images, team.image_size, total)
    path = session.workspace.score_folder(model.version) / LABELED_GRADIENT_NAME
    write_tensors(path, gradient.tensors, {"settings": settings, "samples": gradient.samples})
    return gradient


def part_of_labeled_gradient(
    scorer: Scorer, opened: ReadableImages, rows: IntArray, labels: Sequence[int], micro_batch: int
) -> dict[str, Tensor]:
    """Σ ∇ℓ over consecutive ``rows`` of ``opened``, by parameter name, in float64 on the model's device.

    ``labels`` are those of all rows of ``opened``.

    Raises:
        UnreadableImagesError: some of the images.
    """
    return scorer.labeled_gradient(lambda size: _batches(scorer, opened, rows, labels, size), micro_batch)


def _batches(scorer: Scorer, opened: ReadableImages, rows: IntArray, labels: Sequence[int], size: int) -> Batches:
    truth = np.array(labels, dtype=np.int64)
    chunks = [rows[chunk] for chunk in row_chunks(len(rows), size)]
    with prefetch(opened.pixels.read(chunk) for chunk in chunks) as blocks:
        for chunk, block in zip(chunks, blocks, strict=True):
            yield scorer.inputs(block), torch.from_numpy(truth[chunk]).to(scorer.loaded.device)
