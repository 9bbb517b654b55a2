"""The trained layer of a frozen network: what enters it, folding, growth, and its gradients in the engine."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.oracle import reference_scores
from dalcli.models.checkpoint import load_state
from dalcli.models.frozen_head import FrozenHead
from dalcli.models.growth import grow
from dalcli.models.head import find_head, penultimate


def raw(n: int = 24, d: int = 16) -> Tensor:
    """As a network with a ReLU at its end gives them: far from centred."""
    return torch.relu(torch.randn(n, d) * 0.7 + 2) * torch.linspace(0.1, 5, d)


def standardised(model: FrozenHead, features: Tensor) -> Tensor:
    return (features - model.centre) * model.factor


def trained(d: int = 16, classes: int = 5) -> FrozenHead:
    model, features = FrozenHead(d, classes), raw(200, d)
    model.standardise(features.mean(0), 0.7)
    model.answer(torch.randn(classes, d, dtype=torch.float64) * 0.3, torch.randn(classes, dtype=torch.float64))
    return model


def test_logits_are_those_of_the_standardised_features() -> None:
    model, features = trained(), raw()
    head = find_head(model, 5)
    assert head == "linear"
    with penultimate(model, 5) as captured, torch.no_grad():
        logits = model(features)
        read = captured.take(logits)
    assert torch.equal(read, standardised(model, features))
    expected = read.double() @ model.linear.weight.double().T + model.linear.bias.double()
    torch.testing.assert_close(logits, expected.float())


def test_folded_is_one_linear_layer_over_raw_features() -> None:
    model, features = trained(), raw()
    weight, bias = model.folded()
    assert (weight.dtype, bias.dtype) == (torch.float32, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(nn.functional.linear(features, weight, bias), model(features), rtol=1e-4, atol=1e-4)


def test_a_state_dict_carries_the_standardisation() -> None:
    model, features = trained(), raw()
    other = FrozenHead(16, 5)
    load_state(other, model.state_dict())
    assert torch.equal(other(features), model(features))
    assert find_head(other, 5) == "linear"


@pytest.mark.parametrize("dimension", [16, 5])  # 5: as many features as there were classes
def test_new_classes_start_at_zero(dimension: int) -> None:
    parent, features = trained(dimension), raw(d=dimension)
    child = FrozenHead(dimension, 7)
    assert grow(child, parent.state_dict(), 5, 7) == ("linear.bias", "linear.weight")
    logits = child(features)
    torch.testing.assert_close(logits[:, :5], parent(features))
    assert torch.equal(logits[:, 5:], torch.zeros(24, 2))


def test_the_engine_scores_it_by_the_formulas() -> None:
    """‖g‖² = ‖q‖² (‖h‖² + 1) and ⟨g, G_S⟩ = qᵀ G_S h̃, from float64 arithmetic, one sample at a time."""
    model, features, labeled = trained(), raw(), raw(9)
    labels = torch.arange(9) % 5
    engine = GradientEngine(model, head=find_head(model, 5), memory_limit_bytes=2**28)
    total = engine.labeled_gradient([(labeled[:4], labels[:4]), (labeled[4:], labels[4:])])
    scores = engine.score(features, total)
    assert scores.inner is not None

    def parts(sample: Tensor, label: int | None) -> tuple[Tensor, Tensor]:
        """q (K,) and h̃ (d+1,)."""
        entering = (sample.double() - model.centre.double()) * model.factor.double()
        probabilities = (model.linear.weight.double() @ entering + model.linear.bias.double()).softmax(0)
        residual = probabilities.detach().clone()
        residual[int(probabilities.argmax()) if label is None else label] -= 1
        return residual, torch.cat([entering, torch.ones(1, dtype=torch.float64)])

    expected = torch.zeros(5, 17, dtype=torch.float64)
    for sample, label in zip(labeled, labels.tolist(), strict=True):
        expected += torch.outer(*parts(sample, label))
    torch.testing.assert_close(total["linear.weight"].double(), expected[:, :-1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(total["linear.bias"].double(), expected[:, -1], rtol=1e-5, atol=1e-5)
    for row, sample in enumerate(features):
        residual, extended = parts(sample, None)
        norm = float(residual.square().sum() * extended.square().sum())
        assert float(scores.sq_norm[row]) == pytest.approx(norm, rel=1e-5)
        inner = float(residual @ expected @ extended)
        assert float(scores.inner[row]) == pytest.approx(inner, abs=1e-5 * norm**0.5 * float(expected.norm()))
    assert torch.equal(scores.features, standardised(model, features))
    assert set(engine.coverage()) == {"linear.weight", "linear.bias"}
    assert all(entry.startswith("rule") for entry in engine.coverage().values())
    reference = reference_scores(model, features, total)
    torch.testing.assert_close(scores.sq_norm, reference.sq_norm, rtol=1e-5, atol=1e-9)
    assert torch.equal(engine.predict(features).features, scores.features)
