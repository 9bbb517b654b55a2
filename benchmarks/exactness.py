"""Every torchvision family, as it ships, against one-sample-at-a-time float64 autograd.

    python benchmarks/exactness.py [MODEL...] [--device cuda]

Random weights, two images of the smallest size the family takes. Errors are in units of the tolerance's scale: of
‖g‖² for the norm and of ‖g‖·‖V‖ for the inner product, V being a sum of gradients for random labels. The last columns
say how many parameters (tensors) rules and the fallback account for; the rest has no influence (auxiliary heads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from measuring import machine, parser
from torch import nn
from torchvision import models

from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.oracle import reference_labeled_gradient, reference_scores

FAMILIES: dict[str, tuple[int, dict[str, object]]] = {
    "alexnet": (63, {}),
    "vgg11_bn": (32, {}),
    "resnet18": (32, {}),
    "wide_resnet50_2": (32, {}),
    "resnext50_32x4d": (32, {}),
    "densenet121": (32, {}),
    "squeezenet1_1": (32, {}),
    "mobilenet_v2": (32, {}),
    "mobilenet_v3_small": (32, {}),
    "shufflenet_v2_x1_0": (32, {}),
    "efficientnet_b0": (32, {}),
    "efficientnet_v2_s": (32, {}),
    "regnet_y_400mf": (32, {}),
    "mnasnet1_0": (32, {}),
    "googlenet": (32, {"init_weights": False}),
    "inception_v3": (75, {"init_weights": False, "aux_logits": False}),
    "convnext_tiny": (32, {}),
    "vit_b_16": (32, {"image_size": 32}),
    "swin_t": (32, {}),
    "swin_v2_t": (32, {}),
    "maxvit_t": (224, {"input_size": (224, 224)}),
}
CLASSES = 5


def build(name: str, options: dict[str, object]) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = getattr(models, name)(weights=None, num_classes=CLASSES, **options).double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.normal_(0, 0.1)
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 1.5)
    return model


def check(name: str, device: str) -> float:
    """Print one row; returns the larger error."""
    size, options = FAMILIES[name]
    model = build(name, options).to(device)
    inputs = torch.randn(2, 3, size, size, dtype=torch.float64).to(device)
    direction = reference_labeled_gradient(model, [(inputs, torch.tensor([0, 1], device=device))])
    engine = GradientEngine(model, head=None, memory_limit_bytes=8 * 2**30)
    start = time.perf_counter()
    scores = engine.score(inputs, direction)
    seconds = time.perf_counter() - start
    assert scores.inner is not None
    reference = reference_scores(model, inputs, direction)
    length = math.sqrt(sum(float(value.square().sum()) for value in direction.values()))
    norm_error = float(((scores.sq_norm - reference.sq_norm).abs() / reference.sq_norm).max())
    inner_error = float(((scores.inner - reference.inner).abs() / (reference.sq_norm.sqrt() * length)).max())
    entries = list(engine.coverage().values())
    rules = sum(entry.startswith("rule") for entry in entries)
    fallback = sum(entry.startswith("fallback") for entry in entries)
    print(
        f"{name:20s} {size:4d} {norm_error:10.1e} {inner_error:10.1e} {seconds:7.1f} {rules:6d} {fallback:9d}",
        flush=True,
    )
    for note in engine.notes:
        print(f"    {note}")
    return max(norm_error, inner_error)


def main(arguments: Sequence[str] | None = None) -> int:
    found = parser(__doc__)
    found.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(FAMILIES)}; default: all")
    options = found.parse_args(arguments)
    unknown = set(options.models) - FAMILIES.keys()
    if unknown:
        found.error(f"no such model: {', '.join(sorted(unknown))}")
    print(machine(options))
    print("model                size  norm err  inner err seconds  rules  fallback")
    worst = max(check(name, options.device) for name in options.models or FAMILIES)
    print(f"worst {worst:.1e}")
    return 0 if worst < 1e-9 else 1


if __name__ == "__main__":
    raise SystemExit(main())
