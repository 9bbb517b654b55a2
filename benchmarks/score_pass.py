"""What ``dalcli score`` costs beside the engine alone, what ``--dry-run`` foretold, and memory over pool sizes.

    python benchmarks/score_pass.py [--images N ...] [--size PIXELS] [--model NAME] [--repeats R]

Every figure comes from a process of its own, engine and command in turns; times are medians, without
Python's start. "engine" is the same batches, ready in memory, through ``GradientEngine.score``, self-check included;
"cache" and "decode" are the whole command with and without cached pixels, from the database to the last shard's row.
"foretold" is what ``score --dry-run`` said just before. Memory is the process's peak.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dalcli.cli.main import main as dalcli
from dalcli.commands import score, score_estimate
from dalcli.commands.peak_memory import peak_bytes
from dalcli.commands.pixels import peek_images, row_chunks
from dalcli.commands.score import kept_table, newest
from dalcli.commands.scorer import Scorer
from dalcli.commands.session import Session, open_session
from dalcli.feedback import SilentFeedback
from dalcli.state import catalog
from dalcli.training.device import reproducible, resolve_device

CLASSES = ("a", "b", "c", "d")
LABELED = 40
Measured = tuple[float, float]  # seconds, MiB


def make_pool(root: Path, count: int, options: argparse.Namespace) -> None:
    """A trained workspace with ``count`` images, scored once so that G_S and the pixel cache are there."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        pixels = rng.integers(0, 256, (options.size, options.size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{index:06d}.{options.format}")
    (root / "dalcli.yaml").write_text(
        f"threads: {options.threads}\ndata: {{image_size: {options.size}}}\nmodel: {{name: {options.model}}}\n"
        "evaluation: {reserve: 0}\ntraining: {max_epochs: 1}\n"
    )
    run(root, "init", str(photos), "--classes", ",".join(CLASSES))
    lines = [f"photos/{index:06d}.{options.format},{CLASSES[index % 4]}" for index in range(LABELED)]
    (root / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    run(root, "ingest-labels", str(root / "labels.csv"))
    run(root, "train")
    run(root, "score")


def run(root: Path, *arguments: str) -> None:
    quiet = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(quiet), redirect_stderr(quiet):
        code = dalcli([*arguments, "-C", str(root), "--quiet"])
    if code != 0:
        raise SystemExit(f"dalcli {' '.join(arguments)} failed with {code}")


def the_command(root: Path) -> Measured:
    """``score`` of all samples; G_S is kept."""
    forget_shards(root)
    with open_session(root, SilentFeedback()) as session:
        started = time.perf_counter()
        score.run(session)
        return time.perf_counter() - started, _mebibytes()


def the_engine(root: Path) -> Measured:
    """The same batches through the engine alone."""
    with open_session(root, SilentFeedback()) as session:
        device = resolve_device(session.config.device)
        with reproducible(device, session.config.threads):
            return _engine(session, device)


def _engine(session: Session, device: torch.device) -> Measured:
    model = newest(session, False)
    gradient, _ = kept_table(session, model)
    assert gradient is not None
    scorer = Scorer(session, model, device)
    with session.database.read() as connection:
        images = catalog.images(connection, "training")
    pixels = peek_images(session, images, scorer.loaded.meta.spec.image_size).pixels
    batches = [scorer.inputs(pixels.read(rows)) for rows in row_chunks(len(images), scorer.micro_batch())]
    direction = gradient.to(device)
    started = time.perf_counter()
    for inputs in batches:
        scorer.engine.score(inputs, direction)
    return time.perf_counter() - started, _mebibytes()


def the_estimate(root: Path) -> Measured:
    """What ``score --dry-run`` foretells of :func:`the_command`."""
    forget_shards(root)
    with open_session(root, SilentFeedback()) as session:
        estimate = score_estimate.run(session)
    return estimate.seconds, (estimate.memory or 0) / 2**20


def forget_shards(root: Path) -> None:
    for path in (root / ".dalcli" / "scores").glob("*/shard-*"):
        path.unlink()


def _mebibytes() -> float:
    return (peak_bytes() or 0) / 2**20


def in_fresh_process(work: Callable[[Path], Measured], root: Path) -> Measured:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, root).result()


def measure(root: Path, repeats: int) -> dict[str, Measured]:
    """Medians of everything, in turns."""
    found: dict[str, list[Measured]] = {}

    def turn(name: str, work: Callable[[Path], Measured]) -> None:
        found.setdefault(name, []).append(in_fresh_process(work, root))

    for _ in range(repeats):
        turn("engine", the_engine)
        turn("cache foretold", the_estimate)
        turn("cache", the_command)
        shutil.rmtree(root / ".dalcli" / "cache")
        turn("decode foretold", the_estimate)
        turn("decode", the_command)
    return {name: _medians(values) for name, values in found.items()}


def _medians(values: list[Measured]) -> Measured:
    seconds, memory = zip(*values, strict=True)
    return statistics.median(seconds), statistics.median(memory)


def row(count: int, found: dict[str, Any]) -> str:
    engine, _ = found["engine"]
    cells = [f"{count:>7}", f"{engine:>8.2f}"]
    for name in ("cache", "decode"):
        (seconds, memory), (said, said_memory) = found[name], found[f"{name} foretold"]
        cells += [f"{seconds:>8.2f}", f"{seconds / engine:>6.2f}", f"{said:>9.2f}", f"{said / seconds - 1:>+6.0%}"]
        cells += [f"{memory:>7.0f}", f"{said_memory / memory - 1:>+6.0%}"]
    return "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="+", type=int, default=[1000])
    parser.add_argument("--size", type=int, default=32, help="image side in pixels")
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--format", default="png", choices=["png", "jpg"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(f"{options.model}, {options.size}×{options.size} {options.format}, {options.threads} threads; seconds, MiB")
    both = f"{'ratio':>6}{'foretold':>9}{'error':>6}{'memory':>7}{'error':>6}"
    print(f"{'images':>7}{'engine':>8}{'cache':>8}{both}{'decode':>8}{both}")
    for count in options.images:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "w"
            make_pool(root, count, options)
            print(row(count, measure(root, options.repeats)), flush=True)


if __name__ == "__main__":
    main()
