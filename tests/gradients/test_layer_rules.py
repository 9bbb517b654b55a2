"""Every layer family against one-sample-at-a-time float64 autograd."""

from __future__ import annotations

import pytest
import torch
from gradient_cases import check_exact, ruled, seeded, settle
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d

from dalcli.gradients.rules import base, conv_routes, convolution, register, rule_for
from dalcli.gradients.rules.linear import LinearRule


class Probe(nn.Module):
    """A layer between a little mixing before and a head after, so that its δ and its inputs are generic."""

    def __init__(self, layer: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.layer = layer
        with torch.no_grad():
            features = layer(example).flatten(1).shape[1]
        self.head = nn.Linear(features, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = self.layer(torch.sin(3 * inputs) if inputs.is_floating_point() else inputs)
        return self.head(torch.tanh(outputs).flatten(1))


LAYERS = {
    "linear": (nn.Linear(5, 7), (5,)),
    "linear without bias": (nn.Linear(5, 7, bias=False), (5,)),
    "linear over few positions": (nn.Linear(6, 40), (3, 6)),
    "linear over many positions": (nn.Linear(3, 2), (6, 7, 3)),
    "conv1d": (nn.Conv1d(3, 4, 3, stride=2, padding=1), (3, 11)),
    "conv1d same circular": (nn.Conv1d(2, 4, 4, padding="same", padding_mode="circular", dilation=2), (2, 9)),
    "conv1d grouped": (nn.Conv1d(4, 6, 3, groups=2), (4, 9)),
    "batch norm of vectors": (nn.BatchNorm1d(6), (6,)),
    "batch norm of lines": (nn.BatchNorm1d(6), (6, 5)),
    "batch norm of planes": (nn.BatchNorm2d(3), (3, 5, 4)),
    "batch norm of volumes": (nn.BatchNorm3d(2), (2, 3, 2, 2)),
    "layer norm": (nn.LayerNorm(6), (6,)),
    "layer norm over positions": (nn.LayerNorm(6), (4, 3, 6)),
    "layer norm of planes": (nn.LayerNorm([3, 4]), (2, 3, 4)),
    "layer norm without bias": (nn.LayerNorm(6, bias=False), (4, 6)),
    "layer norm over channels": (LayerNorm2d(6), (6, 3, 2)),
    "rms norm": (nn.RMSNorm(6), (4, 6)),
    "rms norm with eps": (nn.RMSNorm([2, 3], eps=0.1), (4, 2, 3)),
    "group norm": (nn.GroupNorm(2, 6), (6, 3, 3)),
    "group norm of vectors": (nn.GroupNorm(2, 6), (6,)),
    "instance norm": (nn.InstanceNorm2d(3, affine=True), (3, 4, 4)),
    "one slope": (nn.PReLU(), (3, 4)),
    "slopes per channel": (nn.PReLU(3), (3, 4, 2)),
    "slopes of vectors": (nn.PReLU(6), (6,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_scored_exactly_by_its_rule(name: str) -> None:
    layer, shape = LAYERS[name]
    inputs = torch.randn(4, *shape, generator=seeded())
    model = settle(Probe(layer, inputs))
    engine = check_exact(model, inputs)
    assert ruled(engine) == {key for key, _ in model.named_parameters()}
    assert engine.notes == []


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_tokens_that_repeat_are_summed_before_squaring(padding_idx: int | None) -> None:
    tokens = torch.tensor([[0, 1, 1, 1], [2, 3, 2, 4], [0, 0, 0, 0]])
    engine = check_exact(settle(Probe(nn.Embedding(6, 5, padding_idx=padding_idx), tokens)), tokens)
    assert "layer.weight" in ruled(engine)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[nn.Conv2d, tuple[int, ...]]:
    groups = draw(st.sampled_from([1, 1, 2, 4]))
    into, out = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    dilation = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    mode = draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"]))
    padding = draw(st.sampled_from(["same", "valid", (0, 1), (1, 2), (2, 0)]))
    stride = (1, 1) if padding == "same" else (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    layer = nn.Conv2d(
        into,
        out,
        kernel,
        stride,
        padding,
        dilation,
        groups,
        bias=draw(st.booleans()),
        padding_mode=mode,
    )
    return layer, (into, draw(st.integers(5, 8)), draw(st.integers(5, 8)))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@settings(max_examples=60, deadline=None, derandomize=True)
@given(convolutions())
def test_convolutions_of_every_geometry_are_scored_exactly(case: tuple[nn.Conv2d, tuple[int, ...]]) -> None:
    layer, shape = case
    inputs = torch.randn(3, *shape, generator=seeded())
    model = Probe(layer, inputs)
    engine = check_exact(model, inputs)
    assert ruled(engine) == {key for key, _ in model.named_parameters()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    side=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels_last=st.booleans(),
)
def test_all_routes_agree_with_autograd(side, kernel, stride, padding, dilation, groups, channels, channels_last):
    reach = [dilation[axis] * (kernel[axis] - 1) + 1 for axis in (0, 1)]
    assume(all(reach[axis] <= side[axis] + 2 * padding[axis] for axis in (0, 1)))
    layer = nn.Conv2d(
        groups * channels[0], groups * channels[1], kernel, stride, padding, dilation, groups, bias=False
    ).double()
    inputs = torch.randn(3, groups * channels[0], *side, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        outputs = layer(inputs)
    delta = torch.randn(outputs.shape, generator=seeded(1), dtype=torch.float64)
    along = torch.randn(layer.weight.shape, generator=seeded(2), dtype=torch.float64)
    expected = [torch.autograd.grad((layer(x[None]) * d).sum(), layer.weight)[0] for x, d in zip(inputs, delta)]  # noqa: B905
    sq_norm = torch.stack([gradient.square().sum() for gradient in expected])
    inner = torch.stack([(gradient * along).sum() for gradient in expected])
    geometry = convolution.Convolution(
        kernel, stride, padding, dilation, groups, *channels, side, (outputs.shape[2], outputs.shape[3]), 8
    )
    if channels_last:
        inputs, delta = (value.contiguous(memory_format=torch.channels_last) for value in (inputs, delta))
    for name, route in conv_routes.ROUTES.items():
        for chunk_bytes in (1, 2**20):
            found = route(geometry, inputs, delta, base.Wanted(along), chunk_bytes)
            torch.testing.assert_close(found.sq_norm, sq_norm, msg=lambda text, name=name: f"{name}: {text}")
            torch.testing.assert_close(found.inner, inner, msg=lambda text, name=name: f"{name}: {text}")
            assert route(geometry, inputs, delta, base.Wanted(), chunk_bytes).inner is None


def test_a_family_cannot_be_registered_twice() -> None:
    with pytest.raises(ValueError, match="Linear already has the rule LinearRule"):
        register(nn.Linear)(LinearRule)


def test_a_subclass_with_its_own_forward_has_no_rule() -> None:
    class Doubled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return 2 * super().forward(input)

    class Standardised(nn.Conv2d):
        def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002
            return super()._conv_forward(input, weight / weight.norm(), bias)

    class Renamed(nn.Linear):
        pass

    assert rule_for(Doubled(2, 2)) is None
    assert rule_for(Standardised(2, 2, 3)) is None
    assert rule_for(Renamed(2, 2)) is rule_for(nn.Linear(2, 2))


def test_layers_whose_gradient_no_formula_covers_have_no_rule() -> None:
    assert rule_for(nn.BatchNorm2d(3, track_running_stats=False)) is None
    assert rule_for(nn.InstanceNorm2d(3, affine=True, track_running_stats=True)) is None
    assert rule_for(nn.Embedding(3, 3, max_norm=1.0)) is None
    assert rule_for(nn.Embedding(3, 3, scale_grad_by_freq=True)) is None
