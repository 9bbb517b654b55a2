"""A forward pass alone gives what the scoring pass gives of it."""

from __future__ import annotations

import pytest
import torch
from gradient_cases import engine_for, seeded, settle
from torch import Tensor, nn

from dalcli.gradients.engine import GradientEngine


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Flatten(), nn.Dropout(0.5), nn.Linear(96, 4)
    )


class Mixing(nn.Module):
    """What no sample-wise engine may score in batches: samples see each other's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(108, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        found: Tensor = self.head(flat - flat.mean(0) / 2)
        return found


@pytest.mark.parametrize("head", ["5", None])
@pytest.mark.parametrize("limit", [1, 10**9])
def test_predictions_are_those_of_the_scoring_pass(head: str | None, limit: int) -> None:
    model, inputs = settle(convolutional()), torch.randn(7, 3, 6, 6, generator=seeded())
    engine = GradientEngine(model, head=head, memory_limit_bytes=limit)
    found, scores = engine.predict(inputs), engine.score(inputs, None)
    torch.testing.assert_close(found.probabilities, scores.probabilities, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.features, scores.features, rtol=1e-5, atol=1e-6)
    assert torch.equal(found.pseudo_label, scores.pseudo_label)
    assert not any(value.requires_grad for value in (found.probabilities, found.residuals, found.features))


def test_residuals_keep_the_digits_of_confident_samples() -> None:
    model, inputs = settle(convolutional()), torch.randn(5, 3, 6, 6, generator=seeded())
    with torch.no_grad():
        model[-1].weight.mul_(100)
    found = engine_for(model).predict(inputs).residuals
    model.eval()
    with torch.no_grad():
        p = model(inputs).double().softmax(1)
    own = p.argmax(1, keepdim=True)
    expected = p.scatter(1, own, 0.0)
    expected.scatter_(1, own, -expected.sum(1, keepdim=True))
    assert found.dtype == torch.float64
    assert float(p.max()) > 1 - 1e-9, "the test needs a confident sample"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_nothing_depends_on_the_batch() -> None:
    for build in (convolutional, Mixing):
        engine, inputs = engine_for(settle(build())), torch.randn(4, 3, 6, 6, generator=seeded())
        whole = engine.predict(inputs)
        alone = [engine.predict(sample[None]) for sample in inputs]
        torch.testing.assert_close(torch.cat([one.residuals for one in alone]), whole.residuals, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(torch.cat([one.features for one in alone]), whole.features, rtol=1e-5, atol=1e-6)


def test_the_model_is_left_as_it_was() -> None:
    model, inputs = settle(convolutional()).train(), torch.randn(2, 3, 6, 6, generator=seeded())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    engine_for(model).predict(inputs)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_nothing_to_predict_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to predict"):
        engine_for(convolutional()).predict(torch.empty(0, 3, 6, 6))
