"""The cost model: sensible choices that depend on shapes per sample only."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dalcli.gradients.rules import LayerCall, conv, rule_for
from dalcli.gradients.rules.base import Contribution, Wanted
from dalcli.gradients.rules.cost import CPU, Outer, cheapest, convolution_routes, machine_for, matmul_routes


def chosen(channels: int, width: int, side: int, groups: int = 1, kernel: int = 3) -> str:
    outer = Outer(side * side, width // groups, channels // groups * kernel**2, groups, 4)
    return cheapest(convolution_routes(outer, side * side, channels // groups, (kernel, kernel), CPU))


def test_many_positions_with_a_small_weight_are_instantiated() -> None:
    assert chosen(64, 64, 32) in {"one by one", "folded"}
    assert chosen(64, 128, 16) in {"one by one", "folded"}


def test_few_positions_with_a_large_weight_take_a_gram() -> None:
    assert chosen(256, 256, 8) == "pixel gram"
    assert chosen(512, 512, 4) == "pixel gram"
    assert chosen(512, 512, 2).endswith("gram")


def test_patches_that_do_not_overlap_skip_the_pixel_gram() -> None:
    # ViT's 16×16 patches at 32²: 4 positions out of 1024 pixels.
    outer = Outer(4, 768, 3 * 256, 1, 4)
    assert cheapest(convolution_routes(outer, 1024, 3, (16, 16), CPU)) == "patch gram"


def test_depthwise_layers_fold_samples_into_groups() -> None:
    assert chosen(96, 96, 16, groups=96) == "folded"


def test_linear_layers_weigh_positions_against_features() -> None:
    assert cheapest(matmul_routes(Outer(4, 768, 768, 1, 4), CPU)) == "gram"
    assert cheapest(matmul_routes(Outer(1024, 32, 32, 1, 4), CPU)) == "instantiate"


def test_an_accelerator_is_never_fed_one_sample_at_a_time() -> None:
    outer = Outer(1024, 64, 576, 1, 4)
    assert cheapest(convolution_routes(outer, 1024, 64, (3, 3), machine_for("cuda"))) != "one by one"


def test_the_choice_does_not_see_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(3, 4, 3)
    names: list[str] = []
    for name, route in conv.ROUTES.items():

        def spied(*arguments, name=name, route=route) -> Contribution:
            names.append(name)
            return route(*arguments)

        monkeypatch.setitem(conv.ROUTES, name, spied)
    rule = rule_for(layer)
    assert rule is not None
    for samples in (1, 2, 50):
        inputs = torch.randn(samples, 3, 8, 8)
        for along in (None, torch.randn(4, 3, 3, 3)):
            rule.contributions(
                LayerCall(layer, inputs, torch.randn(samples, 4, 6, 6), {"weight": Wanted(along)}, 2**20)
            )
    assert len(names) == 6
    assert len(set(names)) == 1
