"""Predictions as lines of a file: CSV or JSON Lines, one image after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dalcli.data.table import csv_text
from dalcli.formats.cells import guarded

FORMATS = ("csv", "jsonl")


@dataclass(frozen=True)
class Prediction:
    """What is said of one image: (class, confidence), likeliest first."""

    sample_id: str
    path: str
    top: Sequence[tuple[str, float]]


def columns(top: int) -> tuple[str, ...]:
    """``sample_id,path,class,confidence,class_2,confidence_2,...``."""
    more = [name for rank in range(2, top + 1) for name in (f"class_{rank}", f"confidence_{rank}")]
    return ("sample_id", "path", "class", "confidence", *more)


def header(form: str, top: int) -> bytes:
    """What comes before the first line."""
    return csv_text(columns(top), []).encode() if form == "csv" else b""


def lines(form: str) -> Callable[[Iterable[Prediction]], bytes]:
    """What makes lines of predictions."""
    return _csv if form == "csv" else _jsonl


def _csv(predictions: Iterable[Prediction]) -> bytes:
    rows = (
        (p.sample_id, guarded(p.path), *(cell for name, value in p.top for cell in (guarded(name), value)))
        for p in predictions
    )
    text = csv_text((), rows)
    return text.partition("\n")[2].encode(errors="backslashreplace")


def _jsonl(predictions: Iterable[Prediction]) -> bytes:
    return "".join(f"{json.dumps(_document(p), ensure_ascii=False)}\n" for p in predictions).encode(
        errors="backslashreplace"
    )


def _document(prediction: Prediction) -> dict[str, object]:
    name, confidence = prediction.top[0]
    found: dict[str, object] = {
        "sample_id": prediction.sample_id,
        "path": prediction.path,
        "class": name,
        "confidence": confidence,
    }
    if len(prediction.top) > 1:
        found["top"] = [{"class": name, "confidence": value} for name, value in prediction.top]
    return found
