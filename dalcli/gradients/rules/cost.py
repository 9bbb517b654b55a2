"""The cost model: which route computes a layer's sums fastest, from its shapes per sample alone.

Time is arithmetic over its rate, plus memory traffic over bandwidth, plus a price per call. Only ratios
matter. The batch size never enters, so that a sample's result does not depend on its batch. Rates were fitted on
3×3 layers from 3→64 at 32² to 512→512 at 2² (``benchmarks/engine.py --routes`` prints each route's time per layer).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Rates in operations or bytes per second, ``call`` in seconds."""

    convolution: float
    grouped: float
    depthwise: float
    matmul: float
    bandwidth: float
    call: float


CPU = Machine(convolution=1.8e11, grouped=1.4e11, depthwise=1e10, matmul=1.1e11, bandwidth=2.0e10, call=6e-5)
ACCELERATOR = Machine(convolution=2e13, grouped=2e12, depthwise=2e12, matmul=2e13, bandwidth=1.5e12, call=1e-4)


def machine_for(device_type: str) -> Machine:
    """The rates for a ``torch.device.type``."""
    return CPU if device_type == "cpu" else ACCELERATOR


@dataclass(frozen=True, slots=True)
class Outer:
    """Σ_t δ_t a_tᵀ: ``positions`` T, ``rows`` of δ, ``columns`` of a, ``groups`` such sums, ``item`` bytes a number."""

    positions: int
    rows: int
    columns: int
    groups: int
    item: int

    @property
    def multiply_adds(self) -> int:
        """Floating-point operations of the sum; applying V as the weight costs the same."""
        return 2 * self.groups * self.positions * self.rows * self.columns

    @property
    def gradient_bytes(self) -> int:
        """Size of one sample's gradient."""
        return self.groups * self.rows * self.columns * self.item

    @property
    def gram_bytes(self) -> int:
        """Size of one sample's T × T Gram matrices."""
        return self.groups * self.positions**2 * self.item


def matmul_routes(outer: Outer, machine: Machine) -> Mapping[str, float]:
    """Seconds per sample of the routes of a linear layer used at T positions."""
    gram_work = 2 * outer.groups * outer.positions**2 * (outer.rows + outer.columns)
    return {
        "gram": (gram_work + outer.multiply_adds) / machine.matmul + 4 * outer.gram_bytes / machine.bandwidth,
        "instantiate": outer.multiply_adds / machine.matmul + 3 * outer.gradient_bytes / machine.bandwidth,
    }


def convolution_routes(
    outer: Outer, pixels_in: int, channels_in: int, kernel: tuple[int, int], machine: Machine
) -> Mapping[str, float]:
    """Seconds per sample of the routes of a convolution; ``channels_in`` is per group."""
    unfolded = outer.groups * outer.positions * outer.columns * outer.item
    activations = outer.groups * outer.item * (pixels_in * channels_in + outer.positions * outer.rows)
    gradient = 3 * outer.gradient_bytes / machine.bandwidth
    apply = outer.multiply_adds / machine.convolution
    gram_of_delta = 2 * outer.groups * outer.positions**2 * outer.rows
    pixel_bytes = outer.groups * pixels_in**2 * outer.item
    adds = sum(side for side in kernel if side > 1)
    single, wide = machine.convolution, machine.grouped
    if channels_in == 1 and outer.groups > 1:
        small = max(kernel) <= 3  # which processors have kernels of their own for
        single = machine.depthwise * (3 if small else 1)
        wide = machine.depthwise * (3 if small else 1 / 3)
    return {
        "one by one": outer.multiply_adds / single + 2 * gradient + machine.call,
        "folded": outer.multiply_adds / wide + 2 * gradient + 4 * activations / machine.bandwidth,
        "unfolded": outer.multiply_adds / machine.matmul + gradient + 3 * unfolded / machine.bandwidth,
        "pixel gram": apply
        + (gram_of_delta + 2 * outer.groups * pixels_in**2 * channels_in) / machine.matmul
        + (2 * pixel_bytes + (4 + 3 * adds) * outer.gram_bytes) / machine.bandwidth,
        "patch gram": apply
        + (gram_of_delta + 2 * outer.groups * outer.positions**2 * outer.columns) / machine.matmul
        + (3 * unfolded + 4 * outer.gram_bytes) / machine.bandwidth,
    }


def cheapest(routes: Mapping[str, float]) -> str:
    """The route of least cost; ties go to the first."""
    return min(routes, key=routes.__getitem__)
