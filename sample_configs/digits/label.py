"""Play the labeler: fill in the label column of a query's CSV from a file that knows the truth.

python label.py truth.csv < to_label.csv > labels.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def main(truth: Path) -> None:
    """Copy stdin to stdout with the labels filled in."""
    with truth.open(encoding="utf-8", newline="") as file:
        known = {row["path"]: row["label"] for row in csv.DictReader(file)}
    reader = csv.DictReader(sys.stdin)
    writer = csv.DictWriter(sys.stdout, reader.fieldnames or [], lineterminator="\n")
    writer.writeheader()
    for row in reader:
        writer.writerow({**row, "label": known[row["path"]]})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
