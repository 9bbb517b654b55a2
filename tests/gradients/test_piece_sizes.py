"""How many samples run at once, and in which layout their gradients travel."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dalcli.gradients import memory
from dalcli.gradients.passes import Pass, evaluating


@pytest.mark.parametrize(
    ("samples", "most", "replicas", "sizes"),
    [(8, 8, 2, [4, 4]), (9, 2, 2, [2, 1, 2, 1, 2, 1]), (1, 4, 2, [1]), (3, 1, 4, [1, 1, 1])],
)
def test_every_replica_gets_as_many_pieces(samples: int, most: int, replicas: int, sizes: list[int]) -> None:
    found = [piece.stop - piece.start for piece in memory.even_pieces(samples, most, replicas)]
    assert sorted(found) == sorted(sizes)
    assert sum(found) == samples


@pytest.mark.parametrize(("samples", "most"), [(1, 1), (7, 3), (64, 17), (128, 75), (5, 9), (6, 1)])
def test_pieces_cover_all_samples_once_in_order_and_are_nearly_equal(samples: int, most: int) -> None:
    pieces = memory.even_pieces(samples, most)
    covered = [index for piece in pieces for index in range(samples)[piece]]
    sizes = [piece.stop - piece.start for piece in pieces]
    assert covered == list(range(samples))
    assert max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1
    assert len(pieces) == -(-samples // most)


def test_heavy_weights_want_more_samples_at_once_and_accelerators_have_no_limit() -> None:
    cpu = torch.device("cpu")
    light = memory.favourable_samples(2**20, 0, cpu)
    heavy = memory.favourable_samples(2**20, 40 * 2**20, cpu)
    assert light == memory.PIECE_BYTES // 2**20
    assert heavy == 40 * memory.PIECE_PER_WEIGHT
    assert memory.favourable_samples(2**40, 0, cpu) == 1
    assert memory.favourable_samples(2**20, 0, torch.device("meta")) is None


class _Recording(torch.autograd.Function):
    """The identity; backward notes the layout of the gradient that arrives."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, arrived: list[Tensor]) -> Tensor:
        ctx.arrived = arrived
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.arrived.extend(gradients)
        return gradients[0], None


class _Recorder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.arrived: list[Tensor] = []

    def forward(self, values: Tensor) -> Tensor:
        result: Tensor = _Recording.apply(values, self.arrived)
        return result


class _Mean(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.mean((2, 3), keepdim=True)


def test_the_gradient_of_a_pooling_mean_takes_no_memory_and_is_right() -> None:
    recorder = _Recorder()
    model = nn.Sequential(nn.Conv2d(3, 5, 3), recorder, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)).double()
    images, seeds = torch.randn(4, 3, 8, 8).double(), torch.randn(4, 2).double()
    plain = nn.Sequential(model[2:])
    values = model[0](images).detach().requires_grad_(True)
    (expected,) = torch.autograd.grad(plain(values), values, seeds)
    with evaluating(model):
        one_pass = Pass(model, {model[0]: lambda inputs, output: lambda gradient: None}, torch.device("cpu"))
        logits, _ = one_pass.forward(images, None)
        one_pass.backward(logits, seeds)
    (gradient,) = recorder.arrived
    torch.testing.assert_close(gradient, expected)
    assert gradient.untyped_storage().nbytes() == 4 * 5 * 8
    assert not any(module._forward_hooks for module in model.modules())


def test_gradients_stay_channels_last_behind_a_spatial_mean() -> None:
    recorder = _Recorder()
    model = nn.Sequential(nn.Conv2d(3, 5, 3), recorder, _Mean(), nn.Flatten(), nn.Linear(5, 2))
    images = torch.randn(4, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    with evaluating(model):
        one_pass = Pass(model, {model[0]: lambda inputs, output: lambda gradient: None}, torch.device("cpu"))
        logits, _ = one_pass.forward(images, None)
        one_pass.backward(logits, torch.ones_like(logits))
    (gradient,) = recorder.arrived
    assert gradient.is_contiguous(memory_format=torch.channels_last)
    assert not gradient.is_contiguous()
