"""What a simulation leaves behind for people and programs: a table of all rounds, a summary, a plot."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from dalcli.simulation.cells import Cell
from dalcli.simulation.output import Output
from dalcli.simulation.plot import draw_curves
from dalcli.simulation.records import CSV_COLUMNS, CellRecord, csv_rows
from dalcli.simulation.report import SettingReport
from dalcli.state import atomic

RESULTS_NAME, SUMMARY_NAME, PLOT_NAME = "results.csv", "summary.json", "curves.svg"


def write_results(
    output: Output, found: Sequence[tuple[Cell, CellRecord]], reports: Sequence[SettingReport], title: str, level: float
) -> None:
    """Write all three; a file that says the same already is left alone."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows(csv_rows(found))
    summary = {"title": title, "confidence": level, "settings": [asdict(report) for report in reports]}
    contents = {
        RESULTS_NAME: text.getvalue(),
        SUMMARY_NAME: json.dumps(summary, ensure_ascii=False, indent=2, allow_nan=False) + "\n",
        PLOT_NAME: draw_curves(reports, title, level),
    }
    for name, content in contents.items():
        path, data = output.root / name, content.encode()
        if not path.is_file() or path.read_bytes() != data:
            atomic.write_bytes(path, data)
