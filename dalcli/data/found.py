"""What a source says about an image before anybody has opened it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["training", "evaluation"]


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A file that should be an image, and what its source says about it.

    ``label`` and ``split`` are None where the source does not say; ``origin`` is the manifest and its line.
    """

    path: Path
    label: str | None = None
    split: Split | None = None
    origin: tuple[Path, int] | None = None


@dataclass(frozen=True)
class FoundImages:
    """What one source answers when asked for its images: all of them in a fixed order, and how many files are none."""

    images: list[FoundImage]
    ignored: int = 0
