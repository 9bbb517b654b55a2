import math

import pytest
import torch
from torch import nn

from dalcli.gradients.direction import Direction, moderated
from dalcli.gradients.kernels import laid_out


def convolution() -> dict[str, nn.Parameter]:
    return dict(nn.Conv2d(3, 4, 3).named_parameters())


def direction(length: float, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    parameters = convolution()
    torch.manual_seed(1)
    found = {name: torch.randn(value.shape, dtype=torch.float64) for name, value in parameters.items()}
    now = math.hypot(*(float(value.norm()) for value in found.values()))
    return {name: laid_out((value * (length / now)).to(dtype)) for name, value in found.items()}


def length(found: Direction) -> float:
    return math.sqrt(sum(float(value.double().square().sum()) for value in found.vector.values()))


@pytest.mark.parametrize("moderate", [1e-6, 1.0, 1e6])
def test_a_direction_that_fits_is_not_copied(moderate: float) -> None:
    given = direction(moderate)
    found = moderated(given, convolution())
    assert found.scale == 1.0
    assert all(found.vector[name].data_ptr() == given[name].data_ptr() for name in given)


@pytest.mark.parametrize("extreme", [1e-100, 1e-30, 1e9, 1e100])
def test_an_extreme_direction_is_scaled_by_a_power_of_two(extreme: float) -> None:
    given = direction(extreme, torch.float64)
    kept = {name: value.clone() for name, value in given.items()}
    found = moderated(given, convolution())
    assert 0.99 <= length(found) < 2.01
    assert math.frexp(found.scale)[0] == 0.5
    for name, value in found.vector.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(found.scale * value.double(), kept[name], rtol=1e-6, atol=0)
        assert torch.equal(given[name], kept[name])


def test_kernels_are_laid_out_channels_last() -> None:
    given = {name: value.contiguous() for name, value in direction(1.0).items()}
    found = moderated(given, convolution()).vector
    assert found["weight"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found["weight"], given["weight"])


def test_zero_and_infinite_directions_are_left_as_they_are() -> None:
    for value in (0.0, math.inf):
        given = {name: torch.full_like(tensor, value) for name, tensor in direction(1.0).items()}
        found = moderated(given, convolution())
        assert found.scale == 1.0
        assert torch.equal(found.vector["bias"], given["bias"])


def test_a_direction_made_for_inference_can_be_used() -> None:
    with torch.inference_mode():
        given = direction(1.0)
    assert not any(value.is_inference() for value in moderated(given, convolution()).vector.values())


def test_a_direction_that_begins_anywhere_gives_the_same_bits() -> None:
    aligned = direction(1.0)
    shifted = {}
    for name, value in aligned.items():
        shifted[name] = torch.empty(value.numel() + 1)[1:].reshape(value.shape).copy_(value)
    found = moderated(shifted, convolution()).vector
    assert all(value.data_ptr() % 64 == 0 and torch.equal(value, aligned[name]) for name, value in found.items())
