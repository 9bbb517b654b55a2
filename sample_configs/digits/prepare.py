"""Write scikit-learn's handwritten digits (real scans, shipped inside scikit-learn) as a task for dalcli.

    python prepare.py FOLDER

makes FOLDER/images/*.png (the pool), FOLDER/test/*.png with FOLDER/test.csv (path,label: the test set), and
FOLDER/truth.csv (path,label of the pool), which plays the labeler. The last file is written last, so that an
interrupted run is recognised by its absence.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

TEST_EVERY = 4


def main(folder: Path) -> None:
    """Write everything below ``folder``."""
    digits = load_digits()
    rows: dict[str, list[tuple[str, str]]] = {"images": [], "test": []}
    for kind in rows:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index, (scan, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        kind = "test" if index % TEST_EVERY == 0 else "images"
        path = f"{kind}/{index:04d}.png"
        # The scans have 17 grey levels, 0 to 16.
        Image.fromarray(np.round(scan * 255 / 16).astype(np.uint8)).save(folder / path)
        rows[kind].append((path, str(digit)))
    write_csv(folder / "test.csv", rows["test"])
    write_csv(folder / "truth.csv", rows["images"])


def write_csv(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write ``path,label`` rows; the file appears only complete."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    temporary.replace(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
