"""The sketch of G_S beside a score table with sketches, and how far such sketches are off. Never imports torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.arrayfile import read_arrays, write_arrays

NAME = "sketch.safetensors"


@dataclass(frozen=True)
class SketchReport:
    """Error of inner products of sketches, relative to ‖g_u‖‖g_v‖, on a random sample of ``samples`` images.

    ``inner_rms`` and ``inner_largest`` over all pairs, against exact per-sample gradients; ``expected`` is √(2/m).
    ``direction_rms`` is that of products with G_S. All are None in a pool of fewer than two images.
    """

    dimension: int
    samples: int
    expected: float
    inner_rms: float | None
    inner_largest: float | None
    direction_rms: float | None


@dataclass(frozen=True, eq=False)
class LabeledSketch:
    """``vector`` (m,) float64: the sketch of G_S by the same map as the ``sketch`` column, whose ``seed`` it names."""

    vector: NDArray[np.float64]
    seed: int
    report: SketchReport


def save(path: Path, sketch: LabeledSketch, settings: str) -> None:
    """Keep it, atomically; ``settings`` is what must be the same for it to hold."""
    metadata = {"settings": settings, "seed": sketch.seed, "report": asdict(sketch.report)}
    write_arrays(path, {"labeled_gradient": sketch.vector}, metadata)


def load(path: Path, settings: str) -> LabeledSketch | None:
    """The kept one, if it is whole and was made with the same ``settings``."""
    found = read_arrays(path)
    if found is None or found[1].get("settings") != settings:
        return None
    try:
        arrays, metadata = found
        return LabeledSketch(arrays["labeled_gradient"], int(metadata["seed"]), SketchReport(**metadata["report"]))
    except (KeyError, TypeError, ValueError):
        return None
