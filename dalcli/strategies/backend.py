"""Large products: numpy, or a GPU where there is one and the product is worth the way there.

torch is imported only on a machine with an NVIDIA device node, and only for a product of at least
:data:`WORTHWHILE` multiplications: a light ``query`` never pays for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

WORTHWHILE = 1 << 28

Matrix = NDArray[np.float32]


def products(left: Sequence[Matrix], right: Sequence[Matrix], offsets: Sequence[float]) -> Matrix:
    """Π_f (left_f · right_fᵀ + offset_f), (n, m) float32, for factors (n, d_f) and (m, d_f)."""
    work = len(left[0]) * len(right[0]) * sum(factor.shape[1] for factor in left)
    device = _gpu() if work >= WORTHWHILE else None
    if device is not None:
        return on_device(left, right, offsets, device)
    result: Matrix | None = None
    for a, b, offset in zip(left, right, offsets, strict=True):
        with np.errstate(invalid="ignore"):  # BLAS may raise that flag for lanes beyond the data
            product = a @ b.T
        if offset:
            product += np.float32(offset)
        result = product if result is None else np.multiply(result, product, out=result)
    assert result is not None
    return result


def on_device(left: Sequence[Matrix], right: Sequence[Matrix], offsets: Sequence[float], device: str) -> Matrix:
    """The same on a torch device, in float32 proper (no TF32: near duplicates would get lost)."""
    import torch

    def moved(matrix: Matrix) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(matrix)).to(device)

    result = torch.ones((), device=device)
    for a, b, offset in zip(left, right, offsets, strict=True):
        result = result * (moved(a) @ moved(b).T + offset)
    found: Matrix = result.cpu().numpy()
    return found


@cache
def _gpu() -> str | None:
    """The GPU, if there is one that works; looking for its device node spares everyone else the import."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None
