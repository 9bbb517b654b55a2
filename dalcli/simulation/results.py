"""What a simulation leaves behind for people and programs: a table of all rounds, a summary, a plot."""

from __future__ import annotations

import json
from dataclasses import asdict

from dalcli.data.table import csv_text
from dalcli.simulation.plot import draw_curves
from dalcli.simulation.records import CSV_COLUMNS, csv_rows
from dalcli.simulation.standing import Standing
from dalcli.state import atomic

RESULTS_NAME, SUMMARY_NAME, PLOT_NAME = "results.csv", "summary.json", "curves.svg"


def write_results(standing: Standing) -> None:
    """Write all three; a file that says the same already is left alone, and so are all as long as nothing is found."""
    if not standing.found:
        return
    title, level = standing.simulation.title, standing.simulation.config.confidence
    summary = {"title": title, "confidence": level, "settings": [asdict(setting) for setting in standing.summaries]}
    contents = {
        RESULTS_NAME: csv_text(CSV_COLUMNS, csv_rows(standing.found)),
        SUMMARY_NAME: json.dumps(summary, ensure_ascii=False, indent=2, allow_nan=False) + "\n",
        PLOT_NAME: draw_curves(standing.summaries, title, level),
    }
    for name, content in contents.items():
        path, data = standing.output.root / name, content.encode()
        if not path.is_file() or path.read_bytes() != data:
            atomic.write_bytes(path, data)
