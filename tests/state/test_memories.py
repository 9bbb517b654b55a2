"""What a strategy remembers belongs to the batch it was made for: both are committed, or neither."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from dalcli.state import batches, memories
from dalcli.state import database as module
from dalcli.state.batches import BatchOptions
from dalcli.state.database import Connection, Database


def issue(connection: Connection, number: int) -> str:
    name = f"b-{number:04d}"
    options = BatchOptions({}, {})
    batches.issue(connection, name, [], b"", options=options, purpose="training", requested=1, model=None, key=None)
    return name


@pytest.fixture
def database(tmp_path: Path) -> Database:
    with Database(tmp_path / "state.db") as opened:
        yield opened


def test_the_newest_memory_of_each_strategy_counts(database: Database) -> None:
    with database.write() as connection:
        assert memories.latest(connection, "albl") is None
        memories.remember(connection, "albl", issue(connection, 1), {"weights": [1.0, 0.1], "round": 1})
        memories.remember(connection, "other", issue(connection, 2), {"é": None})
        memories.remember(connection, "albl", issue(connection, 3), {"weights": [0.1 + 0.2, 2.0], "round": 2})
    with database.read() as connection:
        assert memories.latest(connection, "albl") == {"weights": [0.1 + 0.2, 2.0], "round": 2}
        assert memories.latest(connection, "other") == {"é": None}
        assert connection.execute("SELECT count(*) FROM strategy_memory").fetchone()[0] == 2


def test_a_transaction_that_fails_leaves_the_old_memory(database: Database) -> None:
    with database.write() as connection:
        memories.remember(connection, "albl", issue(connection, 1), {"round": 1})
    with pytest.raises(RuntimeError), database.write() as connection:
        memories.remember(connection, "albl", issue(connection, 2), {"round": 2})
        raise RuntimeError
    with database.read() as connection:
        assert memories.latest(connection, "albl") == {"round": 1}
        assert [batch.batch_id for batch in batches.listing(connection)] == ["b-0001"]


def test_a_workspace_from_before_there_were_memories_gets_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, scripts = tmp_path / "old.db", module._scripts()
    with monkeypatch.context() as patch:
        patch.setattr(module, "_scripts", lambda: scripts[:1])
        with Database(path) as old, old.write() as connection:
            connection.execute(
                "INSERT INTO batch (batch_id, options, purpose, requested, after_vote, csv, issued_at) VALUES"
                " ('b-0001', '{}\n{}', 'training', 1, 0, x'00', 'then')"
            )
    assert "strategy_memory" not in _tables(path)
    with Database(path) as database, database.write() as connection:
        assert memories.latest(connection, "albl") is None
        memories.remember(connection, "albl", issue(connection, 2), {"round": 1})
        assert len(batches.listing(connection)) == 2
    assert "strategy_memory" in _tables(path)


def _tables(path: Path) -> set[str]:
    connection = sqlite3.connect(path)
    try:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        connection.close()
