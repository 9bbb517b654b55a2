"""Short, stable names for "the same settings", so that results are never mixed up across a changed config."""

from __future__ import annotations

import hashlib
import json

from pydantic import BaseModel


def fingerprint(*parts: BaseModel | str | int | float | tuple[object, ...] | None) -> str:
    """16 hex digits that change exactly when any of ``parts`` does."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
