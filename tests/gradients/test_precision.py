"""Fewer digits on request: near the exact scores, checked in full precision, and never by default."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import vision_transformer

from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.precision import Precision
from tests.gradients.gradient_cases import LIMIT, fallen, seeded, settle


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    convolutions = (nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 64, 3, stride=2))
    late = (nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(64, 32, 1, stride=2))
    model = nn.Sequential(*convolutions, *late, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5))
    return settle(model)


def transformer() -> nn.Module:
    torch.manual_seed(0)
    return settle(vision_transformer.VisionTransformer(12, 4, 2, 2, 16, 32, num_classes=5))


def scored(model: nn.Module, inputs: Tensor, head: str | None, precision: Precision) -> tuple[Tensor, Tensor, Tensor]:
    engine = GradientEngine(model, head=head, memory_limit_bytes=LIMIT, precision=precision)
    direction = {name: torch.randn(value.shape, generator=seeded(1)) for name, value in model.named_parameters()}
    scores = engine.score(inputs, direction)
    assert scores.inner is not None
    assert not fallen(engine), "rounding must not look like a wrong rule"
    assert not engine.notes
    return scores.sq_norm, scores.inner, scores.probabilities


@pytest.mark.parametrize(("build", "head"), [(convolutional, "9"), (transformer, "heads.head"), (convolutional, None)])
def test_bfloat16_is_near_float32_and_not_the_same(build, head: str | None) -> None:
    model, inputs = build(), torch.randn(12, 3, 12, 12, generator=seeded())
    exact = scored(model, inputs, head, Precision.FLOAT32)
    rough = scored(model, inputs, head, Precision.BFLOAT16)
    lengths = exact[0].sqrt() * sum(float(value.numel()) for value in model.parameters()) ** 0.5
    assert float(((rough[0] - exact[0]).abs() / exact[0]).max()) < 0.05
    assert float(((rough[1] - exact[1]).abs() / lengths).max()) < 0.01
    assert not torch.equal(rough[0], exact[0])
    assert rough[0].dtype == rough[1].dtype == torch.float64
    assert rough[2].dtype == torch.float32
    torch.testing.assert_close(rough[2], exact[2], atol=0.02, rtol=0)


def test_the_logits_of_a_named_head_are_not_rounded() -> None:
    model, inputs = convolutional(), torch.randn(12, 3, 12, 12, generator=seeded())
    engine = GradientEngine(model, head="9", memory_limit_bytes=LIMIT, precision=Precision.BFLOAT16)
    seen: list[Tensor] = []
    model[9].register_forward_hook(lambda _, args, output: seen.append(output))
    engine.score(inputs, None)
    assert {logits.dtype for logits in seen} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")
    assert engine.predict(inputs).features.dtype == torch.float32


def test_tf32_is_refused_where_there_is_none_and_never_left_on() -> None:
    engine = GradientEngine(convolutional(), head="9", memory_limit_bytes=LIMIT, precision=Precision.TF32)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    with pytest.raises(ValueError, match="tf32 needs an NVIDIA GPU; on cpu use float32 or bfloat16"):
        engine.score(torch.randn(2, 3, 12, 12), None)
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
