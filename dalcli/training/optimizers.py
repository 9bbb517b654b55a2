"""Optimizers and learning rate schedules by their names in the config."""

from __future__ import annotations

import math

from torch import nn, optim

from dalcli.config.training import TrainingConfig
from dalcli.errors import BadInputError


def make_optimizer(model: nn.Module, settings: TrainingConfig) -> optim.Optimizer:
    """A fresh optimizer over the trainable parameters.

    Raises:
        BadInputError: the model has none.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        raise BadInputError("model.name: the model has no trainable parameters", "Choose or write another model.")
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimizer == "sgd":
        return optim.SGD(parameters, lr=rate, momentum=settings.momentum, weight_decay=decay)
    kind = optim.AdamW if settings.optimizer == "adamw" else optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay)


def learning_rate(settings: TrainingConfig, epoch: int) -> float:
    """The rate of ``epoch`` (from 1); a function of the epoch alone, so that a resumed run needs no memory of it."""
    done = (epoch - 1) / settings.max_epochs
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if settings.schedule == "step":
        return settings.learning_rate * (1 if done < 0.5 else 0.1 if done < 0.75 else 0.01)
    return settings.learning_rate


def set_learning_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Use ``rate`` for all parameters from now on."""
    for group in optimizer.param_groups:
        group["lr"] = rate
