"""The database is migrated on opening, once, and never by an older program."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from dalcli.errors import DalcliError
from dalcli.scores.settings import GradientSettings, TableSettings
from dalcli.state import database as module
from dalcli.state import scores
from dalcli.state.database import Database
from dalcli.state.scores import ScoreFile, TableRow


def schema(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()
        return [version, *connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")]
    finally:
        connection.close()


def test_a_fresh_database_has_the_whole_schema(tmp_path: Path) -> None:
    Database(tmp_path / "state.db").close()
    found = schema(tmp_path / "state.db")
    assert found[0] == (len(module._scripts()),)
    assert {"sample", "file", "vote", "batch", "batch_row", "model_version"} <= {row[1] for row in found[1:]}


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    Database(tmp_path / "state.db").close()
    before = schema(tmp_path / "state.db")
    Database(tmp_path / "state.db").close()
    assert schema(tmp_path / "state.db") == before


def test_only_new_migrations_are_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"
    monkeypatch.setattr(module, "_scripts", lambda: ["CREATE TABLE one (x);"])
    Database(path).close()
    monkeypatch.setattr(module, "_scripts", lambda: ["CREATE TABLE one (x);", "CREATE TABLE two (x)"])
    Database(path).close()
    assert {row[1] for row in schema(path)[1:]} == {"one", "two"}


def test_a_migration_happens_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"
    monkeypatch.setattr(module, "_scripts", lambda: ["CREATE TABLE one (x);\nCREATE TABLE one (y);"])
    with pytest.raises(sqlite3.OperationalError):
        Database(path)
    assert schema(path) == [(0,)]


def test_what_a_batch_was_asked_with_becomes_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, scripts = tmp_path / "state.db", module._scripts()
    monkeypatch.setattr(module, "_scripts", lambda: scripts[:2])
    typed = [
        '{"budget": null, "gamma": Infinity, "purpose": "training", "strategy": null}',
        '{"purpose": "evaluation"}',
    ]
    effective = ['{"budget": 3, "gamma": Infinity, "note": "a\\nb;"}', '{"budget": 2}']
    with Database(path) as database, database.write() as connection:
        connection.executemany(
            "INSERT INTO batch (batch_id, options, purpose, requested, after_vote, csv, issued_at)"
            " VALUES (?, ?, 'training', 3, 0, x'00', 'then')",
            [(f"b-000{n}", f"{typed[n]}\n{effective[n]}") for n in (0, 1)],
        )
    monkeypatch.setattr(module, "_scripts", lambda: scripts)
    with Database(path) as database, database.read() as connection:
        found = connection.execute("SELECT options FROM batch ORDER BY batch_id").fetchall()
    for (text,), as_typed, in_effect in zip(found, typed, effective, strict=True):
        assert json.loads(text) == {"typed": json.loads(as_typed), "effective": json.loads(in_effect)}
        assert text == json.dumps(json.loads(text), sort_keys=True)  # as it would be written today


PLAIN = "0123456789abcdef"
OLD_TABLES = {
    1: PLAIN,
    2: f"{PLAIN} sketch=64:7",
    3: f"{PLAIN} prescreen=0.3:inf",
    4: f"{PLAIN} mc=20:9223372036854775807",
    5: f"{PLAIN} sketch=64:7 prescreen=0.3:2.0 mc=20:5",
    6: PLAIN[::-1],
}
"""What score tables were made with, by model, as the programs up to schema 3 wrote it; 6 has no shard yet."""


@pytest.mark.parametrize("version", [1, 2, 3])
def test_plain_score_tables_become_tables_with_two_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    path, scripts = tmp_path / "state.db", module._scripts()
    monkeypatch.setattr(module, "_scripts", lambda: scripts[:version])
    with Database(path) as database, database.write() as connection:
        for model, made in OLD_TABLES.items():
            connection.execute(
                "INSERT INTO model_version (id, version, classes, labels_digest, fingerprint, seed, threads, device,"
                " started_at) VALUES (?, ?, 2, 'd', 'f', 0, 1, 'cpu', 'then')",
                (model, f"m-000{model}"),
            )
            connection.execute("INSERT INTO score_table VALUES (?, ?, ?, 'then')", (model, 100 + model, made))
            connection.executemany(
                "INSERT INTO score_shard VALUES (?, ?, ?, ?, ?)",
                [(model, n, f"shard-0000{n}.safetensors", 10 - n, n + 0.5) for n in (3, 0, 1) if model != 6],
            )
    monkeypatch.setattr(module, "_scripts", lambda: scripts)
    with Database(path) as database, database.write() as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        found = {model: scores.table(connection, model) for model in OLD_TABLES}
        assert [model for model, row in found.items() if row is not None] == [1, 6]
        for model, row in found.items():
            if row is not None:
                assert row.micro_batch == 100 + model
                assert TableSettings.parse(row.settings) == TableSettings(
                    pixels=OLD_TABLES[model], gradients=GradientSettings()
                )
        both = frozenset({"predictions", "gradients"})
        assert scores.files(connection, 1) == [
            ScoreFile(n, f"shard-0000{n}.safetensors", both, 10 - n, n + 0.5) for n in (0, 1, 3)
        ]
        assert {row["model"] for row in connection.execute("SELECT model FROM score_file")} == {1}
        assert connection.execute("SELECT count(*) FROM model_version").fetchone()[0] == len(OLD_TABLES)
        scores.begin(connection, 1, TableRow(8, "{}"))  # a table takes its files with it
        assert scores.files(connection, 1) == []


def test_a_migrated_database_is_built_like_a_fresh_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = module._scripts()
    Database(tmp_path / "fresh.db").close()
    for version in range(1, len(scripts)):
        path = tmp_path / f"{version}.db"
        monkeypatch.setattr(module, "_scripts", lambda version=version: scripts[:version])
        Database(path).close()
        monkeypatch.setattr(module, "_scripts", lambda: scripts)
        Database(path).close()
        assert schema(path) == schema(tmp_path / "fresh.db")


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Database(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DalcliError, match="newer dalcli") as caught:
        Database(path)
    assert "upgrade" in str(caught.value.remedy)


def test_a_damaged_database_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(DalcliError, match="damaged"):
        Database(tmp_path / "state.db")


def test_foreign_keys_are_enforced(tmp_path: Path) -> None:
    with (
        Database(tmp_path / "state.db") as database,
        pytest.raises(sqlite3.IntegrityError),
        database.write() as connection,
    ):
        connection.execute(
            "INSERT INTO vote (sample, annotator, file, line, recorded_at) VALUES (1, '', 'f', 1, 'now')"
        )


def test_an_exception_rolls_a_write_back(tmp_path: Path) -> None:
    with Database(tmp_path / "state.db") as database:
        with pytest.raises(RuntimeError), database.write() as connection:
            connection.execute("INSERT INTO meta VALUES ('a', 'b')")
            raise RuntimeError
        with database.read() as connection:
            assert connection.execute("SELECT * FROM meta").fetchall() == []


def test_a_read_is_one_moment(tmp_path: Path) -> None:
    with Database(tmp_path / "state.db") as reader, Database(tmp_path / "state.db") as writer:
        with reader.read() as connection:
            assert connection.execute("SELECT count(*) FROM meta").fetchone()[0] == 0
            with writer.write() as other:
                other.execute("INSERT INTO meta VALUES ('a', 'b')")
            assert connection.execute("SELECT count(*) FROM meta").fetchone()[0] == 0
        with reader.read() as connection:
            assert connection.execute("SELECT count(*) FROM meta").fetchone()[0] == 1
