"""Vector–Jacobian products: what torch says with ``grad_outputs``, without what it imports for it."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from dalcli.gradients.vjp import vjp

ENGINE = """
import sys
import torch
from torch import nn
from dalcli.gradients.engine import GradientEngine
model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
engine = GradientEngine(model, head="2", memory_limit_bytes=1 << 24)
inputs = torch.randn(8, 6)
direction = engine.labeled_gradient([(inputs, torch.arange(8) % 3)])
engine.score(inputs, direction)
engine.predict(inputs)
print("sympy" in sys.modules)
"""


def test_it_is_what_torch_gives_bit_for_bit() -> None:
    torch.manual_seed(0)
    model, inputs, vector = nn.Linear(4, 3), torch.randn(5, 4), torch.randn(5, 3, dtype=torch.float64)
    beside = torch.zeros(2, requires_grad=True)
    wanted = [*model.parameters(), beside]
    expected = torch.autograd.grad(model(inputs), wanted, grad_outputs=vector.float(), allow_unused=True)
    found = vjp(model(inputs), vector, wanted)
    assert all(torch.equal(one, other) for one, other in zip(found[:2], expected[:2], strict=True))
    assert found[2] is None
    assert expected[2] is None


def test_infinite_outputs_do_not_matter() -> None:
    leaf = torch.tensor([0.0, 1.0], requires_grad=True)
    outputs = torch.stack([leaf[0].exp() * 1e38 * 10, leaf[1] * 2])
    (found,) = vjp(outputs, torch.tensor([0.0, 3.0]), [leaf])
    assert found is not None
    assert found[1] == 6.0


def test_an_engine_works_without_sympy() -> None:
    ended = subprocess.run([sys.executable, "-c", ENGINE], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
