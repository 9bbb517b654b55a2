"""Which score shards of a model version are complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.state.database import Connection, now


@dataclass(frozen=True)
class ScoreShard:
    """One complete result file."""

    ordinal: int
    file: str
    samples: int
    seconds: float


def begin(connection: Connection, model: int, micro_batch: int, fingerprint: str) -> int:
    """Open a version's score table, or return the micro-batch an earlier run recorded for it.

    A table made with other settings (another image size, say) is forgotten: its numbers would not compare.
    """
    row = connection.execute("SELECT micro_batch, fingerprint FROM score_table WHERE model = ?", (model,)).fetchone()
    if row is not None and row["fingerprint"] == fingerprint:
        return int(row["micro_batch"])
    connection.execute("DELETE FROM score_table WHERE model = ?", (model,))
    connection.execute(
        "INSERT INTO score_table (model, micro_batch, fingerprint, started_at) VALUES (?, ?, ?, ?)",
        (model, micro_batch, fingerprint, now()),
    )
    return micro_batch


def fingerprint(connection: Connection, model: int) -> str | None:
    """The settings a version was scored with, if it was."""
    row = connection.execute("SELECT fingerprint FROM score_table WHERE model = ?", (model,)).fetchone()
    return None if row is None else str(row["fingerprint"])


def micro_batch(connection: Connection, model: int) -> int | None:
    """How many samples at once a version's score table was begun with, if there is one."""
    row = connection.execute("SELECT micro_batch FROM score_table WHERE model = ?", (model,)).fetchone()
    return None if row is None else int(row["micro_batch"])


def shards(connection: Connection, model: int) -> list[ScoreShard]:
    """Complete shards of a version, in order."""
    rows = connection.execute(
        "SELECT ordinal, file, samples, seconds FROM score_shard WHERE model = ? ORDER BY ordinal", (model,)
    )
    return [ScoreShard(row["ordinal"], row["file"], row["samples"], row["seconds"]) for row in rows]


def add_shard(connection: Connection, model: int, shard: ScoreShard) -> None:
    """Record a shard whose file is complete."""
    connection.execute(
        "INSERT INTO score_shard (model, ordinal, file, samples, seconds) VALUES (?, ?, ?, ?, ?)",
        (model, shard.ordinal, shard.file, shard.samples, shard.seconds),
    )


def forget(connection: Connection, model: int, ordinals: Sequence[int]) -> None:
    """Drop shards whose files are gone or damaged; they will be scored again."""
    connection.executemany(
        "DELETE FROM score_shard WHERE model = ? AND ordinal = ?", [(model, ordinal) for ordinal in ordinals]
    )
