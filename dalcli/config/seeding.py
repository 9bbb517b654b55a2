"""One seed in the config; every random choice derives its own generator from it.

Deriving from (seed, purpose, round, ...) instead of drawing from one stream means that adding a command, or
changing a batch size elsewhere, never changes a selection.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and every part: SHA-256 of their canonical JSON text."""
    text = json.dumps([seed, *parts], ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """A numpy generator for one purpose, e.g. ``generator(config.seed, "bootstrap", round)``."""
    return np.random.default_rng(derive_seed(seed, *parts))
