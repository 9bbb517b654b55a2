"""Predictions under dropout masks: against masks applied by hand, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dalcli.config.hashing import generator
from dalcli.gradients.dropout import DropoutSampler, DropoutSpec, NoDropoutError, dropout_layers
from dalcli.gradients.precision import Precision

SPEC = DropoutSpec(seed=11, passes=6)
HALF = 2e-3  # float16 near 1


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Small(nn.Module):
    """Channels dropped, then units twice by one layer, with a residual connection around."""

    def __init__(self, p: float = 0.4, last: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)
        self.channels, self.units = nn.Dropout2d(0 if last else p), nn.Dropout(0 if last else p)
        self.mix, self.last, self.head = nn.Linear(20, 20), nn.Dropout(p, inplace=True), nn.Linear(20, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.channels(torch.relu(self.norm(self.conv(x)))).flatten(1)
        x = x + self.units(self.mix(self.units(x)))
        found: Tensor = self.head(self.last(x))
        return found


def built(**options: object) -> Small:
    torch.manual_seed(3)
    model = Small(**options)  # type: ignore[arg-type]
    with torch.no_grad():
        model.norm.running_mean.uniform_(-0.5, 0.5)
        model.norm.running_var.uniform_(0.5, 2)
        for parameter in model.parameters():
            parameter.mul_(2)
    return model.eval()


INPUTS = torch.randn(9, 3, 4, 4, generator=seeded())


def masked(model: Small, inputs: Tensor, t: int) -> Tensor:
    """One sample at a time, with the masks written out."""

    def mask(name: str, call: int, shape: tuple[int, ...], p: float) -> Tensor:
        kept = generator(SPEC.seed, "mask", t, name, call).random(shape) >= p
        return torch.as_tensor(kept, dtype=torch.float64) / (1 - p)

    wide = built().double()
    wide.load_state_dict(model.state_dict())
    outputs = []
    with torch.no_grad():
        for sample in inputs.double():
            maps = torch.relu(wide.norm(wide.conv(sample[None])))
            if model.channels.p:
                maps = maps * mask("channels", 0, (5, 1, 1), model.channels.p)
            x = maps.flatten(1)
            inner = mask("units", 0, (20,), model.units.p) if model.units.p else 1
            outer = mask("units", 1, (20,), model.units.p) if model.units.p else 1
            summed = x + wide.mix(x * inner) * outer
            outputs.append(wide.head(summed * mask("last", 0, (20,), model.last.p)).softmax(1))
    return torch.cat(outputs)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("head", ["head", None])
def test_the_samples_are_those_of_masks_applied_by_hand(last: bool, head: str | None) -> None:
    model = built(last=last)
    found = DropoutSampler(model, SPEC, head=head).sample(INPUTS).probabilities
    assert (found.shape, found.dtype) == ((9, 6, 4), torch.float16)
    for t in range(6):
        torch.testing.assert_close(found[:, t].double(), masked(model, INPUTS, t), rtol=0, atol=HALF)
    assert float(found.float().std(dim=1).mean()) > 0.01  # versions do differ


def test_dropout_before_the_head_alone_costs_one_pass() -> None:
    model, calls = built(last=True), []
    model.conv.register_forward_hook(lambda *_: calls.append(1))
    DropoutSampler(model, SPEC, head="head").sample(INPUTS)
    assert len(calls) == 1
    calls.clear()
    other = built()
    other.conv.register_forward_hook(lambda *_: calls.append(1))
    DropoutSampler(other, SPEC, head="head").sample(INPUTS)
    assert len(calls) == 6


def test_a_sample_does_not_depend_on_its_batch() -> None:
    sampler = DropoutSampler(built(), SPEC, head="head")
    whole = sampler.sample(INPUTS).probabilities.float()
    fresh = DropoutSampler(built(), SPEC, head="head")
    alone = torch.cat([fresh.sample(INPUTS[row : row + 1]).probabilities for row in range(9)]).float()
    torch.testing.assert_close(whole, alone, rtol=0, atol=HALF)
    order = torch.randperm(9, generator=seeded())
    torch.testing.assert_close(sampler.sample(INPUTS[order]).probabilities.float(), whole[order], rtol=0, atol=HALF)


def test_fewer_passes_are_the_first_of_more_and_another_seed_is_another_draw() -> None:
    model = built()
    six, two, other = (
        DropoutSampler(model, spec, head="head").sample(INPUTS).probabilities
        for spec in (SPEC, DropoutSpec(11, 2), DropoutSpec(12, 2))
    )
    assert torch.equal(six[:, :2], two)
    assert not torch.equal(two, other)


def test_masks_that_are_not_kept_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = DropoutSampler(built(), SPEC, head="head").sample(INPUTS).probabilities
    monkeypatch.setattr("dalcli.gradients.dropout._KEPT_BYTES", 30)
    assert torch.equal(DropoutSampler(built(), SPEC, head="head").sample(INPUTS).probabilities, kept)


def test_the_model_is_left_as_it_was() -> None:
    model = built().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    DropoutSampler(model, SPEC, head="head").sample(INPUTS)
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())

    def fail(*arguments: object) -> None:
        raise RuntimeError

    handle = model.mix.register_forward_hook(fail)
    with pytest.raises(RuntimeError):
        DropoutSampler(model, SPEC, head="head").sample(INPUTS)
    handle.remove()
    assert not any(module._forward_hooks for module in model.modules())


def test_everything_dropped_is_the_bias() -> None:
    model = built(p=1.0, last=True)
    found = DropoutSampler(model, SPEC, head="head").sample(INPUTS).probabilities
    expected = model.head.bias.detach().softmax(0)
    torch.testing.assert_close(found.float(), expected.expand(9, 6, 4), rtol=0, atol=HALF)


def test_a_model_that_drops_nothing_is_refused() -> None:
    assert not dropout_layers(built(p=0.0))
    with pytest.raises(NoDropoutError):
        DropoutSampler(built(p=0.0), SPEC, head="head")


def test_fewer_digits_are_close() -> None:
    exact = DropoutSampler(built(), SPEC, head="head").sample(INPUTS).probabilities.double().numpy()
    rounded = DropoutSampler(built(), SPEC, head="head", precision=Precision.BFLOAT16).sample(INPUTS)
    error = np.abs(rounded.probabilities.double().numpy() - exact).max()
    assert 0 < error < 0.1
