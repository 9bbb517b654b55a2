"""G_S, the summed gradient of the labeled set: computed once per model version and kept beside its scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dalcli.commands.pixels import ReadableImages, row_chunks, with_readable_images
from dalcli.commands.scorer import Batches, Scorer
from dalcli.commands.session import Session
from dalcli.errors import NotReadyError
from dalcli.models.tensorfile import DamagedFileError, read_tensors, write_tensors
from dalcli.state import catalog, versions
from dalcli.state.versions import ModelVersion
from dalcli.training.prefetch import prefetch

LABELED_GRADIENT_NAME = "labeled_gradient.safetensors"


@dataclass(frozen=True)
class LabeledGradient:
    """G_S by parameter name, on the processor; ``samples`` is the size of S it was summed over."""

    tensors: dict[str, Tensor]
    samples: int

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
        return LabeledGradient(tensors, int(metadata["samples"]))
    except (DamagedFileError, KeyError, TypeError, ValueError):
        return None


def labeled_gradient(
    session: Session, model: ModelVersion, scorer: Scorer, micro_batch: int, settings: str
) -> LabeledGradient:
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
        found = scorer.labeled_gradient(lambda size: _batches(opened, labels, scorer, size), micro_batch)
        return LabeledGradient({name: value.cpu() for name, value in found.items()}, len(opened.images))

    gradient = with_readable_images(session, images, scorer.loaded.meta.spec.image_size, total)
    path = session.workspace.score_folder(model.version) / LABELED_GRADIENT_NAME
    write_tensors(path, gradient.tensors, {"settings": settings, "samples": gradient.samples})
    return gradient


def _batches(opened: ReadableImages, labels: dict[int, int], scorer: Scorer, size: int) -> Batches:
    truth = torch.tensor([labels[image.key] for image in opened.images], device=scorer.loaded.device)
    chunks = list(row_chunks(len(opened.images), size))
    with prefetch(opened.pixels.read(rows) for rows in chunks) as blocks:
        for rows, block in zip(chunks, blocks, strict=True):
            yield scorer.inputs(block), truth[rows[0] : rows[-1] + 1]
