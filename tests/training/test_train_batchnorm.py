"""BatchNorm over ranks is BatchNorm of the whole batch, in float64: forward, backward and running statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.training.global_batchnorm import global_statistics
from tests.train_groups import in_group

SHAPES = [(7, 5), (7, 5, 4), (6, 5, 3, 2)]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"affine": False},
    {"momentum": None, "eps": 0.1},
    {"track_running_stats": False, "momentum": 0.3},
]
Found = dict[str, Tensor | None]


def layer_for(shape: tuple[int, ...], settings: dict[str, Any]) -> nn.Module:
    kind = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    layer = kind(shape[1], dtype=torch.float64, **settings)
    if layer.affine:
        with torch.no_grad():
            layer.weight.copy_(torch.linspace(0.5, 2, shape[1]))
            layer.bias.copy_(torch.linspace(-1, 1, shape[1]))
    return layer


def images(shape: tuple[int, ...], step: int) -> tuple[Tensor, Tensor]:
    """Inputs far from zero, where squares minus squared means would lose digits, and gradients at the output."""
    generator = torch.Generator().manual_seed(step)
    inputs = 100 + torch.randn(shape, generator=generator, dtype=torch.float64)
    return inputs, torch.randn(shape, generator=generator, dtype=torch.float64)


def passes(ranks: Ranks, shape: tuple[int, ...], settings: dict[str, Any], cuts: tuple[int, ...]) -> Found:
    """Two steps on this rank's part, ``cuts[rank]`` to ``cuts[rank + 1]``; a stand-in where that is empty."""
    layer = layer_for(shape, settings)
    found: Found = {}
    for step in range(2):
        inputs, gradient = images(shape, step)
        part = slice(cuts[ranks.rank], cuts[ranks.rank + 1])
        counts = part.start < part.stop
        inputs = inputs[part] if counts else torch.full((1, *shape[1:]), 7.0, dtype=torch.float64)
        gradient = gradient[part] if counts else torch.zeros_like(inputs)
        inputs.requires_grad_()
        layer.zero_grad()
        with global_statistics(layer, ranks, counts=counts):
            outputs = layer(inputs)
        outputs.backward(gradient)
        assert inputs.grad is not None
        kept = slice(None) if counts else slice(0)
        found |= {f"outputs {step}": outputs.detach()[kept], f"inputs {step}": inputs.grad[kept]}
        assert counts or not inputs.grad.any()
    found |= {name: parameter.grad for name, parameter in layer.named_parameters()}
    return found | {f"state {name}": value for name, value in layer.state_dict().items()}


def works(ranks: Ranks, cuts: tuple[int, ...]) -> list[Found]:
    return [passes(ranks, shape, settings, cuts) for shape in SHAPES for settings in SETTINGS]


@pytest.mark.parametrize("cuts", [(0, 3, 100), (0, 0, 100), (0, 1, 2, 100)], ids=["two", "one has none", "three"])
def test_it_is_that_of_the_whole_batch(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    parts = in_group(len(cuts) - 1, tmp_path / "group", works, cuts)
    for number, whole in enumerate(works(SOLO, (0, 100))):
        for name, expected in whole.items():
            values = [part[number][name] for part in parts]
            if name.startswith("state"):
                assert all(torch.equal(value, values[0]) for value in values)
                together = values[0]
            else:
                together = torch.cat(values) if " " in name else sum(values)
            torch.testing.assert_close(together, expected, rtol=1e-10, atol=1e-10)


def half(ranks: Ranks) -> tuple[Tensor, torch.dtype]:
    layer = nn.BatchNorm2d(3)
    inputs = torch.randn(8, 3, 2, 2, generator=torch.Generator().manual_seed(0))[list(ranks.part(8))]
    inputs = inputs.bfloat16().requires_grad_()
    with global_statistics(layer, ranks, counts=True):
        outputs = layer(inputs)
    outputs.float().square().sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.dtype is torch.bfloat16
    return layer.running_var, outputs.dtype


def test_mixed_precision_sums_in_float32(tmp_path: Path) -> None:
    expected, _ = half(SOLO)
    for variance, dtype in in_group(2, tmp_path / "group", half):
        assert dtype is torch.bfloat16
        torch.testing.assert_close(variance, expected, rtol=1e-5, atol=0)


class Own(nn.BatchNorm1d):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + 1


def test_only_layers_in_training_mode_that_are_nothing_but_batchnorm_are_changed() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm2d(2).eval(), Own(2), nn.SyncBatchNorm(2))
    names = list(model.state_dict())
    with global_statistics(model, Ranks(0, 2), counts=True):
        assert ["forward" in vars(layer) for layer in model] == [True, False, False, True]
        assert list(model.state_dict()) == names
    assert not any("forward" in vars(layer) for layer in model)
    with global_statistics(model, SOLO, counts=True):
        assert not any("forward" in vars(layer) for layer in model)
