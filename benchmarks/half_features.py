"""What `data.features: float16` changes: the share of a batch that is the same as with float32, round by round.

    python benchmarks/half_features.py POOL --model NAME --weights FILE [--rounds N] [--budget N] [--folder DIR]

POOL is a folder with a folder of photographs per class. Two workspaces with the same labels, one for each type, each
with its own features and head; both are asked for the next batch, and both are told the first one's answers. Through
the real commands. Prints, for every round: labels, how much of the batch is the same, and, of what both chose, how
often the predicted class is the same and how far its confidence is apart, at most and on average.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

Row = dict[str, str]


def dalcli(workspace: Path, *arguments: str, given: str | None = None) -> str:
    """What a command prints."""
    command = [sys.executable, "-m", "dalcli", "-C", str(workspace), *arguments]
    ran = subprocess.run(command, input=given, check=True, capture_output=True, text=True)
    return ran.stdout


def workspace(folder: Path, options: argparse.Namespace, kind: str) -> Path:
    """A new one, whose features are kept as ``kind``."""
    folder.mkdir()
    names = ",".join(sorted(path.name for path in options.pool.iterdir() if path.is_dir()))
    network = ["--model", options.model, "--weights", str(options.weights.resolve())]
    dalcli(folder, "init", str(options.pool.resolve()), "--classes", names, *network)
    file = folder / "dalcli.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["data"] = {**(settings.get("data") or {}), "features": kind}
    file.write_text(yaml.safe_dump(settings))
    return folder


def batch(folder: Path, budget: int) -> list[Row]:
    """The next one."""
    printed = dalcli(folder, "query", "--budget", str(budget))
    return list(csv.DictReader(io.StringIO(printed)))


def answered(rows: Sequence[Row]) -> str:
    """The batch as its labeler gives it back; the class is the image's folder."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "label": Path(row["path"]).parent.name} for row in rows)
    return out.getvalue()


def compare(labels: int, full: Sequence[Row], half: Sequence[Row]) -> str:
    ours, theirs = ({row["sample_id"]: row for row in rows} for rows in (full, half))
    both = ours.keys() & theirs.keys()
    same_class = sum(ours[key]["pseudo_label"] == theirs[key]["pseudo_label"] for key in both)
    apart = [abs(float(ours[key]["confidence"] or 0) - float(theirs[key]["confidence"] or 0)) for key in both]
    furthest, mean = (max(apart), sum(apart) / len(apart)) if apart else (0.0, 0.0)
    return f"{labels:>7d}{len(both):>6d} of {len(ours):<5d}{same_class:>10d}{furthest:>14.1e}{mean:>12.1e}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=20)
    parser.add_argument("--folder", type=Path, help="where the workspaces are made, and kept")
    options = parser.parse_args(arguments)
    os.environ["DALCLI_OFFLINE"] = "1"
    folder = options.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    full, half = workspace(folder / "float32", options, "float32"), workspace(folder / "float16", options, "float16")
    print(f"{'labels':>7s}{'same picks':>15s}{'same class':>10s}{'confidence by':>14s}{'mean':>12s}")
    for number in range(options.rounds + 1):
        rows = batch(full, options.budget)
        others = batch(half, options.budget)
        print(compare(number * options.budget, rows, others), flush=True)
        dalcli(half, "batch", "release", others[0]["batch_id"])
        for each in (full, half):
            dalcli(each, "ingest-labels", "-", given=answered(rows))
            dalcli(each, "train")
    if options.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
