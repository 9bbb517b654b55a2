"""Draw the learning curve from ``dalcli status --json`` in the terminal.

dalcli status --json | python curve.py
"""

from __future__ import annotations

import json
import sys

WIDTH = 50


def main() -> None:
    """One line per measured model version: labels, accuracy with its interval, and a bar."""
    points = json.load(sys.stdin)["curve"]
    print("labels  accuracy  95% interval      0%" + " " * (WIDTH - 6) + "100%")
    for point in points:
        low, middle, high = (round(WIDTH * point[name]) for name in ("low", "accuracy", "high"))
        bar = "━" * low + "╾" * (middle - low) + "●" + "─" * (high - middle)
        interval = f"{100 * point['low']:.1f} to {100 * point['high']:.1f}"
        print(f"{point['labels']:6d}  {100 * point['accuracy']:7.1f}%  {interval:16s}  {bar}")


if __name__ == "__main__":
    main()
