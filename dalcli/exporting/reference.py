"""Some images of the pool, and dalcli's own probabilities for them: what every exported form is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dalcli.config.schema import Config
from dalcli.crowd.merging import merged_logits
from dalcli.data.decoding import DecodeError, decode
from dalcli.errors import NotReadyError
from dalcli.evaluation.temperature import scaled
from dalcli.exporting.outputs import Outputs
from dalcli.exporting.subject import Subject
from dalcli.models.predict import logits_of_inputs
from dalcli.models.preprocess import to_input
from dalcli.runtime.device import reproducible
from dalcli.state import catalog, ledger
from dalcli.state.catalog import PoolImage
from dalcli.workspace.image_files import find_file
from dalcli.workspace.session import Session

IMAGES = 33
"""Images compared: two full batches of an example, and one of a single image."""
_TRIED = 4
"""Times as many are looked at, where some cannot be read."""
_AT_ONCE = 16
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Reference:
    """``paths`` of n images, and dalcli's ``probabilities`` (n, C) of the classes of ``Outputs``, in its order."""

    paths: tuple[Path, ...]
    probabilities: NDArray[np.float64]


def reference(
    session: Session, subject: Subject, outputs: Outputs, counted_as: Sequence[int], temperature: float
) -> Reference:
    """What dalcli says, in float32 on the processor, of up to :data:`IMAGES` labeled training images.

    Features of a frozen network are computed anew: the cache may hold them in half precision.

    Raises:
        NotReadyError: none of the images can be read.
    """
    paths, pixels = images_of(session, subject, IMAGES)
    logits = []
    with reproducible(_CPU, session.config.threads):
        for start in range(0, len(pixels), _AT_ONCE):
            some = pixels[start : start + _AT_ONCE]
            if subject.frozen is None:
                logits.append(logits_of_inputs(subject.trained, some, subject.stats, _CPU))
            else:
                features = subject.frozen.features(to_input(some, subject.stats, _CPU))
                with torch.no_grad():
                    logits.append(subject.trained(features))
    merged = merged_logits(torch.cat(logits).numpy(), counted_as)
    return Reference(tuple(paths), scaled(merged, temperature)[:, list(outputs.columns)])


def images_of(session: Session, subject: Subject, most: int) -> tuple[list[Path], NDArray[np.uint8]]:
    """Files of up to ``most`` labeled training images that can be read, spread evenly, and their pixels (n, H, W, 3).

    Raises:
        NotReadyError: none can be read.
    """
    with session.database.read() as connection:
        labeled = sorted(ledger.labels(connection, "training"))
        tried = _TRIED * most
        images = catalog.images_of(connection, labeled[:: max(1, len(labeled) // tried)][:tried])
    paths: list[Path] = []
    pixels: list[NDArray[np.uint8]] = []
    reasons: list[str] = []
    for image in images:
        try:
            path, decoded = pixels_of(session, subject, image)
        except DecodeError as error:
            reasons.append(error.reason)
            continue
        paths.append(path)
        pixels.append(decoded)
        if len(paths) == most:
            break
    if not paths:
        raise NotReadyError(
            "none of the labeled images can be read, so that nothing can be compared with dalcli's own probabilities"
            + (f", e.g. {reasons[0]}" if reasons else ""),
            "is a disk not mounted? If the images were moved: dalcli pool relocate OLD NEW",
        )
    return paths, np.stack(pixels)


def pixels_of(session: Session, subject: Subject, image: PoolImage) -> tuple[Path, NDArray[np.uint8]]:
    """The file of an image and what the network's recipe makes of it, (H, W, 3).

    Raises:
        DecodeError: it cannot be read; ``reason`` names the file.
    """
    found = find_file(session.workspace, image)
    path = session.workspace.absolute_path(found.path)
    try:
        if found.problem is not None:
            raise DecodeError(found.problem)
        return path, _decoded(path, subject, session.config)
    except DecodeError as error:
        raise DecodeError(f"{found.path}: {error.reason}") from None


def _decoded(path: Path, subject: Subject, config: Config) -> NDArray[np.uint8]:
    recipe = subject.recipe
    background = config.data.alpha_background
    return decode(path, recipe.image_size, recipe.resize, background, recipe.crop_fraction, recipe.interpolation)
