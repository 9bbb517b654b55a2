"""Tiny networks and their Jacobians by plain float64 autograd: the oracle of the kernel tests."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CLASSES = 4


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(dropout: float = 0.0) -> nn.Module:
    """Convolutions, BatchNorm with moved statistics, dropout, a linear head; images (n, 3, 6, 6)."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
            nn.Conv2d(6, 5, 3, stride=2),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(20, CLASSES),
        )
    norm = model[1]
    norm.running_mean.copy_(torch.randn(6, generator=seeded(2)) * 0.3)
    norm.running_var.copy_(torch.rand(6, generator=seeded(3)) + 0.5)
    return model.train()


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 6, 6, generator=seeded(5))


def jacobians(model: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    """(n, K, p): every class gradient of every sample, one backward pass each, in eval mode."""
    model = model.double().eval()
    parameters = [value for value in model.parameters() if value.requires_grad]
    rows = []
    for sample in inputs.double():
        for logit in model(sample[None])[0]:
            found = torch.autograd.grad(logit, parameters, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
            rows.append(torch.cat([g.flatten() for g in flat]).numpy())
    return np.stack(rows).reshape(len(inputs), -1, rows[0].size)


def tangent_kernel(model: nn.Module, inputs: Tensor) -> NDArray[np.float64]:
    """Θ by its definition."""
    rows = jacobians(model, inputs)
    theta: NDArray[np.float64] = np.einsum("ikp,jkp->ij", rows, rows) / rows.shape[1]
    return theta
