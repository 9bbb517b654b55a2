"""Workspaces whose model says made-up things with known errors: no images are read, nothing is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from workspaces import make, session

from dalcli.config.hashing import fingerprint
from dalcli.data.identity import digests, reserve_position, sample_id
from dalcli.evaluation.metrics import summarise
from dalcli.evaluation.outcomes import Outcomes
from dalcli.scores.columns import Group
from dalcli.scores.store import ScoreStore
from dalcli.scores.table import ShardMetadata, write_shard
from dalcli.state import catalog, classes, evaluations, files, ledger, versions
from dalcli.state.database import Connection
from dalcli.state.files import FileRecord, Registration
from dalcli.state.ledger import Vote
from dalcli.state.scores import ScoreFile
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session

Law = Callable[[np.ndarray], np.ndarray]


def mostly_right(confidence: np.ndarray) -> np.ndarray:
    """Never wrong above 0.8, and every third time below."""
    return np.where(confidence > 0.8, 0.0, 1 / 3)


@dataclass
class Promised:
    """A workspace, and what is true in it, by sample id: class, what the model says, how sure it is."""

    root: Path
    truth: dict[str, int]
    said: dict[str, int]
    sure: dict[str, float]

    def answers(self, ids: list[str], wrong: bool = False) -> str:
        """A label file."""
        lines = [f"{name},{('cat', 'dog')[self.truth[name] ^ wrong]}" for name in ids]
        return "\n".join(["sample_id,label", *lines]) + "\n"


def promised(
    root: Path,
    pool: int = 1500,
    reserve: float = 0.4,
    *,
    labeled: float = 1.0,
    law: Law = mostly_right,
    trained_on: int = 20,
    config: str = "",
) -> Promised:
    """``pool`` images in all, of which ``reserve`` serve evaluation; ``labeled`` of those have labels."""
    make(root, 1, reserve=reserve, config=config)
    rng = np.random.default_rng(5)
    ids = [sample_id(f"made up {number}".encode()) for number in range(pool)]
    sure = np.minimum(1 - 0.5 * rng.beta(0.4, 1.5, pool), 0.9999).astype(np.float32)
    wrong = rng.random(pool) < law(sure)
    truth = np.arange(pool) % 2
    found = Promised(
        root,
        dict(zip(ids, truth.tolist(), strict=True)),
        dict(zip(ids, (truth ^ wrong).tolist(), strict=True)),
        dict(zip(ids, sure.tolist(), strict=True)),
    )
    with session(root) as opened, opened.database.write() as connection:
        connection.execute("DELETE FROM file")  # what `make` had to begin with
        connection.execute("DELETE FROM sample")
        records = [
            FileRecord(f"pool/{n}.png", name, 1, 1, 4, 4, reserve_position=reserve_position(0, name))
            for n, name in enumerate(ids)
        ]
        files.register(connection, records, reserve, Registration())
        keys = catalog.keys_by_id(connection)
        training = [image.key for image in catalog.images(connection, "training")]
        held = [
            row["id"]
            for row in connection.execute(
                "SELECT id FROM sample WHERE purpose = 'evaluation' ORDER BY reserve_position"
            )
        ]
        by_key = {key: name for name, key in keys.items()}
        chosen = [*training[:trained_on], *held[: round(labeled * len(held))]]
        ledger.record(connection, [Vote(key, found.truth[by_key[key]], "", "l.csv", 2) for key in chosen])
        train(opened, connection, found)
    return found


def train(opened: Session, connection: Connection, found: Promised) -> ModelVersion:
    """A version that says what is ``found``, of the pool and of the evaluation labels of now."""
    labels, names = ledger.labels(connection, "training"), classes.names(connection)
    begun = versions.begin(
        connection, parent=None, classes=len(names), labels=labels, labels_digest=ledger.digest(labels, names),
        fingerprint="settings", seed=0, threads=1, device="cpu",
    )  # fmt: skip
    versions.finish(
        connection, begun, epochs=3, converged=True, stopped="converged", train_accuracy=1.0, train_loss=0.01
    )
    model = versions.newest(connection)
    assert model is not None
    ids = [image.sample_id for image in catalog.images(connection, "training")]
    folder = opened.workspace.score_folder(model.version)
    folder.mkdir(parents=True)
    columns = {
        "digest": digests(ids),
        "probabilities": probabilities(found, ids).astype(np.float32),
        "features": np.zeros((len(ids), 2), np.float32),
    }
    write_shard(folder / "shard-00000.safetensors", columns, ShardMetadata(model.version, 128))
    store = ScoreStore.open(connection, opened.workspace, opened.config, model)
    store = store.begin(connection, store.settings({Group.PREDICTIONS}), 128)
    store.record(connection, ScoreFile(0, "shard-00000.safetensors", frozenset({Group.PREDICTIONS}), len(ids), 0.1))
    measure(opened, connection, found, model)
    return model


def probabilities(found: Promised, ids: list[str]) -> np.ndarray:
    """(n, 2)."""
    rows = np.array([[1 - found.sure[name]] * 2 for name in ids])
    rows[np.arange(len(ids)), [found.said[name] for name in ids]] = [found.sure[name] for name in ids]
    return rows


def measure(opened: Session, connection: Connection, found: Promised, model: ModelVersion) -> None:
    """What ``evaluate`` would have stored."""
    labels = ledger.labels(connection, "evaluation")
    if not labels:
        return
    by_key = {key: name for name, key in catalog.keys_by_id(connection).items()}
    keys = sorted(labels)
    ids = [by_key[key] for key in keys]
    told, truth = probabilities(found, ids), np.array([labels[key] for key in keys])
    said = np.array([found.said[name] for name in ids])
    outcomes = Outcomes(np.array(keys), truth, said, told[np.arange(len(keys)), truth].astype(np.float32))
    config = opened.config
    evaluations.store(
        connection,
        model.key,
        ledger.digest(labels, classes.meanings(connection)),
        fingerprint(config.evaluation, config.data.resize, config.data.alpha_background),
        summarise(classes.names(connection), truth, np.log(told)).to_dict(),
        1.5,
        outcomes.to_bytes(),
        np.array([found.sure[name] for name in ids], "<f4").tobytes(),
    )
