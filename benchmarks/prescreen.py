"""What ``scoring.prescreen`` would have missed, and what it costs, on trained models whose exact scores are all known.

    python benchmarks/prescreen.py [--models NAME ...] [--labels N ...] [--images N] [--gammas G ...] [--threads T]

For every model and number of labels: scikit-learn's digits, turned, shifted and noisy at 32×32, are a pool; random ones
are labeled, ``dalcli train`` trains to convergence on them, and ``dalcli score`` scores the pool exactly. Then for
every fraction: the share of the pool that passed, the recall of the exact top b for several b/N, and the cost, which
is the time of a forward pass of all plus exact scores of what passed, of the control and of the calibration sample,
relative to exact scores of all. Forward and exact passes are timed in turns, batch by batch, medians.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import statistics
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from sklearn.datasets import load_digits

from dalcli.cli.main import main as dalcli
from dalcli.data.identity import digests
from dalcli.feedback import SilentFeedback
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.scores.columns import Digests, Group, Screened
from dalcli.scores.delta import delta
from dalcli.scores.prescreen import calibration_size, decide, drawn
from dalcli.scoring.labeled_gradient import stored
from dalcli.scoring.run import newest, open_store
from dalcli.scoring.scorer import Scorer
from dalcli.state import catalog
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session, open_session

FRACTIONS = (0.05, 0.1, 0.15, 0.2, 0.3)
TOPS = (0.005, 0.01, 0.02, 0.05)
SEED = 1
BATCH = 64
TIMED = 16  # batches
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """A pool with everything known: forward-only arrays, exact values, seconds of passes over a batch."""

    digests: Digests
    residuals: Floats
    features: Floats
    sq_norm: Floats
    inner: Floats
    accuracy: float
    forward_seconds: float
    exact_seconds: float


def draw(folder: Path, count: int) -> dict[str, str]:
    """``count`` different images of digits; their classes by path."""
    scans, rng = load_digits(), np.random.default_rng(SEED)
    folder.mkdir()
    truth = {}
    for index in range(count):
        number = int(rng.integers(len(scans.images)))
        large = np.pad(ndimage.zoom(scans.images[number] * (255 / 16), 3, order=1), 4)
        turned = ndimage.rotate(large, rng.uniform(-20, 20), reshape=False, order=1)
        moved = ndimage.shift(turned, rng.uniform(-3, 3, 2), order=1) * rng.uniform(0.6, 1)
        pixels = moved[..., None] + rng.normal(0, rng.uniform(2, 30), (32, 32, 3))
        path = folder / f"{index:06d}.png"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
        truth[f"{folder.name}/{path.name}"] = str(scans.target[number])
    return truth


def command(root: Path, *arguments: str) -> str:
    """One command in this process; its stdout."""
    out, errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        code = dalcli(["-C", str(root), *arguments])
    out.flush()
    if code:
        raise SystemExit(f"dalcli {' '.join(arguments)}: {errors.getvalue()}")
    return out.buffer.getvalue().decode()


def label(root: Path, truth: dict[str, str], count: int) -> None:
    """Label ``count`` more, chosen at random."""
    rows = csv.DictReader(io.StringIO(command(root, "query", "--budget", str(count), "--strategy", "random")))
    answers = "".join(f"{row['sample_id']},{truth[row['path']]}\n" for row in rows)
    (root / "labels.csv").write_text(f"sample_id,label\n{answers}")
    command(root, "ingest-labels", str(root / "labels.csv"))


def score(root: Path, truth: dict[str, str]) -> Scored:
    """Everything about the newest model and the whole pool."""
    with open_session(root, SilentFeedback()) as session:
        device = resolve_device(session.config.device)
        with reproducible(device, session.config.threads):
            return _score(session, device, truth)


def _score(session: Session, device: torch.device, truth: dict[str, str]) -> Scored:
    model = newest(session, stale_ok=False)
    scorer = Scorer(session, model, device)
    with session.database.read() as connection:
        images = catalog.images(connection, "training")
    store = open_store(session, model)
    gradient = stored(store)
    assert gradient is not None
    opened = PoolImages.peek(session, images, scorer.loaded.meta.spec.image_size)
    direction = gradient.to(device)
    parts: list[tuple[Floats, ...]] = []
    seconds: tuple[list[float], list[float]] = ([], [])
    for block in opened.blocks(BATCH):
        inputs = scorer.inputs(block.inputs)
        started = time.perf_counter()
        prediction = scorer.engine.predict(inputs)
        between = time.perf_counter()
        if len(seconds[0]) < TIMED and len(block) == BATCH:
            scorer.engine.score(inputs, direction)
            seconds[0].append(between - started)
            seconds[1].append(time.perf_counter() - between)
        columns = (prediction.residuals, prediction.features, prediction.pseudo_label)
        parts.append(tuple(column.double().cpu().numpy() for column in columns))
    residuals, features, guesses = (np.concatenate(column) for column in zip(*parts, strict=True))
    right = [int(truth[image.path]) == guess for image, guess in zip(images, guesses, strict=True)]
    # The first batch pays for the self-check.
    forward, full = (statistics.median(values[1:]) for values in seconds)
    ids = digests([image.sample_id for image in images])
    table = store.table({Group.GRADIENTS})
    assert table is not None
    exact = table.lookup(ids, ("grad_sq_norm", "grad_inner"))
    accuracy = float(np.mean(right))
    return Scored(ids, residuals, features, exact["grad_sq_norm"], exact["grad_inner"], accuracy, forward, full)


def report(pool: Scored, gamma: float, fraction: float) -> list[str]:
    """One row: share, recalls, cost."""
    count = len(pool.digests)
    rows = drawn(SEED, pool.digests, calibration_size(count))
    known = {"grad_sq_norm": pool.sq_norm[rows], "grad_inner": pool.inner[rows]}
    prescreen = decide(fraction, gamma, SEED, pool.digests[rows], pool.residuals[rows], pool.features[rows], known)
    started = time.perf_counter()
    codes = prescreen.codes(pool.digests, pool.residuals, pool.features)
    deciding = (time.perf_counter() - started) * BATCH / count
    exact = codes != Screened.AWAY
    promising = codes == Screened.PROMISING
    order = np.argsort(-delta(pool.sq_norm, pool.inner, gamma))
    recalls = [float(np.mean(exact[order[: math.ceil(top * count)]])) for top in TOPS]
    cost = (pool.forward_seconds + deciding) / pool.exact_seconds + float(np.mean(exact))
    return [
        f"{fraction:.2f}",
        f"{np.mean(promising):.3f}",
        *(f"{100 * recall:.1f}" for recall in recalls),
        f"{cost:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["cnn", "resnet18", "vgg11"])
    parser.add_argument("--labels", nargs="+", type=int, default=[100, 400])
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--gammas", nargs="+", type=float, default=[2.0, 0.0, math.inf])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="also keep the arrays in this folder")
    options = parser.parse_args()
    tops = [f"b={100 * top:g}%" for top in TOPS]
    print(f"{options.images} images, {options.threads} threads; recall of the exact top b in per cent")
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            study(Path(folder), model, options, tops)


def study(root: Path, model: str, options: argparse.Namespace, tops: list[str]) -> None:
    """All rows of one model, with more labels every time."""
    (root / "dalcli.yaml").write_text(
        f"seed: {SEED}\nthreads: {options.threads}\ndata: {{image_size: 32}}\nmodel: {{name: {model}}}\n"
        "evaluation: {reserve: 0}\n"
    )
    truth = draw(root / "images", options.images)
    command(root, "init", str(root / "images"), "--classes", ",".join("0123456789"))
    labeled = 0
    for labels in options.labels:
        label(root, truth, labels - labeled)
        labeled = labels
        command(root, "train")
        command(root, "score", "--full")
        pool = score(root, truth)
        if options.keep:
            np.savez(options.keep / f"{model}-{labels}.npz", **vars(pool))
        ratio = pool.forward_seconds / pool.exact_seconds
        print(f"\n{model}, {labels} labels, accuracy {pool.accuracy:.1%}, forward/exact {ratio:.2f}")
        for gamma in options.gammas:
            print(row([f"γ = {gamma:g}", "passed", *tops, "cost"]))
            for fraction in FRACTIONS:
                print(row(report(pool, gamma, fraction)), flush=True)


def row(cells: list[Any]) -> str:
    return "".join(f"{cell:>9}" for cell in cells)


if __name__ == "__main__":
    main()
