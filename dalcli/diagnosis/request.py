"""What a diagnosis is asked. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DiagnoseRequest:
    """For asking for a diagnosis; None means: as configured, derived, or whichever is affordable."""

    budget: int | None = None
    samples: int = 256
    random_batches: int = 100
    ridge: float = 1e-3
    sketch: int | None = None
    labels: Path | None = None
    model: str | None = None
    seed: int | None = None
