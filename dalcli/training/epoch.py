"""One pass over the labeled set: train on it, or measure how well it is learned."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import cross_entropy

from dalcli.models.predict import call_model, logit_blocks
from dalcli.models.preprocess import PixelStats, to_input
from dalcli.runtime.modes import batch_statistics
from dalcli.runtime.prefetch import prefetch
from dalcli.runtime.ranks import SOLO, Ranks
from dalcli.training.batches import MiniBatch, TrainingData
from dalcli.training.global_batchnorm import global_statistics
from dalcli.training.gradients import sum_gradients
from dalcli.training.precision import MixedPrecision


def train_epoch(
    model: nn.Module,
    optimizer: optim.Optimizer,
    batches: Iterable[MiniBatch],
    stats: PixelStats,
    device: torch.device,
    precision: MixedPrecision,
    ranks: Ranks = SOLO,
) -> float:
    """One optimizer step per batch; the mean cross-entropy per image, as seen while training.

    Each rank works on its part of every batch; statistics, gradients and steps are those of the whole batch.
    """
    model.train()
    losses: list[tuple[int, Tensor]] = []
    with prefetch(batches) as prepared:
        for pixels, labels, total, share in prepared:
            inputs, targets = to_input(pixels, stats, device), torch.from_numpy(labels).to(device)
            optimizer.zero_grad(set_to_none=True)
            with (
                batch_statistics(model, total),
                global_statistics(model, ranks, counts=share > 0),
                precision.autocast(),
            ):
                logits = call_model(model, inputs)
            loss = cross_entropy(logits.float(), targets)
            if share < 1:
                loss = loss * share  # the parts add up to the mean over the whole batch
            precision.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch's
            sum_gradients(optimizer, ranks)  # before the step, so that all ranks skip it where one overflowed
            precision.scaler.step(optimizer)
            precision.scaler.update()
            losses.append((total, loss.detach()))  # read at the end: reading waits for a GPU
    summed = math.fsum(total * float(loss) for total, loss in losses)
    return math.fsum(part for (part,) in ranks.gather_numbers(summed)) / sum(total for total, _ in losses)


def measure(
    model: nn.Module,
    data: TrainingData,
    stats: PixelStats,
    device: torch.device,
    batch_size: int,
    ranks: Ranks = SOLO,
) -> tuple[float, float]:
    """Mean cross-entropy per image and accuracy on ``data``: eval mode, not augmented, float32, summed in float64.

    Its accuracy decides convergence; in training mode BatchNorm and dropout would make it another model's. Each rank
    measures a part; all get the same figures.
    """
    losses: list[float] = []
    correct = 0
    part = ranks.part(len(data.labels))
    done = part.start
    for logits in logit_blocks(model, data.pixels, stats, device, batch_size, part):
        targets = torch.from_numpy(data.labels[done : done + len(logits)])
        losses.append(float(cross_entropy(logits.double(), targets, reduction="sum")))
        correct += int((logits.argmax(1) == targets).sum())
        done += len(logits)
    parts = ranks.gather_numbers(math.fsum(losses), correct)
    loss, right = math.fsum(part[0] for part in parts), sum(part[1] for part in parts)
    return loss / len(data.labels), right / len(data.labels)
