"""A folder of tiny images whose colour says their class, and a labeler who knows."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((200, 60, 60), (60, 200, 60), (60, 60, 200))

LABELER = """\
#!{python}
import csv, json, pathlib, sys
source, target = (sys.argv[1:] + ["to_label.csv", "labels.csv"][len(sys.argv) - 1:])
truth = json.loads(pathlib.Path({truth!r}).read_text())
with open(source, newline="") as file:
    rows = list(csv.DictReader(file))
for row in rows:
    row["label"] = truth[pathlib.Path(row["path"]).name]
with open(target, "w", newline="") as file:
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\\n")
    writer.writeheader()
    writer.writerows(rows)
"""


def write_photos(folder: Path, count: int, classes: Sequence[str], side: int = 12) -> dict[str, str]:
    """Write ``count`` different PNG files of side × side pixels; returns the class of each file name."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0)
    truth = {}
    for number in range(count):
        kind = number % len(classes)
        pixels = np.clip(np.asarray(COLOURS[kind]) + noise.integers(-50, 51, (side, side, 3)), 0, 255)
        name = f"IMG_{number:04d}.png"
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
        truth[name] = classes[kind]
    return truth


def write_labeler(folder: Path, truth: dict[str, str], name: str = "label") -> None:
    """An executable ``label [TO_LABEL.CSV [LABELS.CSV]]`` that fills in the label column."""
    folder.mkdir(parents=True, exist_ok=True)
    answers = folder / "truth.json"
    answers.write_text(json.dumps(truth))
    program = folder / name
    program.write_text(LABELER.format(python=sys.executable, truth=str(answers)))
    program.chmod(0o755)
