"""Accuracy by number of labels for every strategy, on scikit-learn's digits, through the real commands.

    python benchmarks/digits_strategies.py [--seeds 3] [--rounds 6] [--budget 40] [--device cuda]

Prints mean and standard deviation of test accuracy over seeds. All strategies of a seed share the first batch, the
test set and the training settings (sample_configs/digits/dalcli.yaml). A small honest check, not a study: three
seeds cannot tell strategies apart that differ by one point.
"""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import subprocess
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import yaml

from dalcli.cli.main import main as dalcli
from dalcli.state.database import Database
from dalcli.state.evaluations import latest_by_version

DIGITS = Path(__file__).parent.parent / "sample_configs" / "digits"
STRATEGIES = ("random", "dynamical", "margin", "entropy", "confidence")


def command(workspace: Path, *arguments: str) -> bytes:
    """Run one command in this process; its stdout."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    errors = io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        status = dalcli(["-C", str(workspace), *arguments])
    out.flush()
    if status:
        raise RuntimeError(f"dalcli {' '.join(arguments)}: exit {status}: {errors.getvalue()}")
    return out.buffer.getvalue()  # type: ignore[attr-defined]


def label(workspace: Path, truth: dict[str, str], query: bytes) -> None:
    """Answer a query from the true labels."""
    rows = list(csv.DictReader(io.StringIO(query.decode())))
    answers = "".join(f"{row['sample_id']},{truth[row['path']]}\n" for row in rows)
    (workspace / "labels.csv").write_text(f"sample_id,label\n{answers}")
    command(workspace, "ingest-labels", str(workspace / "labels.csv"))


def curve(strategy: str, seed: int, rounds: int, budget: int, device: str) -> dict[int, float]:
    """Test accuracy by number of labels for one strategy and seed."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        subprocess.run([sys.executable, str(DIGITS / "prepare.py"), folder], check=True)
        settings = yaml.safe_load((DIGITS / "dalcli.yaml").read_text())
        settings |= {"seed": seed, "device": device}
        settings["query"]["strategy"] = strategy
        (workspace / "dalcli.yaml").write_text(yaml.safe_dump(settings))
        with (workspace / "truth.csv").open(newline="") as file:
            truth = {row["path"]: row["label"] for row in csv.DictReader(file)}
        command(workspace, "init", str(workspace / "images"), "--test", str(workspace / "test.csv"))
        label(workspace, truth, command(workspace, "query", "--budget", str(budget)))
        for number in range(rounds + 1):
            command(workspace, "train")
            command(workspace, "evaluate")
            if number < rounds:
                label(workspace, truth, command(workspace, "query", "--budget", str(budget)))
        with Database(workspace / ".dalcli" / "state.db") as database, database.read() as connection:
            return {labels: report["accuracy"] for _, labels, report in latest_by_version(connection)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--budget", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    sizes = [options.budget * (number + 1) for number in range(options.rounds + 1)]
    print("labels      " + "".join(f"{size:>14d}" for size in sizes), flush=True)
    for strategy in STRATEGIES:
        curves = [
            curve(strategy, seed, options.rounds, options.budget, options.device) for seed in range(options.seeds)
        ]
        cells = []
        for size in sizes:
            values = [100 * found[size] for found in curves]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.mean(values):7.1f} ± {spread:3.1f} ")
        print(f"{strategy:12s}" + "".join(f"{cell:>14s}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
