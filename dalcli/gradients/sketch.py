"""Sketches of per-sample gradients: inner products of full gradients, estimated from m numbers per sample.

``GradientEngine.score(..., sketch=SketchSpec(seed, m))`` makes them in the scoring pass itself; the map is explained in
``projection``. E⟨s_u, s_v⟩ = ⟨g_u, g_v⟩ over seeds, with a standard deviation of about ‖g_u‖‖g_v‖·√(2/m), up to
√(8/m) for gradients of rank one. The map is linear, so the sketch of a sum is the sum of sketches: G_S's serves too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dalcli.gradients.projection import Sketcher, SketchSpec

if TYPE_CHECKING:
    from dalcli.gradients.engine import GradientEngine

__all__ = ["SketchError", "SketchSpec", "sketch_error", "sketch_of"]


@dataclass(frozen=True, slots=True)
class SketchError:
    """How far a sketch is off on ``samples`` samples, to say so beside what is read from sketches.

    Root mean square and largest. ``norm_*``: error of ‖s_u‖² relative to ‖g_u‖²; ``inner_*``: error of ⟨s_u, s_v⟩ over
    pairs u ≠ v relative to ‖g_u‖‖g_v‖; ``direction_*``: error of ⟨s_u, s_V⟩ relative to ‖g_u‖‖V‖, None without a
    direction.
    """

    samples: int
    dimension: int
    norm_rms: float
    norm_largest: float
    inner_rms: float
    inner_largest: float
    direction_rms: float | None
    direction_largest: float | None


def sketch_of(gradient: Mapping[str, Tensor], spec: SketchSpec) -> Tensor:
    """The sketch (m,) float64 of one gradient by parameter name, such as G_S (trainable parameters only)."""
    return Sketcher(spec).of(gradient)


def sketch_error(
    engine: GradientEngine, inputs: Tensor, spec: SketchSpec, direction: Mapping[str, Tensor] | None = None
) -> SketchError:
    """Compare sketches of inputs (n, ...), n ≥ 2 and small, with exact inner products of all pairs.

    Costs n + 1 scoring passes over the n samples, and one training step per sample for its gradient.
    """
    if inputs.shape[0] < 2:
        raise ValueError("pairs need at least two samples")
    scores = engine.score(inputs, direction, sketch=spec)
    assert scores.sketch is not None
    sketches = scores.sketch.double()
    norms = scores.sq_norm.sqrt()
    exact = torch.stack([_products(engine, inputs, scores.pseudo_label, index) for index in range(inputs.shape[0])])
    scale = norms.unsqueeze(1) * norms
    errors = _ratio(sketches @ sketches.mT - exact, scale)
    pairs = errors[~torch.eye(inputs.shape[0], dtype=torch.bool, device=errors.device)]
    along = None
    if direction is not None and scores.inner is not None:
        length = torch.stack([value.double().norm() for value in direction.values()]).norm()
        estimated = sketches @ sketch_of(direction, spec).to(sketches.device)
        along = _ratio(estimated - scores.inner, norms * length)
    return SketchError(
        samples=inputs.shape[0],
        dimension=spec.dimension,
        norm_rms=_rms(errors.diagonal()),
        norm_largest=float(errors.diagonal().max()),
        inner_rms=_rms(pairs),
        inner_largest=float(pairs.max()),
        direction_rms=None if along is None else _rms(along),
        direction_largest=None if along is None else float(along.max()),
    )


def _products(engine: GradientEngine, inputs: Tensor, labels: Tensor, index: int) -> Tensor:
    """⟨g_u, g_v⟩ of one sample u with all v, exactly: the scores along g_u."""
    one = slice(index, index + 1)
    inner = engine.score(inputs, engine.labeled_gradient([(inputs[one], labels[one])])).inner
    assert inner is not None
    return inner


def _ratio(error: Tensor, scale: Tensor) -> Tensor:
    """Relative errors; samples without a gradient have none."""
    return torch.where(scale > 0, error.abs() / scale.clamp_min(torch.finfo(scale.dtype).tiny), torch.zeros_like(scale))


def _rms(errors: Tensor) -> float:
    return float(errors.square().mean().sqrt())
