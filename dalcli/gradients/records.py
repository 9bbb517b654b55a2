"""Results for consecutive samples, put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import torch

Record = TypeVar("Record")


def joined(parts: Sequence[Record]) -> Record:
    """One dataclass of tensors (n, ...) from several of consecutive samples, at least one; None stays None."""
    first: Any = parts[0]
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {}
    for field in dataclasses.fields(first):
        values = [getattr(part, field.name) for part in parts]
        columns[field.name] = None if values[0] is None else torch.cat(values)
    result: Record = type(first)(**columns)
    return result
