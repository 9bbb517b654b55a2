"""Model versions: which checkpoints exist, what they were trained on, whether labels have come since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dalcli.state import classes
from dalcli.state.database import INTERNAL, Connection, Row, now


@dataclass(frozen=True)
class ModelVersion:
    """One row of the version history; immutable once ``finished_at`` is set."""

    key: int = field(metadata=INTERNAL)
    version: str
    parent: str | None
    classes: int
    labels: int
    labels_digest: str
    fingerprint: str
    seed: int
    threads: int
    device: str
    started_at: str
    finished_at: str | None
    epochs: int | None
    converged: bool | None
    stopped: str | None
    train_accuracy: float | None
    train_loss: float | None
    penalty: float | None = None
    network: str | None = field(default=None, metadata=INTERNAL)

    @property
    def diverged(self) -> bool:
        """Whether training it ended in numbers that are not finite; a finished version never did."""
        return self.finished_at is None and self.stopped == _DIVERGED


_DIVERGED = "diverged"
"""In ``stopped`` of a version that is not finished; NULL there means that its training was killed, or is at work."""

_SELECT = """
    SELECT m.*, p.version AS parent_version,
           (SELECT count(*) FROM model_label AS l WHERE l.model = m.id) AS labels
    FROM model_version AS m LEFT JOIN model_version AS p ON p.id = m.parent
"""


def history(connection: Connection) -> list[ModelVersion]:
    """Finished versions, oldest first."""
    return [_version(r) for r in connection.execute(f"{_SELECT} WHERE m.finished_at IS NOT NULL ORDER BY m.id")]


def newest(connection: Connection) -> ModelVersion | None:
    """The newest finished version."""
    row = connection.execute(f"{_SELECT} WHERE m.finished_at IS NOT NULL ORDER BY m.id DESC LIMIT 1").fetchone()
    return None if row is None else _version(row)


def unfinished(connection: Connection) -> ModelVersion | None:
    """The version a killed ``train`` left behind."""
    row = connection.execute(f"{_SELECT} WHERE m.finished_at IS NULL ORDER BY m.id DESC LIMIT 1").fetchone()
    return None if row is None else _version(row)


def begin(
    connection: Connection,
    *,
    parent: int | None,
    classes: int,
    labels: Mapping[int, int],
    labels_digest: str,
    fingerprint: str,
    seed: int,
    threads: int,
    device: str,
    network: str | None = None,
) -> ModelVersion:
    """Start a version: from now on a killed ``train`` finds it and continues.

    ``network``: what its head stands on, as JSON; None where all of it is trained.
    """
    number = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM model_version").fetchone()[0]
    connection.execute(
        "INSERT INTO model_version (id, version, parent, classes, labels_digest, fingerprint, seed, threads, device,"
        " started_at, network) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, f"m-{number:04d}", parent, classes, labels_digest, fingerprint, seed, threads, device, now(), network),
    )
    connection.executemany(
        "INSERT INTO model_label (model, sample, class) VALUES (?, ?, ?)",
        [(number, sample, label) for sample, label in labels.items()],
    )
    started = unfinished(connection)
    assert started is not None
    return started


def abandon(connection: Connection, version: ModelVersion) -> None:
    """Forget an unfinished version: labels or settings changed under it."""
    connection.execute("DELETE FROM model_version WHERE id = ? AND finished_at IS NULL", (version.key,))


def mark_diverged(connection: Connection, version: ModelVersion) -> None:
    """Remember why a version is unfinished, until its training starts again."""
    _set_stopped(connection, version, _DIVERGED)


def begin_again(connection: Connection, version: ModelVersion) -> None:
    """An unfinished version is trained on: how its training ended before does not count any more."""
    _set_stopped(connection, version, None)


def _set_stopped(connection: Connection, version: ModelVersion, reason: str | None) -> None:
    connection.execute(
        "UPDATE model_version SET stopped = ? WHERE id = ? AND finished_at IS NULL", (reason, version.key)
    )


def finish(
    connection: Connection,
    version: ModelVersion,
    *,
    epochs: int,
    converged: bool,
    stopped: str,
    train_accuracy: float,
    train_loss: float,
    penalty: float | None = None,
) -> None:
    """Make a version the newest one; its files must already be complete. ``penalty``: of a frozen network's head."""
    connection.execute(
        "UPDATE model_version SET finished_at = ?, epochs = ?, converged = ?, stopped = ?, train_accuracy = ?,"
        " train_loss = ?, penalty = ? WHERE id = ? AND finished_at IS NULL",
        (now(), epochs, converged, stopped, train_accuracy, train_loss, penalty, version.key),
    )


def seen_labels(connection: Connection, version: ModelVersion) -> dict[int, int]:
    """The labels a version was trained on (S): sample key → class position, readable samples only."""
    rows = connection.execute(
        "SELECT l.sample, l.class FROM model_label AS l JOIN sample AS s ON s.id = l.sample"
        " WHERE l.model = ? AND s.quarantine IS NULL ORDER BY s.sample_id",
        (version.key,),
    )
    return {row["sample"]: row["class"] for row in rows}


def seen_labels_today(connection: Connection, version: ModelVersion) -> dict[int, int]:
    """The same, with the class that each counts as today: for whoever trains another model on them."""
    counted = classes.counted_as(connection)
    return {sample: counted[label] for sample, label in seen_labels(connection, version).items()}


def newer_labels(connection: Connection, version: ModelVersion) -> int:
    """How many readable training samples have another effective label than the version saw.

    An image that went into quarantine since does not count: one lost file must not stop a cron job.
    """
    new_or_changed = connection.execute(
        "SELECT count(*) FROM answer AS a JOIN sample AS s ON s.id = a.sample"
        " LEFT JOIN model_label AS l ON l.model = ? AND l.sample = a.sample"
        " WHERE a.state = 'labeled' AND s.purpose = 'training' AND s.quarantine IS NULL"
        " AND (l.class IS NULL OR l.class <> a.class)",
        (version.key,),
    ).fetchone()[0]
    withdrawn = connection.execute(
        "SELECT count(*) FROM model_label AS l JOIN sample AS s ON s.id = l.sample"
        " LEFT JOIN answer AS a ON a.sample = l.sample"  # none: its only vote was taken back
        " WHERE l.model = ? AND s.quarantine IS NULL AND coalesce(a.state, '') <> 'labeled'"
        " AND NOT EXISTS (SELECT 1 FROM auto_label AS t WHERE t.sample = l.sample AND t.class = l.class)",
        (version.key,),
    ).fetchone()[0]
    return int(new_or_changed) + int(withdrawn)


def _version(row: Row) -> ModelVersion:
    return ModelVersion(
        key=row["id"],
        version=row["version"],
        parent=row["parent_version"],
        classes=row["classes"],
        labels=row["labels"],
        labels_digest=row["labels_digest"],
        fingerprint=row["fingerprint"],
        seed=row["seed"],
        threads=row["threads"],
        device=row["device"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        epochs=row["epochs"],
        converged=None if row["converged"] is None else bool(row["converged"]),
        stopped=row["stopped"],
        train_accuracy=row["train_accuracy"],
        train_loss=row["train_loss"],
        penalty=row["penalty"],
        network=row["network"],
    )
