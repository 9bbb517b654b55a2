"""A tiny trained workspace, and everything a diagnosis should find in it, by float64 autograd one sample at a time."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dalcli.feedback import SilentFeedback
from dalcli.models.preprocess import to_input
from dalcli.state import catalog, versions
from dalcli.workspace.images import PoolImages
from dalcli.workspace.loading import load_version
from dalcli.workspace.session import open_session
from tests.theory.small_networks import jacobians

MODEL = '''
from torch import nn

def tiny(num_classes, image_size):
    """A convolution, BatchNorm, dropout and a linear head: few parameters, so that the oracle is quick."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout(0.1),
        nn.Flatten(), nn.Linear(54, num_classes),
    )
'''


class Truth:
    """Of one version: images of S (with labels) and of the pool outside it, and their Jacobians (n, K, p)."""

    def __init__(self, root: Path, version: str = "m-0001") -> None:
        with open_session(root, SilentFeedback()) as session, contextlib.chdir(root):
            with session.database.read() as connection:
                history = versions.history(connection)
                model = next(known for known in history if known.version == version)
                seen, first = (versions.seen_labels(connection, known) for known in (model, history[0]))
                training, evaluation = (catalog.images(connection, purpose) for purpose in ("training", "evaluation"))
            loaded = load_version(session, model, torch.device("cpu"))
            images = [*training, *evaluation]
            opened = PoolImages.peek(session, images, loaded.meta.spec.image_size)
            inputs = to_input(opened.read(np.arange(len(images))), loaded.meta.pixel_stats, torch.device("cpu"))
        self._jacobians = jacobians(loaded.model, inputs)
        with torch.no_grad():
            self._logits = loaded.model(inputs.double()).numpy()
        self._place = {image.sample_id: row for row, image in enumerate(images)}
        self.labels = {image.sample_id: seen[image.key] for image in training if image.key in seen}
        self.initial = [image.sample_id for image in training if image.key in first]
        self.pool = [image.sample_id for image in training if image.key not in seen]

    def _rows(self, names: list[str]) -> list[int]:
        return [self._place[name] for name in names]

    def logits(self, names: list[str]) -> NDArray[np.float64]:
        return self._logits[self._rows(names)]

    def probabilities(self, names: list[str]) -> NDArray[np.float64]:
        return torch.tensor(self.logits(names)).softmax(1).numpy()

    def gradients(self, names: list[str], labels: list[int] | None = None) -> NDArray[np.float64]:
        """∇ℓ (n, p) for ``labels``, or the pseudo-labels."""
        p = self.probabilities(names)
        truth = p.argmax(1) if labels is None else np.array(labels)
        return np.einsum("nk,nkp->np", p - np.eye(p.shape[1])[truth], self._jacobians[self._rows(names)])

    @property
    def of_labeled(self) -> NDArray[np.float64]:
        """G_S."""
        return self.gradients(list(self.labels), list(self.labels.values())).sum(0)

    def kernel(self, names: list[str], scale: float, ridge: float) -> NDArray[np.float64]:
        rows = self._jacobians[self._rows(names)]
        return np.einsum("ikp,jkp->ij", rows, rows) / rows.shape[1] / scale + ridge * np.eye(len(names))

    def ratio(self, batch: list[str]) -> float:
        """Eq. 14 from differences of G (Eq. 8)."""
        start = self.of_labeled @ self.of_labeled
        g = self.gradients(batch)
        alone = sum((self.of_labeled + row) @ (self.of_labeled + row) - start for row in g)
        both = self.of_labeled + g.sum(0)
        return float(alone / (both @ both - start))
