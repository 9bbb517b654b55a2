"""How the tests of the scoring engine compare it with the float64 oracle."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dalcli.gradients.engine import GradientEngine, GradientScores
from dalcli.gradients.oracle import ReferenceScores, reference_labeled_gradient, reference_scores

LIMIT = 2**30
GAMMAS = (0.0, 1.0, 2.0, math.inf)


def engine_for(model: nn.Module, head: str | None = None, limit: int = LIMIT) -> GradientEngine:
    return GradientEngine(model, head=head, memory_limit_bytes=limit)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def settle(model: nn.Module) -> nn.Module:
    """Running statistics and affine parameters away from their trivial starting values."""
    generator = seeded(7)
    for module in model.modules():
        if getattr(module, "running_mean", None) is not None:
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.2)
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter.dtype) * 0.02)
    return model


def length(direction: dict[str, Tensor]) -> float:
    return math.sqrt(sum(float(value.double().square().sum()) for value in direction.values()))


def excess(scores: GradientScores, reference: ReferenceScores, direction: dict[str, Tensor]) -> float:
    """Largest error of Δ over samples and γ, in units of ‖g‖² + |γ|·‖g‖·‖V‖ (γ = inf: of ‖g‖·‖V‖)."""
    assert scores.inner is not None
    norm = reference.sq_norm.sqrt()
    worst = 0.0
    for gamma in GAMMAS:
        if gamma == math.inf:
            error, scale = scores.inner - reference.inner, norm * length(direction)
        else:
            error = scores.sq_norm - reference.sq_norm + gamma * (scores.inner - reference.inner)
            scale = reference.sq_norm + gamma * norm * length(direction)
        assert bool(torch.isfinite(error).all())
        worst = max(worst, float((error.abs() / scale.clamp_min(1e-300)).max()))
    return worst


def check_exact(model: nn.Module, inputs: Tensor, head: str | None = None, limit: int = LIMIT) -> GradientEngine:
    """Scores along G_S of random labels must equal the oracle's to float64 precision; returns the engine."""
    model = model.double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    classes = int(reference_scores(model, inputs[:1], None).probabilities.shape[1])
    labels = torch.randint(classes, (len(inputs),), generator=seeded(3))
    reference_direction = reference_labeled_gradient(model, [(inputs, labels)])
    engine = engine_for(model, head, limit)
    direction = engine.labeled_gradient([(inputs[:1], labels[:1]), (inputs[1:], labels[1:])])
    assert direction.keys() == reference_direction.keys()
    for name, value in reference_direction.items():
        torch.testing.assert_close(direction[name], value, rtol=1e-8, atol=1e-10 * length(reference_direction))
    # G_S itself is a poor test of small parameters: add a random vector of the same length.
    noise = {name: torch.randn(value.shape, generator=seeded(5)).double() for name, value in direction.items()}
    scale = length(direction) / max(length(noise), 1e-30)
    direction = {name: value + scale * noise[name] for name, value in direction.items()}
    scores = engine.score(inputs, direction)
    reference = reference_scores(model, inputs, direction)
    assert excess(scores, reference, direction) < 1e-9
    assert torch.equal(scores.pseudo_label, reference.pseudo_label)
    torch.testing.assert_close(scores.probabilities, reference.probabilities.float())
    return engine


def ruled(engine: GradientEngine) -> set[str]:
    """Parameters accounted for by layer rules."""
    return {name for name, entry in engine.coverage().items() if entry.startswith("rule")}


def fallen(engine: GradientEngine) -> set[str]:
    """Parameters accounted for by the fallback."""
    return {name for name, entry in engine.coverage().items() if entry.startswith("fallback")}
