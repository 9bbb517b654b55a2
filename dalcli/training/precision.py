"""Mixed precision: on CUDA GPUs only, bfloat16 where the hardware has it, else float16 with loss scaling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from dalcli.feedback import Feedback

BFLOAT16_FROM = (8, 0)  # CUDA compute capability; older GPUs emulate it, slowly


@dataclass(frozen=True)
class MixedPrecision:
    """How a training step computes.

    Attributes:
        dtype: of products and convolutions; None is float32 throughout.
        scaler: keeps float16 gradients from vanishing; passes everything through otherwise.
    """

    device_type: str
    dtype: torch.dtype | None
    scaler: torch.amp.GradScaler

    def autocast(self) -> torch.autocast:
        """Context in which the forward pass runs."""
        return torch.autocast(self.device_type, dtype=self.dtype, enabled=self.dtype is not None)


def choose_precision(setting: Literal["auto", "on", "off"], device: torch.device, feedback: Feedback) -> MixedPrecision:
    """What ``training.mixed_precision`` means on ``device``."""
    dtype = None
    if setting != "off" and device.type == "cuda":
        dtype = torch.bfloat16 if torch.cuda.get_device_capability(device) >= BFLOAT16_FROM else torch.float16
    elif setting == "on":
        feedback.warn(f"training.mixed_precision: on needs a CUDA GPU; training in float32 on {device.type}")
    scaler = torch.amp.GradScaler(device.type, enabled=dtype is torch.float16)
    return MixedPrecision(device.type, dtype, scaler)
