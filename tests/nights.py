"""Nights of ``dalcli run`` on small pools, and the people who answer between them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from tests.small_pools import SmallPool, truth

QUICK = {"settle": 0, "evaluation_budget": 8}
"""Settings of ``run``: no file is waited for."""


def night(pool: SmallPool, *options: str) -> dict[str, Any]:
    """A night that must go well, as JSON."""
    return pool.json("run", "--budget", "6", *options)


def steps(document: dict[str, Any]) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in document["steps"]}


def step(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = (each for each in document["steps"] if each["step"] == name)
    return dict(found)


def rows(pool: SmallPool, name: str = "to_label.csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((pool.root / name).read_text(), newline="")))


def answer(pool: SmallPool, name: str = "to_label.csv", part: slice = slice(None), to: str | None = None) -> Path:
    """The labeler's file, put into the inbox."""
    lines = [f"{row['sample_id']},{truth(row['path'])}" for row in rows(pool, name)[part]]
    file = pool.root / "inbox" / (to or name)
    file.write_text("\n".join(["sample_id,label", *lines, ""]))
    return file
