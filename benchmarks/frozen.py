"""A frozen network: its pass against the bare forward pass, a round on what is kept, and a large pool.

    GOMP_SPINCOUNT=1000 python benchmarks/frozen.py pass [--images N] [--model NAME]         images/s, and the ratio
    ... pass --photographs FOLDER --weights FILE [--model NAME]                    the same on photographs of yours
    python benchmarks/frozen.py loop [--images N]                        train, score and query as people run them
    python benchmarks/frozen.py large [--rows N] [--classes K]           `score` against reading the features

Weights are random (speed does not depend on them) and photographs are blobs with some grain, 400×300 JPEG files, where
none are given.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from image_pools import photo, run
from measuring import interleaved, machine, parser, ratio
from PIL import Image
from safetensors.torch import save_file
from torchvision import models

from dalcli.data.identity import digests
from dalcli.feedback import SilentFeedback
from dalcli.models import networks
from dalcli.models.frozen_network import FrozenNetwork
from dalcli.models.preprocess import PixelStats, to_input
from dalcli.runtime.heap import share_heap
from dalcli.scores.cached_features import CachedFeatures
from dalcli.scoring.run import newest
from dalcli.state import catalog, classes
from dalcli.workspace.images import PoolImages
from dalcli.workspace.network import frozen_network
from dalcli.workspace.network_features import GPU_BATCH, PROCESSOR_BATCH
from dalcli.workspace.session import Session, open_session

SMALL = """
from torch import nn


def network(num_classes, image_size):
    pixels = 3 * image_size[0] * image_size[1]
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, WIDTH), nn.Linear(WIDTH, num_classes))
"""
WIDTH = 1280
BUDGET = 20


def make_photographs(root: Path, options: argparse.Namespace) -> None:
    """A workspace with a frozen network; nothing is labeled."""
    photos, weights = options.photographs, options.weights
    if photos is None:
        photos = root / "photos"
        photos.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for index in range(options.images):
            photo(rng, (400, 300)).save(photos / f"{index:06d}.jpg")
    if weights is None:
        weights = root / "weights.safetensors"
        torch.manual_seed(0)
        save_file(models.get_model(options.model).state_dict(), weights)
    settings = f"device: {options.device}\nthreads: {options.threads}\nevaluation: {{reserve: 0}}\n"
    settings += f"model: {{name: {options.model}, train: head, weights: {weights}}}\n"
    (root / "dalcli.yaml").write_text(settings)
    run(root, "init", str(photos), "--classes", "a,b,c,d,e,f,g,h,i,j")


def the_pass(session: Session) -> int:
    """Every image of the pool, from its file to its features; nothing is kept. How many there are."""
    network = frozen_network(session)
    assert network is not None
    with session.database.read() as connection:
        pool = catalog.images(connection, "training")
    opened = PoolImages.peek(session, pool, network)
    for _ in opened.blocks(256):
        pass
    return len(pool)


def compare_pass(options: argparse.Namespace) -> None:
    """The pass, and the forward pass alone on batches that are there; both with and without folding."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_photographs(root, options)
        with open_session(root, SilentFeedback()) as session:
            record = frozen_network(session)
            assert record is not None
            network = networks.read(session.workspace.networks, record).to(options.device)
            recipe, batch = record.recipe, PROCESSOR_BATCH if options.device == "cpu" else GPU_BATCH
            rng = np.random.default_rng(0)
            pixels = rng.integers(0, 256, (batch, *recipe.image_size, 3), dtype=np.uint8)
            inputs = to_input(pixels, PixelStats(recipe.mean, recipe.std), torch.device(options.device))
            count = the_pass(session)
            batches = -(-count // batch)
            quicker = network.quicker()
            apart = _difference(quicker.features(inputs), network.features(inputs))

            def forward(network: FrozenNetwork) -> None:
                for _ in range(batches):
                    network.features(inputs)

            def unfolded() -> None:
                with patch.object(FrozenNetwork, "quicker", lambda network: network):
                    the_pass(session)

            works: dict[str, Callable[[], object]] = {
                "forward": lambda: forward(network),
                "folded": lambda: forward(quicker),
                "pass": lambda: the_pass(session),
                "unfolded": unfolded,
            }
            seconds = interleaved(works, options.repeats)
    print(f"{options.model} at {recipe.image_size[0]}×{recipe.image_size[1]}, {count} photographs")
    print(f"{batches * batch / seconds['forward']:8.1f} images/s  forward pass, batches of {batch}")
    print(
        f"{batches * batch / seconds['folded']:8.1f} images/s  folded, with features {apart:.1e} of the largest apart"
    )
    print(f"{count / seconds['pass']:8.1f} images/s  from the files")
    print(f"{count / seconds['unfolded']:8.1f} images/s  from the files without folding")
    print(f"{ratio(seconds, 'forward', 'pass'):>8s}           of the forward pass's speed from the files")


def _difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def time_loop(options: argparse.Namespace) -> None:
    """Each command in a process of its own, on features that are there."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_photographs(root, options)
        run(root, "query", "--budget", str(BUDGET), "--output", str(root / "batch.csv"))
        _answer(root)
        commands = [["train"], ["score"], ["query", "--budget", str(BUDGET)]]
        print(f"{options.images} photographs, {BUDGET} labels")
        total, torch_alone = 0.0, []
        for command in commands:
            torch_alone.append(_seconds([sys.executable, "-c", "import torch"]))  # beside each: machines are not quiet
            seconds = _seconds([sys.executable, "-m", "dalcli", *command, "-C", str(root)])
            total += seconds
            print(f"{seconds:8.2f} s  {' '.join(command)}")
        importing = 2 * sorted(torch_alone)[1]
        print(f"{total:8.2f} s  all three; of that {total - importing:.2f} s are not importing torch twice")


def measure_large(options: argparse.Namespace) -> None:
    """Scores of a pool whose features are kept, beside reading those features."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _make_large(root, options)
        command = [sys.executable, "-m", "dalcli", "score", "-C", str(root)]
        scoring = _seconds(command)
        with open_session(root, SilentFeedback()) as session:
            model = newest(session, False)
            kept = CachedFeatures.of(session.workspace, session.config, model)
            assert kept is not None
            with session.database.read() as connection:
                ids = digests([image.sample_id for image in catalog.images(connection, "training")])
        started = time.perf_counter()
        for start in range(0, len(ids), 2048):
            kept.read(ids[start : start + 2048])
        reading = time.perf_counter() - started
        peak = _peak(root, "score", "--full")
        print(f"{options.rows:,} samples, {WIDTH:,} features, {options.classes} classes")
        print(f"{reading:8.2f} s  reading the features, checked and standardised")
        print(f"{scoring:8.2f} s  score, a process of its own ({scoring / reading:.1f} times)")
        print(f"{peak:8.0f} MB peak of score --full")


def _make_large(root: Path, options: argparse.Namespace) -> None:
    """Tiny pictures, a network that is one layer, a head that is trained; all features are kept."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for start in range(0, options.rows, 1000):
        part = photos / f"{start:07d}"
        part.mkdir()
        for index in range(start, min(start + 1000, options.rows)):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(part / f"{index:07d}.png")
    (root / "one_layer.py").write_text(SMALL.replace("WIDTH", str(WIDTH)))
    tensors = {"1.weight": torch.randn(WIDTH, 192), "1.bias": torch.randn(WIDTH)}
    head = {"2.weight": torch.randn(2, WIDTH), "2.bias": torch.zeros(2)}
    save_file(tensors | head, root / "weights.safetensors")
    names = ",".join(f"c{number}" for number in range(options.classes))
    settings = f"threads: {options.threads}\nevaluation: {{reserve: 0}}\ndata: {{image_size: 8}}\n"
    settings += "model: {name: one_layer:network, train: head, weights: weights.safetensors}\n"
    (root / "dalcli.yaml").write_text(settings)
    run(root, "init", str(photos), "--classes", names)
    run(root, "query", "--budget", "2000", "--strategy", "random", "--output", str(root / "batch.csv"))
    _answer(root)
    run(root, "train")
    run(root, "score")  # makes the features
    for shard in (root / ".dalcli" / "scores").rglob("shard-*"):
        shard.unlink()


def _answer(root: Path) -> None:
    """Fill in the batch, any class in turn."""
    header, *rows = (root / "batch.csv").read_text().splitlines()
    with open_session(root, SilentFeedback()) as session, session.database.read() as connection:
        names = classes.names(connection)
    lines = [f"{row}{names[number % len(names)]}" for number, row in enumerate(rows)]
    (root / "labels.csv").write_text("\n".join([header, *lines]) + "\n")
    run(root, "ingest-labels", str(root / "labels.csv"))


def _seconds(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


# The process says it itself: what the system tells of a child includes what its parent held when it was born.
PEAK = """
import atexit
from dalcli.runtime.memory import peak_bytes
atexit.register(lambda: print(peak_bytes()))
from dalcli.__main__ import run
run()
"""


def _peak(root: Path, *arguments: str) -> float:
    """Largest resident size of a command, in MB."""
    command = [sys.executable, "-c", PEAK, *arguments, "-C", str(root)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return int(ran.stdout.split()[-1]) / 1e6


WAYS = {"pass": compare_pass, "loop": time_loop, "large": measure_large}


def main(arguments: Sequence[str] | None = None) -> None:
    share_heap()  # as dalcli does
    options = parser(__doc__)
    options.add_argument("what", choices=WAYS)
    options.add_argument("--images", type=int, default=320)
    options.add_argument("--model", default="efficientnet_b0")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--photographs", type=lambda text: Path(text).absolute(), metavar="FOLDER")
    options.add_argument("--weights", type=lambda text: Path(text).absolute(), metavar="FILE")
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--classes", type=int, default=100)
    given = options.parse_args(arguments)
    print(machine(given))
    WAYS[given.what](given)


if __name__ == "__main__":
    main()
