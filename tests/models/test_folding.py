"""Networks with batch normalisation folded away, against themselves in float64; and what must be left alone."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from dalcli.models import folding
from dalcli.models.folding import folded

SIZE = (32, 24)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The networks of this file are of a known package."""
    monkeypatch.setattr(folding, "_KNOWN", {*folding._KNOWN, __name__.partition(".")[0]})


def lived(network: nn.Module) -> nn.Module:
    """Normalisations that have seen images, some of whose channels were nearly constant."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            assert module.running_var is not None
            module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator))
            module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) * 2 + 1e-3)
            if module.affine:
                nn.init.normal_(module.weight, generator=generator)
                nn.init.normal_(module.bias, generator=generator)
    return network.eval().requires_grad_(False)


def images(count: int = 3) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(2))


def normalisations(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def require_the_same(network: nn.Module, found: nn.Module) -> None:
    exact = copy.deepcopy(network).double()(images().double())
    torch.testing.assert_close(found(images()).double(), exact, rtol=1e-4, atol=1e-5 * float(exact.abs().max()))


class Strict(nn.Conv2d):
    """A convolution of weights that it standardises itself, as some of timm's are."""

    def forward(self, inputs: Tensor) -> Tensor:
        weight = self.weight / self.weight.std((1, 2, 3), keepdim=True)
        return functional.conv2d(inputs, weight, self.bias, self.stride, self.padding)


class Padded(nn.Conv2d):
    """A convolution that pads as its input's size asks for, which no drawn graph can."""

    def forward(self, inputs: Tensor) -> Tensor:
        more = -inputs.shape[-1] % 4
        return super().forward(functional.pad(inputs, (0, more)))


class Activated(nn.BatchNorm2d):
    """A normalisation with its activation, as timm's are."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.drop, self.act = nn.Identity(), nn.SiLU()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.act(self.drop(super().forward(inputs)))


class Shared(nn.Module):
    """Two normalisations of one convolution's outputs, and a convolution called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.first, self.second, self.third = nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, inputs: Tensor) -> Tensor:
        seen = self.one(inputs)
        both = self.first(seen) * self.second(seen)
        return self.third(self.two(self.two(both))).mean((2, 3))


class Skipping(nn.Module):
    """What a convolution gives goes on past its normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.normalisation = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, inputs: Tensor) -> Tensor:
        seen = self.convolution(inputs)
        return (seen + self.normalisation(seen)).mean((2, 3))


class Choosing(nn.Module):
    """Goes another way for bright images: no graph says that."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.normalisation = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, inputs: Tensor) -> Tensor:
        seen = self.convolution(inputs)
        return (self.normalisation(seen) if inputs.mean() > 0 else seen).mean((2, 3))


class Remembering(nn.Module):
    """Keeps what it saw last, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.normalisation = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.calls, self.level = 0, torch.zeros(())

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.level = 0.5 * self.level + inputs.mean()
        return self.normalisation(self.convolution(inputs)).mean((2, 3))


@pytest.mark.usefixtures("known")
def test_a_network_that_remembers_what_it_saw_remembers_no_trace() -> None:
    made = lived(Remembering())
    folded(made, SIZE)
    assert isinstance(made.level, Tensor) and type(made.calls) is int
    made(images())
    assert bool(made.level.isfinite())


def plain(convolution: nn.Module, normalisation: nn.Module) -> nn.Module:
    return nn.Sequential(convolution, normalisation, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("network", "left"),
    [
        pytest.param(lambda: plain(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), 0, id="plain"),
        pytest.param(lambda: plain(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, affine=False)), 0, id="no affine"),
        pytest.param(
            lambda: plain(nn.Conv2d(3, 8, 3, 2, 2, 2), nn.BatchNorm2d(8, eps=0.1)), 0, id="stride and dilation"
        ),
        pytest.param(lambda: plain(nn.Conv2d(3, 8, 3), Activated(8)), 0, id="activated"),
        pytest.param(lambda: plain(Padded(3, 8, 3), nn.BatchNorm2d(8)), 0, id="padding of its own"),
        pytest.param(lambda: plain(Strict(3, 8, 3), nn.BatchNorm2d(8)), 1, id="weights of its own"),
        pytest.param(
            lambda: plain(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False)), 1, id="of the batch"
        ),
        pytest.param(Shared, 3, id="shared"),
        pytest.param(Skipping, 1, id="skipping"),
    ],
)
def test_the_same_numbers_with_fewer_normalisations(network, left: int) -> None:
    torch.manual_seed(0)
    made = lived(network())
    before = copy.deepcopy(made.state_dict())
    found = folded(made, SIZE)
    assert normalisations(found) == left
    require_the_same(made, found)
    after = made.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("network", [Choosing, lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 24, 2))])
def test_what_cannot_be_folded_stays_itself(network) -> None:
    made = lived(network())
    assert folded(made, SIZE) is made


class Trying(Choosing):
    """Goes another way for loud images, and hides it from whoever draws graphs."""

    def forward(self, inputs: Tensor) -> Tensor:
        seen = self.normalisation(self.convolution(inputs))
        with contextlib.suppress(TypeError):
            seen = seen * (2 if float(inputs.abs().max()) > 7 else 1)
        return seen.mean((2, 3))


class Twice(Choosing):
    """Uses the convolution's weights a second time, where images are dark."""

    def forward(self, inputs: Tensor) -> Tensor:
        again = functional.conv2d((-inputs - 1).relu(), self.convolution.weight)
        return (self.normalisation(self.convolution(inputs)) + again).mean((2, 3))


def clamped(convolution: nn.Module, normalisation: nn.Module) -> nn.Module:
    network = plain(convolution, normalisation)
    network[1].register_forward_pre_hook(lambda module, inputs: (inputs[0].clamp(-1, 1),))
    return network


def patched(convolution: nn.Module, normalisation: nn.Module) -> nn.Module:
    network = plain(convolution, normalisation)
    normalisation.forward = lambda inputs: inputs.clamp(-1, 1)  # type: ignore[method-assign]
    return network


def whole_clamped() -> nn.Module:
    network = plain(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    network.register_forward_pre_hook(lambda module, inputs: (inputs[0].clamp(-1, 1),))
    return network


@pytest.mark.parametrize(
    "network",
    [
        pytest.param(Trying, id="somebody's code"),
        pytest.param(lambda: plain(Padded(3, 8, 3), nn.BatchNorm2d(8)), id="somebody's convolution"),
        pytest.param(lambda: plain(nn.Conv2d(3, 8, 3), Activated(8)), id="somebody's normalisation"),
        pytest.param(lambda: clamped(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), id="hooked"),
        pytest.param(lambda: patched(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)), id="patched"),
        pytest.param(whole_clamped, id="hooked as a whole"),
    ],
)
def test_what_anybody_may_have_changed_stays_itself(network) -> None:
    """One trial tells nothing of code that looks at what it sees."""
    made = lived(network())
    assert folded(made, SIZE) is made


@pytest.mark.usefixtures("known")
def test_a_convolution_whose_weights_are_used_elsewhere_stays_itself() -> None:
    made = lived(Twice())
    assert folded(made, SIZE) is made


@pytest.mark.usefixtures("known")
def test_a_device_that_was_written_down_is_not_kept() -> None:
    class Placed(Choosing):
        def forward(self, inputs: Tensor) -> Tensor:
            inputs = inputs.to(self.convolution.weight.device)
            return self.normalisation(self.convolution(inputs)).mean((2, 3))

    made = lived(Placed())
    assert folded(made, SIZE) is made


def test_a_faint_channel_counts_beside_loud_ones() -> None:
    loud = torch.tensor([[1e3, 1.0], [-1e3, 2.0]])
    assert folding._alike(loud + torch.tensor([0.05, 5e-5]), loud)
    assert not folding._alike(loud + torch.tensor([0.0, 0.01]), loud)
    assert not folding._alike(torch.full_like(loud, torch.nan), loud)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", "googlenet"])
def test_published_architectures_lose_all_of_them(name: str) -> None:
    from torchvision import models

    torch.manual_seed(0)
    made = lived(models.get_model(name, weights=None, **({"init_weights": False} if name == "googlenet" else {})))
    found = folded(made, SIZE)
    assert normalisations(found) == 0
    require_the_same(made, found)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet10t", "mobilenetv4_conv_small"])
def test_timms_normalisations_with_activations_and_paddings(name: str) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    made = lived(timm.create_model(name, num_classes=0))
    found = folded(made, SIZE)
    assert normalisations(found) == 0
    require_the_same(made, found)
