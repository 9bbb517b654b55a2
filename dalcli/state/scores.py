"""Which score files of a model version are complete, and what they were made with."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.state.database import Connection, now


@dataclass(frozen=True)
class ScoreFile:
    """One complete file: ``contents``, the groups of columns that count in it, of the samples of one shard."""

    ordinal: int
    file: str
    contents: frozenset[str]
    samples: int
    seconds: float


@dataclass(frozen=True)
class TableRow:
    """What a version's score table was begun with: ``settings`` is a JSON object that :mod:`dalcli.scores` reads."""

    micro_batch: int
    settings: str


def table(connection: Connection, model: int) -> TableRow | None:
    """The version's score table, if one was begun."""
    row = connection.execute("SELECT micro_batch, settings FROM score_table WHERE model = ?", (model,)).fetchone()
    return None if row is None else TableRow(row["micro_batch"], row["settings"])


def begin(connection: Connection, model: int, row: TableRow) -> None:
    """A version's score table from nothing; one that was there is forgotten with all its files."""
    connection.execute("DELETE FROM score_table WHERE model = ?", (model,))
    connection.execute(
        "INSERT INTO score_table (model, micro_batch, settings, started_at) VALUES (?, ?, ?, ?)",
        (model, row.micro_batch, row.settings, now()),
    )


def change(connection: Connection, model: int, settings: str) -> None:
    """The table is made with other ``settings`` from now on; its files stay."""
    connection.execute("UPDATE score_table SET settings = ? WHERE model = ?", (settings, model))


def files(connection: Connection, model: int) -> list[ScoreFile]:
    """Complete files of a version, shard by shard."""
    rows = connection.execute(
        "SELECT ordinal, file, contents, samples, seconds FROM score_file WHERE model = ? ORDER BY ordinal, rowid",
        (model,),
    )
    return [
        ScoreFile(r["ordinal"], r["file"], frozenset(json.loads(r["contents"])), r["samples"], r["seconds"])
        for r in rows
    ]


def add(connection: Connection, model: int, file: ScoreFile) -> None:
    """Record a file that is complete."""
    connection.execute(
        "INSERT INTO score_file (model, ordinal, file, contents, samples, seconds) VALUES (?, ?, ?, ?, ?, ?)",
        (model, file.ordinal, file.file, json.dumps(sorted(file.contents)), file.samples, file.seconds),
    )


def replace(connection: Connection, model: int, before: Sequence[ScoreFile], after: Sequence[ScoreFile]) -> None:
    """Of the files ``before`` only those of ``after`` count: fewer of them, or with fewer contents."""
    gone = [file for file in before if file not in after]
    connection.executemany(
        "DELETE FROM score_file WHERE model = ? AND ordinal = ? AND file = ?",
        [(model, file.ordinal, file.file) for file in gone],
    )
    for file in after:
        if file not in before:
            add(connection, model, file)
