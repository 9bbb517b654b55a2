"""Probabilities of images in a forward pass of one version, block by block. Imports torch when it is opened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dalcli.prediction.version import Predictor
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.workspace.images import Block, PoolImages
from dalcli.workspace.session import Session

if TYPE_CHECKING:
    from dalcli.models.spec import Seen
    from dalcli.workspace.loading import LoadedModel

BATCH = 128  # images; without a backward pass they need little memory


@dataclass(frozen=True)
class Pass:
    """A loaded version."""

    loaded: LoadedModel
    counted_as: tuple[int, ...]
    batch: int

    @property
    def seen(self) -> Seen:
        """What it sees of an image."""
        return self.loaded.meta.spec.seen

    def probabilities(self, images: PoolImages) -> Iterator[tuple[Block, NDArray[np.float64]]]:
        """Every image that can be read, with (b, K) probabilities, merged classes summed up."""
        from dalcli.crowd.merging import merged_logits
        from dalcli.evaluation.temperature import scaled
        from dalcli.models.predict import logits_of_inputs

        loaded = self.loaded
        for block in images.blocks(self.batch):
            logits = logits_of_inputs(loaded.model, block.inputs, loaded.meta.pixel_stats, loaded.device).numpy()
            yield block, scaled(merged_logits(logits, self.counted_as), 1.0)


@contextmanager
def opened(session: Session, found: Predictor) -> Iterator[Pass]:
    """The version's files, read; in eval mode meanwhile.

    Raises:
        DalcliError: they are missing or damaged.
    """
    from dalcli.runtime.modes import eval_mode
    from dalcli.workspace.loading import load_version

    config = session.config
    device = resolve_device(config.device)
    loaded = load_version(session, found.model, device)
    batch = BATCH if config.scoring.batch_size == "auto" else config.scoring.batch_size
    with reproducible(device, config.threads), eval_mode(loaded.model):
        yield Pass(loaded, tuple(found.counted_as), batch)
