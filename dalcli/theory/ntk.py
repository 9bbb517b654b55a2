"""The class-averaged empirical tangent kernel Θ(x, x') = (1/K) Σ_k ⟨∇f^k(x), ∇f^k(x')⟩ over all trainable parameters.

f are the logits, in eval mode. Exact: explicit per-sample class gradients, as many at once as memory allows. Sketched:
one scoring pass per group of classes, each with its own sketch, so that no vector of the model's size is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dalcli.config.hashing import derive_seed, generator
from dalcli.gradients import memory
from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.passes import evaluating
from dalcli.gradients.sketch import SketchSpec
from dalcli.scores.columns import Floats
from dalcli.theory.jacobians import ClassGradients
from dalcli.theory.probes import ClassProbe, class_groups, undo

Advance = Callable[[int], object]
"""Told how many class gradients of single samples were computed."""
COPIES = 2  # of the class gradients, what is made on the way included


@dataclass(frozen=True)
class Network:
    """Whose gradients Θ is made of: a model with ``classes`` logits, and the bytes that may be used for them."""

    model: nn.Module
    classes: int
    limit_bytes: int

    def samples_that_fit(self) -> int:
        """How many samples' gradients of one class fit the limit."""
        widest = max((p.element_size() for p in self.model.parameters()), default=4)
        return max(1, self.limit_bytes // max(1, COPIES * widest * trainable_size(self.model)))


@dataclass(frozen=True)
class Samples:
    """What Θ is between: ``count`` samples; ``inputs`` reads those of some consecutive ones, on the model's device."""

    count: int
    inputs: Callable[[slice], Tensor]


@dataclass(frozen=True)
class NtkSketch:
    """Which sketch: ``dimension`` numbers per gradient, classes in ``groups`` (at least the classes: none mixed)."""

    seed: int
    dimension: int
    groups: int


def trainable_size(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def exact_ntk(network: Network, samples: Samples, advance: Advance = lambda _: None) -> Floats:
    """Θ (n, n) float64 of n samples from the gradients themselves.

    Costs classes × n gradients of one sample where all gradients of one class fit the limit. Otherwise blocks of
    samples are paired, and gradients computed again for every block they meet.
    """
    count, classes, fitting = samples.count, network.classes, network.samples_that_fit()
    blocks = memory.even_pieces(count, fitting if fitting >= count else max(1, fitting // 2))
    gradients = ClassGradients(network.model, network.limit_bytes)
    theta = np.zeros((count, count))
    with evaluating(network.model):
        for number, first in enumerate(blocks):
            for second in blocks[number:]:
                same = first == second
                here = samples.inputs(first)
                there = here if same else samples.inputs(second)
                block = torch.zeros(len(here), len(there), dtype=torch.float64, device=here.device)
                for k in range(classes):
                    rows = gradients.of(here, k)
                    columns = rows if same else gradients.of(there, k)
                    block += (rows @ columns.mT).double()
                    advance(len(here) if same else len(here) + len(there))
                theta[first, second] = block.cpu().numpy() / classes
                theta[second, first] = theta[first, second].T
    return theta


def sketched_ntk(
    network: Network, samples: Samples, sketch: NtkSketch, batch: int, advance: Advance = lambda _: None
) -> Floats:
    """An estimate of Θ (n, n) float64, positive semi-definite; costs min(groups, classes) passes, ``batch`` at a time.

    Every group has a sketch of its own, so their errors average out. Where no classes are mixed, ‖∇f^k(x)‖² comes
    exact from the same passes; the estimate is scaled (on both sides) to have that diagonal.
    """
    count, classes = samples.count, network.classes
    weights = class_groups(classes, sketch.groups, generator(sketch.seed, "class groups"))
    probe = ClassProbe(network.model, classes)
    engine = GradientEngine(probe, head=None, memory_limit_bytes=network.limit_bytes)
    theta = np.zeros((count, count))
    diagonal = np.zeros(count)
    for number, group in enumerate(weights):
        probe.set_weights(group)
        spec = SketchSpec(derive_seed(sketch.seed, "tangent kernel", number), sketch.dimension)
        found = np.zeros((count, sketch.dimension))
        for piece in memory.even_pieces(count, batch):
            scores = engine.score(samples.inputs(piece), None, sketch=spec)
            assert scores.sketch is not None
            found[piece] = (scores.sketch.double() * undo(scores.pseudo_label).unsqueeze(1)).cpu().numpy()
            diagonal[piece] += 4 * scores.sq_norm.double().cpu().numpy()
            advance(piece.stop - piece.start)
        theta += found @ found.T
    theta /= classes
    return _with_diagonal(theta, diagonal / classes)


def _with_diagonal(theta: Floats, diagonal: Floats) -> Floats:
    """Rows and columns scaled to a known diagonal, which keeps the matrix positive semi-definite."""
    estimated = np.diag(theta)
    factors = np.sqrt(np.divide(diagonal, estimated, out=np.ones_like(diagonal), where=estimated > 0))
    scaled: Floats = theta * factors[:, None] * factors
    return scaled
