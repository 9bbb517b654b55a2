"""Workspaces with rounds behind them, made through the state room: no images, no training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from workspaces import make, session

from dalcli.config.hashing import fingerprint
from dalcli.data.identity import sample_id
from dalcli.evaluation.metrics import summarise
from dalcli.state import batches, classes, evaluations, files, ledger, versions
from dalcli.state.batches import BatchOptions, BatchRow
from dalcli.state.database import Connection
from dalcli.state.files import FileRecord, Registration
from dalcli.state.ledger import Vote
from dalcli.workspace.session import Session

LAW = (0.97, 0.62, 0.36)
"""Ceiling, height and exponent of the power law that made-up rounds follow."""


def law(labels: int) -> float:
    """Accuracy after so many labels, by :data:`LAW`."""
    ceiling, height, exponent = LAW
    return max(ceiling - height * (labels / 100) ** -exponent, 0.0)


def planned(
    root: Path,
    sizes: Sequence[int],
    accuracies: Sequence[float] | None = None,
    *,
    pool: int = 5000,
    evaluation: int = 400,
    evaluated: int | None = None,
    config: str = "",
    cost: float | None = None,
) -> Path:
    """A workspace of cats and dogs that has gone through rounds of ``sizes`` labels in all.

    Args:
        accuracies: measured after each; default: :func:`law`, rounded to what the evaluation set can say.
        evaluation: samples in the evaluation reserve, of which ``evaluated`` (default: all) are labeled.
        cost: of every vote, in the ledger.
    """
    make(root, 1, config=config)
    with session(root) as opened, opened.database.write() as connection:
        records = [_record(number, "training") for number in range(pool)]
        records += [_record(pool + number, "evaluation") for number in range(evaluation)]
        files.register(connection, records, 0.0, Registration())
        keys = {row["sample_id"]: row["id"] for row in connection.execute("SELECT id, sample_id FROM sample")}
        training = [keys[record.sample_id] for record in records[:pool] if record.sample_id]
        reserve = [keys[record.sample_id] for record in records[pool:] if record.sample_id]
        labeled = reserve[: evaluation if evaluated is None else evaluated]
        _vote(connection, labeled, cost)
        before = 0
        for position, size in enumerate(sizes):
            add_labels(connection, training[before:size], cost, "random" if not position else "margin")
            add_version(connection)
            before = size
            if labeled:
                accuracy = law(size) if accuracies is None else accuracies[position]
                measure(opened, connection, accuracy)
    return root


def add_round(root: Path, size: int, accuracy: float) -> None:
    """One more round: labels up to ``size`` in all, a version, and its measurement."""
    with session(root) as opened, opened.database.write() as connection:
        free = [
            row["id"]
            for row in connection.execute(
                "SELECT id FROM sample WHERE purpose = 'training' AND id NOT IN (SELECT sample FROM vote)"
                " AND sample_id NOT IN (SELECT sample_id FROM sample WHERE width IS NULL) ORDER BY id"
            )
        ]
        there = len(ledger.labels(connection, "training"))
        add_labels(connection, free[: size - there], None, "margin")
        add_version(connection)
        measure(opened, connection, accuracy)


def add_labels(connection: Connection, samples: Sequence[int], cost: float | None, strategy: str) -> None:
    """A batch that came back whole."""
    batches.issue(
        connection,
        batches.next_id(connection),
        [BatchRow(rank, sample, None, None, None, strategy, "active") for rank, sample in enumerate(samples, 1)],
        b"",
        options=BatchOptions({}, {}),
        purpose="training",
        requested=len(samples),
        model=None,
        key=None,
    )
    _vote(connection, samples, cost)


def another_look(root: Path, count: int) -> None:
    """An open batch of samples that have labels already."""
    with session(root) as opened, opened.database.write() as connection:
        samples = list(ledger.labels(connection, "training"))[-count:]
        batches.issue(
            connection,
            batches.next_id(connection),
            [BatchRow(rank, sample, None, None, None, "relabel", "active") for rank, sample in enumerate(samples, 1)],
            b"",
            options=BatchOptions({}, {}),
            purpose="training",
            requested=count,
            model=None,
            key=None,
            relabel=True,
        )


def add_version(connection: Connection, settings: str = "settings") -> None:
    """A version trained on the labels there are."""
    labels, names = ledger.labels(connection, "training"), classes.names(connection)
    parent = versions.newest(connection)
    begun = versions.begin(
        connection,
        parent=None if parent is None else parent.key,
        classes=len(names),
        labels=labels,
        labels_digest=ledger.digest(labels, names),
        fingerprint=settings,
        seed=0,
        threads=1,
        device="cpu",
    )
    versions.finish(
        connection, begun, epochs=3, converged=True, stopped="converged", train_accuracy=1.0, train_loss=0.01
    )


def measure(opened: Session, connection: Connection, accuracy: float) -> None:
    """The newest version is right about this share of the evaluation labels, alike for cats and dogs."""
    newest, labels = versions.newest(connection), ledger.labels(connection, "evaluation")
    assert newest is not None
    config = opened.config
    settings = fingerprint(config.evaluation, config.data.resize, config.data.alpha_background)
    digest = ledger.digest(labels, classes.names(connection))
    evaluations.store(connection, newest.key, digest, settings, report(accuracy, len(labels)))


def report(accuracy: float, examples: int) -> dict[str, Any]:
    """Half cats, half dogs; answers are wrong about the last ones of each."""
    labels = np.arange(examples) % 2
    right = np.arange(examples) < round(accuracy * examples)
    answers = np.where(right, labels, 1 - labels)
    logits = np.where(answers[:, None] == np.arange(2), 2.0, 0.0)
    return summarise(("cat", "dog"), labels, logits).to_dict()


def _vote(connection: Connection, samples: Sequence[int], cost: float | None) -> None:
    votes = [Vote(sample, sample % 2, "", "labels.csv", line, cost=cost) for line, sample in enumerate(samples, 2)]
    ledger.record(connection, votes)


def _record(number: int, purpose: Any) -> FileRecord:
    name = sample_id(f"made up {number}".encode())
    return FileRecord(f"pool/{number}.png", name, size=1, mtime_ns=1, width=4, height=4, purpose=purpose)
