"""One pass over the labeled set: train on it, or measure how well it is learned."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy

from dalcli.data.pixels import IntArray, UInt8Array
from dalcli.models.preprocess import PixelStats, to_input
from dalcli.training.batches import TrainingData
from dalcli.training.modes import batch_statistics
from dalcli.training.precision import Precision
from dalcli.training.predict import call_model, logit_blocks
from dalcli.training.prefetch import prefetch


def train_epoch(
    model: nn.Module,
    optimizer: optim.Optimizer,
    batches: Iterable[tuple[UInt8Array, IntArray]],
    stats: PixelStats,
    device: torch.device,
    precision: Precision,
) -> float:
    """One optimizer step per batch; the mean cross-entropy per image, as seen while training."""
    model.train()
    losses: list[tuple[int, Tensor]] = []
    with prefetch(batches) as prepared:
        for pixels, labels in prepared:
            inputs, targets = to_input(pixels, stats, device), torch.from_numpy(labels).to(device)
            optimizer.zero_grad(set_to_none=True)
            with batch_statistics(model, len(labels)), precision.autocast():
                logits = call_model(model, inputs)
            loss = cross_entropy(logits.float(), targets)
            precision.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
            precision.scaler.step(optimizer)
            precision.scaler.update()
            losses.append((len(labels), loss.detach()))  # read at the end: reading waits for a GPU
    return math.fsum(count * float(loss) for count, loss in losses) / sum(count for count, _ in losses)


def measure(
    model: nn.Module, data: TrainingData, stats: PixelStats, device: torch.device, batch_size: int
) -> tuple[float, float]:
    """Mean cross-entropy per image and accuracy on ``data``: eval mode, not augmented, float32, summed in float64.

    Its accuracy decides convergence; in training mode BatchNorm and dropout would make it another model's.
    """
    losses: list[float] = []
    correct = done = 0
    for logits in logit_blocks(model, data.pixels, stats, device, batch_size):
        targets = torch.from_numpy(data.labels[done : done + len(logits)])
        losses.append(float(cross_entropy(logits.double(), targets, reduction="sum")))
        correct += int((logits.argmax(1) == targets).sum())
        done += len(logits)
    return math.fsum(losses) / done, correct / done
