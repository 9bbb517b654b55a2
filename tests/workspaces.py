"""Tiny image folders and workspaces, and ways to look into and reach behind a workspace."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from dalcli_runner import ok
from PIL import Image

from dalcli.data.identity import digests, sample_id
from dalcli.feedback import SilentFeedback
from dalcli.scores.columns import Group
from dalcli.scores.store import ScoreStore
from dalcli.scores.table import ShardMetadata, write_shard
from dalcli.state import catalog, classes, ledger, versions
from dalcli.state.database import Connection
from dalcli.state.scores import ScoreFile
from dalcli.workspace.session import Session, open_session


def image(path: Path, number: int) -> Path:
    """A 4×4 PNG whose bytes are different for every ``number``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (number % 256, number // 256 % 256, 77)).save(path)
    return path


def photos(folder: Path, count: int, first: int = 0) -> Path:
    """``count`` different images, ``0.png`` and so on."""
    for number in range(first, first + count):
        image(folder / f"{number}.png", number)
    return folder


def make(root: Path, count: int = 12, *options: str, reserve: float = 0.0, config: str = "") -> Path:
    """A workspace with ``count`` images and the classes cat and dog, made by ``init``."""
    root.mkdir(parents=True, exist_ok=True)
    if not (root / "dalcli.yaml").exists():
        (root / "dalcli.yaml").write_text(f"evaluation:\n  reserve: {reserve}\n{config}")
    photos(root / "photos", count)
    ok(root, "init", "photos", "--classes", "cat,dog", *options)
    return root


def ids(folder: Path) -> dict[str, str]:
    """Sample id by file name of every PNG in a folder."""
    return {path.name: sample_id(path) for path in sorted(folder.glob("*.png"))}


def dump(root: Path) -> list[str]:
    """Everything the database says."""
    with _readable(root) as connection:
        return list(connection.iterdump())


def ask(root: Path, statement: str) -> list[tuple[object, ...]]:
    """Rows of a query on the workspace's database."""
    with _readable(root) as connection:
        return list(connection.execute(statement))


@contextmanager
def _readable(root: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(root / ".dalcli" / "state.db")
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def session(root: Path) -> Iterator[Session]:
    """The workspace as commands see it."""
    with open_session(root, SilentFeedback()) as opened:
        yield opened


def add_model(root: Path) -> str:
    """Pretend that a model was trained on the labels there are; returns its version."""
    with session(root) as opened, opened.database.write() as connection:
        return _begin_and_finish(connection)


def _begin_and_finish(connection: Connection) -> str:
    labels = ledger.labels(connection, "training")
    names = classes.names(connection)
    parent = versions.newest(connection)
    begun = versions.begin(
        connection,
        parent=None if parent is None else parent.key,
        classes=len(names),
        labels=labels,
        labels_digest=ledger.digest(labels, names),
        fingerprint="settings",
        seed=0,
        threads=1,
        device="cpu",
    )
    versions.finish(
        connection, begun, epochs=3, converged=True, stopped="converged", train_accuracy=1.0, train_loss=0.01
    )
    return begun.version


def add_scores(root: Path, inner: Sequence[float] | None = None) -> dict[str, float]:
    """Pretend that the newest model has scored the pool; returns ⟨g, G_S⟩ by sample id (by default 0, 1, 2, ...)."""
    with session(root) as opened:
        with opened.database.read() as connection:
            model = versions.newest(connection)
            assert model is not None
            images = catalog.images(connection, "training")
        values = np.arange(len(images), dtype=np.float64) if inner is None else np.asarray(inner, np.float64)
        folder = opened.workspace.score_folder(model.version)
        folder.mkdir(parents=True)
        cats = np.linspace(0.1, 0.9, len(images), dtype=np.float32)
        columns = {
            "digest": digests([found.sample_id for found in images]),
            "grad_sq_norm": np.zeros(len(images)),
            "grad_inner": values,
            "probabilities": np.stack([cats, 1 - cats], axis=1),
            "features": np.zeros((len(images), 2), np.float32),
        }
        write_shard(folder / "shard-00000.safetensors", columns, ShardMetadata(model.version, 128))
        with opened.database.write() as connection:
            store = ScoreStore.open(connection, opened.workspace, opened.config, model)
            groups = {Group.PREDICTIONS, Group.GRADIENTS}
            store = store.begin(connection, store.settings(groups), 128)
            store.record(connection, ScoreFile(0, "shard-00000.safetensors", frozenset(groups), len(images), 0.1))
    return dict(zip((found.sample_id for found in images), map(float, values), strict=True))
