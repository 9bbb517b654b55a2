"""A tiny labeled folder and simulations of it that take seconds."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

TIMES = ("select_seconds", "train_seconds", "score_seconds", "evaluate_seconds", "interrupted")

SMALL: dict[str, Any] = {
    "source": {"kind": "folder", "path": "things"},
    "strategies": ["random", "margin"],
    "seeds": 2,
    "initial_labels": 6,
    "batch_sizes": 4,
    "rounds": 2,
    "accuracies": [0.5],
    "workspace": {
        "device": "cpu",
        "data": {"image_size": 8},
        "model": {"name": "cnn"},
        "training": {"max_epochs": 3, "batch_size": 8, "learning_rate": 0.01},
    },
}


def things(folder: Path, count: int = 14) -> Path:
    """Noisy 8×8 patches of three shades, ``count`` of each."""
    random = np.random.default_rng(0)
    for place, name in enumerate(("dark", "grey", "light")):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.clip(60 + 60 * place + random.normal(0, 40, (8, 8, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def write(path: Path, **keys: Any) -> Path:
    """A configuration: :data:`SMALL` with other keys; None removes one."""
    settings = {name: value for name, value in (SMALL | keys).items() if value is not None}
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def rows(output: Path) -> list[dict[str, str]]:
    """The table of all rounds without what is different every time: seconds."""
    with (output / "results.csv").open(newline="") as file:
        return [{name: value for name, value in row.items() if name not in TIMES} for row in csv.DictReader(file)]
