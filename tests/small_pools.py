"""A workspace of tiny images, and the command line run on it inside this process."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors.numpy import load_file

from dalcli.cli.main import main

CLASSES = ("red", "green", "blue")
SETTINGS: dict[str, dict[str, Any] | int] = {
    "seed": 3,
    "threads": 1,
    "data": {"image_size": 8, "workers": 1},
    "model": {"name": "cnn", "dropout": 0.2},
    "training": {"max_epochs": 6, "batch_size": 4, "learning_rate": 0.002, "accuracy_threshold": 1.0},
    "scoring": {"batch_size": 4, "shard_size": 8},
    "evaluation": {"reserve": 0.35},
}


@dataclass(frozen=True)
class Outcome:
    """How a command line ended and what it said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class SmallPool:
    """A workspace whose file names say the truth: ``photos/red-03.png``."""

    root: Path

    def run(self, *arguments: str) -> Outcome:
        """``dalcli ARGUMENTS -C root`` in this process."""
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([*arguments, "-C", str(self.root)])
        out.flush()
        return Outcome(int(code), out.buffer.getvalue().decode(), err.getvalue())  # type: ignore[attr-defined]

    def ok(self, *arguments: str) -> Outcome:
        """Like :meth:`run`, for what must succeed."""
        outcome = self.run(*arguments)
        assert outcome.code == 0, outcome
        return outcome

    def json(self, *arguments: str) -> dict[str, Any]:
        """The JSON document that a command prints."""
        document: dict[str, Any] = json.loads(self.ok(*arguments, "--json").out)
        return document

    def configure(self, **sections: Mapping[str, Any] | int) -> None:
        """Rewrite ``dalcli.yaml``: the usual settings with some changed."""
        merged: dict[str, Any] = dict(SETTINGS)
        for name, value in sections.items():
            merged[name] = {**merged.get(name, {}), **value} if isinstance(value, Mapping) else value
        (self.root / "dalcli.yaml").write_text(yaml.safe_dump(merged))

    def pool(self, state: str | None = None, purpose: str = "training") -> list[dict[str, str]]:
        """Rows of ``pool list`` of one purpose (and state), in the order of sample ids."""
        options = [] if state is None else ["--state", state]
        rows = csv.DictReader(io.StringIO(self.ok("pool", "list", *options).out))
        return [row for row in rows if row["purpose"] == purpose]

    def label(self, rows: Sequence[Mapping[str, str]], label: str | None = None, *options: str) -> Outcome:
        """Ingest the truth (or ``label``) for rows that have a ``path``."""
        file = self.root / "answers.csv"
        lines = [f"{row['sample_id']},{label or truth(row['path'])}" for row in rows]
        file.write_text("\n".join(["sample_id,label", *lines]) + "\n")
        return self.ok("ingest-labels", str(file), *options)

    def path(self, row: Mapping[str, str]) -> Path:
        return self.root / row["path"]

    def version(self, name: str = "m-0001") -> Path:
        return self.root / ".dalcli" / "models" / name

    def meta(self, name: str = "m-0001") -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.version(name) / "meta.json").read_text())
        return document

    def weights(self, name: str = "m-0001") -> dict[str, np.ndarray[Any, Any]]:
        return load_file(self.version(name) / "model.safetensors")

    def shards(self, name: str = "m-0001") -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Columns by the shard's first file; those in files that were added later are among them."""
        found: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for path in sorted((self.root / ".dalcli" / "scores" / name).glob("shard-*.safetensors")):
            columns = load_file(path)
            shard = found.setdefault(f"{path.name[: len('shard-00000')]}.safetensors", columns)
            assert shard["digest"].tobytes() == columns["digest"].tobytes()
            assert shard is columns or shard.keys() & columns.keys() == {"digest"}
            shard |= columns
        return found

    def scores(self, name: str = "m-0001") -> dict[str, dict[str, Any]]:
        """Columns by sample id."""
        table = {}
        for columns in self.shards(name).values():
            for row, digest in enumerate(columns["digest"]):
                table["s-" + digest.tobytes().hex()] = {key: values[row] for key, values in columns.items()}
        return table


def truth(path: str) -> str:
    """The class that a file name tells."""
    return Path(path).name.split("-")[0]


def draw(path: Path, label: str, seed: int, size: int = 8) -> None:
    """A noisy image whose brightest channel is its class."""
    rng = np.random.default_rng([seed, CLASSES.index(label) if label in CLASSES else 9])
    pixels = rng.integers(0, 180, (size, size, 3))
    if label in CLASSES:
        pixels[..., CLASSES.index(label)] += rng.integers(5, 60)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_pool(root: Path, count: int = 48, size: int = 8, **settings: Mapping[str, Any] | int) -> SmallPool:
    """``count`` images, a third of each class; nothing is labeled."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    for index in range(count):
        label = CLASSES[index % 3]
        draw(photos / f"{label}-{index:02d}.png", label, index, size)
    pool = SmallPool(root)
    pool.configure(**settings)
    pool.ok("init", str(photos), "--classes", ",".join(CLASSES))
    return pool


def copied(pool: SmallPool, target: Path) -> SmallPool:
    """A workspace is moved by copying it."""
    shutil.copytree(pool.root, target)
    return SmallPool(target)


def same_weights(one: Mapping[str, np.ndarray[Any, Any]], other: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    """Whether two sets of weights agree bit for bit."""
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
