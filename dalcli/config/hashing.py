"""What must be random or unique, and yet the same every time: seeds and short names, derived from content by SHA-256.

One seed in the config; every random choice derives its own generator from it. Deriving from (seed, purpose, round, ...)
instead of drawing from one stream means that adding a command, or changing a batch size elsewhere, never changes a
selection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel

SHORT = 16
"""Hexadecimal digits of a short name: 64 bits."""


def derive_seed(seed: int, *parts: str | int) -> int:
    """A 63-bit seed that depends on ``seed`` and every part: SHA-256 of their canonical JSON text."""
    text = json.dumps([seed, *parts], ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """A numpy generator for one purpose, e.g. ``generator(config.seed, "bootstrap", round)``."""
    return np.random.default_rng(derive_seed(seed, *parts))


def short_hash(text: str) -> str:
    """The first :data:`SHORT` hexadecimal digits of SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:SHORT]


def fingerprint(*parts: BaseModel | Mapping[str, object] | str | int | float | tuple[object, ...] | None) -> str:
    """A short name for "the same settings", so that results are never mixed up across a changed config."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return short_hash(json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
