"""Pools of random photos, and the ways to score them: the real command, the engine alone, what ``--dry-run`` says.

Not a benchmark itself.
"""

from __future__ import annotations

import io
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measuring import MEBIBYTE, in_fresh_process, synchronise
from PIL import Image

from dalcli.cli.main import main as dalcli
from dalcli.feedback import SilentFeedback
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.runtime.memory import peak_bytes
from dalcli.scoring.estimate import estimate
from dalcli.scoring.labeled_gradient import stored
from dalcli.scoring.run import ScoreRequest, newest, open_store, score
from dalcli.scoring.scorer import Scorer
from dalcli.state import catalog
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session, open_session

CLASSES = ("a", "b", "c", "d")
LABELED = 40
BLOB = 16  # pixels: photos are smooth, which decoders notice; random pixels would not be
Measured = tuple[float, float]  # seconds, MiB


@dataclass(frozen=True)
class Pool:
    """A pool to be made: ``count`` files of ``photo`` (width, height) pixels, scored by ``model`` at ``size``²."""

    count: int
    size: int
    model: str
    format: str
    photo: tuple[int, int]
    device: str
    threads: int


def make_pool(root: Path, pool: Pool) -> None:
    """A trained workspace, scored once so that G_S and the pixel cache are there."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(pool.count):
        photo(rng, pool.photo).save(photos / f"{index:06d}.{pool.format}")
    (root / "dalcli.yaml").write_text(
        f"device: {pool.device}\nthreads: {pool.threads}\ndata: {{image_size: {pool.size}}}\n"
        f"model: {{name: {pool.model}}}\nevaluation: {{reserve: 0}}\ntraining: {{max_epochs: 1}}\n"
    )
    run(root, "init", str(photos), "--classes", ",".join(CLASSES))
    labeled = range(min(LABELED, pool.count))
    lines = [f"photos/{index:06d}.{pool.format},{CLASSES[index % len(CLASSES)]}" for index in labeled]
    (root / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    run(root, "ingest-labels", str(root / "labels.csv"))
    run(root, "train")
    run(root, "score", "--full")


def photo(rng: np.random.Generator, shape: tuple[int, int]) -> Image.Image:
    """Coloured blobs with some grain."""
    width, height = shape
    coarse = rng.integers(0, 256, (max(2, height // BLOB), max(2, width // BLOB), 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize(shape, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = rng.integers(-8, 9, smooth.shape, dtype=np.int16)
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def run(root: Path, *arguments: str) -> None:
    """One command, silently; SystemExit with what it said if it fails."""
    quiet = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with redirect_stdout(quiet), redirect_stderr(quiet):
        code = dalcli([*arguments, "-C", str(root), "--quiet"])
    if code != 0:
        quiet.flush()
        said = quiet.buffer.getvalue().decode()  # type: ignore[attr-defined]
        raise SystemExit(f"dalcli {' '.join(arguments)} failed with {code}: {said}")


FULL, DEFAULT = ScoreRequest(full=True), ScoreRequest()


def the_command(root: Path, request: ScoreRequest = FULL) -> Measured:
    """``score --full`` of all samples; G_S is kept."""
    forget_shards(root)
    with open_session(root, SilentFeedback()) as session:
        started = time.perf_counter()
        score(session, request)
        return time.perf_counter() - started, _mebibytes()


def the_default(root: Path) -> Measured:
    """``score``: what the default strategy reads."""
    return the_command(root, DEFAULT)


def the_engine(root: Path) -> Measured:
    """The same batches through the engine alone."""
    with open_session(root, SilentFeedback()) as session:
        device = resolve_device(session.config.device)
        with reproducible(device, session.config.threads):
            return _engine(session, device)


def _engine(session: Session, device: torch.device) -> Measured:
    model = newest(session, False)
    gradient = stored(open_store(session, model))
    assert gradient is not None
    scorer = Scorer(session, model, device)
    with session.database.read() as connection:
        images = catalog.images(connection, "training")
    opened = PoolImages.peek(session, images, scorer.loaded.meta.spec.image_size)
    batches = [scorer.inputs(block.inputs) for block in opened.blocks(scorer.micro_batch())]
    direction = gradient.to(device)
    synchronise()
    started = time.perf_counter()
    for inputs in batches:
        scorer.engine.score(inputs, direction)
    synchronise()
    return time.perf_counter() - started, _mebibytes()


def the_estimate(root: Path, request: ScoreRequest = FULL) -> Measured:
    """What ``score --full --dry-run`` foretells of :func:`the_command`."""
    forget_shards(root)
    with open_session(root, SilentFeedback()) as session:
        found = estimate(session, request)
    return found.seconds, (found.device_memory or found.memory or 0) / MEBIBYTE


def the_default_estimate(root: Path) -> Measured:
    """What ``score --dry-run`` foretells of :func:`the_default`."""
    return the_estimate(root, DEFAULT)


def the_command_decoding(root: Path) -> Measured:
    """:func:`the_command` without cached pixels; it leaves them behind."""
    forget_pixels(root)
    return the_command(root)


def forget_shards(root: Path) -> None:
    for path in (root / ".dalcli" / "scores").glob("*/shard-*"):
        path.unlink()


def forget_pixels(root: Path) -> None:
    shutil.rmtree(root / ".dalcli" / "cache", ignore_errors=True)


def _mebibytes() -> float:
    """The peak of this process; of the GPU's memory where it computed on one."""
    if torch.cuda.is_available() and torch.cuda.max_memory_reserved():
        return torch.cuda.max_memory_reserved() / MEBIBYTE
    return (peak_bytes() or 0) / MEBIBYTE


Way = Callable[[Path], Measured]


def in_turns(ways: Sequence[tuple[str, Way, Path]], repeats: int) -> dict[str, Measured]:
    """Medians by name; every figure from a process of its own, each way once per turn."""
    found: dict[str, list[Measured]] = {name: [] for name, _, _ in ways}
    for _ in range(repeats):
        for name, way, root in ways:
            found[name].append(in_fresh_process(way, root))
    return {name: _medians(values) for name, values in found.items()}


def _medians(values: list[Measured]) -> Measured:
    seconds, memory = zip(*values, strict=True)
    return statistics.median(seconds), statistics.median(memory)
