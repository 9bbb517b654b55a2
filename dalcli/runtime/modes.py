"""Training and evaluation mode of modules, switched for a while and put back: the one place that does so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """The whole model in eval mode meanwhile; every module's own mode is put back, also where the model changed it."""
    with _in_eval(list(model.modules())):
        yield


@contextmanager
def batch_statistics(model: nn.Module, samples: int) -> Iterator[None]:
    """For a training step on ``samples`` images: one image has no batch statistics, so BatchNorm uses its running ones.

    At 1×1 positions its variance would be 0 (torch refuses); at more it would describe one image, which eval mode
    never sees. The affine parameters train all the same. It happens with one label or a batch size of 1 only:
    otherwise a lone last image joins the batch before it.
    """
    layers = [m for m in model.modules() if samples == 1 and isinstance(m, _BatchNorm) and m.training]
    with _in_eval(layers):
        yield


@contextmanager
def _in_eval(modules: Sequence[nn.Module]) -> Iterator[None]:
    before = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, training in zip(modules, before, strict=True):
            module.training = training
