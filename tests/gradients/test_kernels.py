import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.kernels import laid_out, lay_out, plain_kernels
from dalcli.gradients.oracle import reference_scores


class Standardised(nn.Conv2d):
    """A convolution that wants to see its weight as a matrix, without a copy."""

    def forward(self, values: Tensor) -> Tensor:
        matrix = self.weight.view(self.out_channels, -1)
        weight = (matrix - matrix.mean(1, keepdim=True)).view(self.weight.shape)
        return nn.functional.conv2d(values, weight, self.bias, padding=1)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.ReLU(), Standardised(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(4, 3))


def test_only_torchs_own_convolutions_are_laid_out() -> None:
    model = network()
    normalised = parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    assert [id(kernel) for kernel in plain_kernels(model)] == [id(model[0].weight)]
    assert plain_kernels(nn.Sequential(normalised, nn.Conv1d(3, 4, 3), nn.Conv3d(3, 4, 3))) == []


def test_laying_out_keeps_values_and_copies_once() -> None:
    weight = torch.randn(4, 3, 5, 5)
    found = laid_out(weight)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, weight)
    assert laid_out(found) is found
    for shape in ((4, 1, 3, 3), (4, 3, 1, 1), (1, 1, 1, 1), (0, 3, 2, 2)):
        ambiguous = torch.randn(shape)
        assert laid_out(ambiguous).stride() == torch.empty(shape, memory_format=torch.channels_last).stride()
        assert torch.equal(laid_out(ambiguous), ambiguous)
    matrix = torch.randn(3, 4)
    assert laid_out(matrix) is matrix


def test_a_convolution_that_looks_at_its_weight_is_scored() -> None:
    model = network()
    lay_out(model)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    images = torch.randn(9, 3, 8, 8)
    expected = reference_scores(model, images, None)
    found = GradientEngine(model, head="5", memory_limit_bytes=1 << 28).score(images, None)
    torch.testing.assert_close(found.sq_norm, expected.sq_norm.to(found.sq_norm), rtol=1e-4, atol=1e-9)
