"""Arithmetic of a scoring pass: exact in float32, or faster in fewer digits where the hardware has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

import torch
from torch import Tensor


class Precision(StrEnum):
    """``float32`` is exact; the others round what convolutions and products read to 10 (tf32) or 7 bits (bfloat16)."""

    FLOAT32 = "float32"
    TF32 = "tf32"
    BFLOAT16 = "bfloat16"

    def require(self, device: torch.device) -> None:
        """Raise ValueError where the device cannot compute so."""
        if self is Precision.TF32 and device.type != "cuda":
            raise ValueError(f"tf32 needs an NVIDIA GPU; on {device.type} use float32 or bfloat16")


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """This thread's forward passes meanwhile compute with ``precision``; their backward passes then do, too."""
    if precision is Precision.BFLOAT16:
        with torch.autocast(device.type, torch.bfloat16):
            yield
    else:
        yield


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """TF32 on or off for the whole process meanwhile: off is what float32 promises, whatever was set before."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def widened(values: Tensor) -> Tensor:
    """At least float32, for sums."""
    return values.float() if values.dtype in {torch.bfloat16, torch.float16} else values
