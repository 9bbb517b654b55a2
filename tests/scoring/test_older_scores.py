"""What an earlier program scored is not scored again: its plain tables are taken over, those with extras made anew."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from older_schemas import put_back
from workspaces import ask, dump

from dalcli.scores.settings import GradientSettings, TableSettings
from dalcli.state import database
from dalcli.state.database import Database
from tests.scoring.test_columns_on_demand import columns, files, passes
from tests.scoring.test_score_shards import folder_of, same_shards, times_of
from tests.small_pools import SmallPool, copied

__all__ = ["passes"]

SCHEMAS = (1, 2, 3)
QUERY = ("query", "--budget", "4", "--strategy", "dynamical")

OLD_LAYOUT = """
CREATE TABLE score_shard (
    model    INTEGER NOT NULL REFERENCES score_table (model) ON DELETE CASCADE,
    ordinal  INTEGER NOT NULL,
    file     TEXT NOT NULL,
    samples  INTEGER NOT NULL,
    seconds  REAL NOT NULL,
    PRIMARY KEY (model, ordinal)
) STRICT;
INSERT INTO score_shard SELECT model, ordinal, file, samples, seconds FROM score_file;
DROP TABLE score_file;
ALTER TABLE score_table RENAME COLUMN settings TO fingerprint;
"""


def old_text(settings: TableSettings) -> str:
    """What the program with schema 3 wrote of a table made with ``settings``."""
    made, dropout = settings.gradients, settings.dropout
    assert made is not None
    sketch = f" sketch={made.sketch}:{made.sketch_seed}" if made.sketch else ""
    prescreen = f" prescreen={made.prescreen!r}:{made.gamma!r}" if made.prescreened else ""
    masks = f" mc={dropout.samples}:{dropout.seed}" if dropout else ""
    return f"{settings.pixels}{sketch}{prescreen}{masks}"


def recorded(pool: SmallPool) -> TableSettings:
    [(text,)] = ask(pool.root, "SELECT settings FROM score_table")
    found = TableSettings.parse(str(text))
    assert found is not None
    return found


def made_old(pool: SmallPool, schema: int) -> None:
    """Give a workspace whose shards have all columns in one file each the state it would have had."""
    settings = recorded(pool)
    put_back(pool.root / ".dalcli" / "state.db", 4)
    with closing(sqlite3.connect(pool.root / ".dalcli" / "state.db")) as connection, connection:
        connection.executescript(OLD_LAYOUT)
        connection.execute("UPDATE score_table SET fingerprint = ?", (old_text(settings),))
        if schema < 3:
            for batch, text in connection.execute("SELECT id, options FROM batch").fetchall():
                parts = [json.dumps(json.loads(text)[part], sort_keys=True) for part in ("typed", "effective")]
                connection.execute("UPDATE batch SET options = ? WHERE id = ?", ("\n".join(parts), batch))
        if schema < 2:
            assert connection.execute("SELECT * FROM strategy_memory").fetchall() == []
            connection.execute("DROP TABLE strategy_memory")
        connection.execute(f"PRAGMA user_version = {schema}")


def other_rows(pool: SmallPool) -> list[str]:
    """The database but for scores, and for the number of classes that younger programs keep with a batch."""
    return [re.sub(r'"classes": \d+, ', "", line) for line in dump(pool.root) if "score_" not in line]


def layout(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_old_state_is_as_the_old_program_built_it(
    scored: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schema: int
) -> None:
    scripts = database._scripts()
    with monkeypatch.context() as patched:
        patched.setattr(database, "_scripts", lambda: scripts[:schema])
        Database(tmp_path / "old.db").close()
    made_old(scored, schema)
    assert layout(scored.root / ".dalcli" / "state.db") == layout(tmp_path / "old.db")


@pytest.mark.parametrize("schema", SCHEMAS)
def test_nothing_of_a_plain_table_is_scored_again(
    scored: SmallPool, tmp_path: Path, passes: dict[str, int], schema: int
) -> None:
    batch = scored.ok("query", "--budget", "3").out
    new = copied(scored, tmp_path / "new")
    before, times = other_rows(scored), times_of(scored)
    made_old(scored, schema)
    assert scored.json("status") == new.json("status") | {"root": str(scored.root)}
    for command in (["score"], ["score", "--full"]):
        assert scored.ok(*command) == new.ok(*command)
    assert "up to date" in scored.ok("score", "--full").err
    assert recorded(scored) == recorded(new)
    assert times_of(scored) == times
    assert passes == dict.fromkeys(passes, 0)
    # Everything else in the database is as it was: batches, versions, labels, images.
    assert other_rows(scored) == before
    assert scored.ok("query", "--budget", "3").out == batch
    assert scored.ok(*QUERY, "--new").out == new.ok(*QUERY, "--new").out
    assert passes == dict.fromkeys(passes, 0)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_table_that_an_old_program_did_not_finish_is_gone_on_with(
    scored: SmallPool, tmp_path: Path, passes: dict[str, int], schema: int
) -> None:
    new = copied(scored, tmp_path / "new")
    with closing(sqlite3.connect(scored.root / ".dalcli" / "state.db")) as connection, connection:
        connection.execute("DELETE FROM score_file WHERE ordinal >= 2")
    for path in folder_of(scored).glob("shard-0000[2-9].safetensors"):
        path.unlink()
    kept, times = files(scored), times_of(scored)
    made_old(scored, schema)
    rest = len(scored.pool()) - 16
    scored.ok("score")
    assert passes == {"score": 0, "predict": rest, "labeled_gradient": 0}
    assert scored.ok(*QUERY).out == new.ok(*QUERY).out
    assert passes == {"score": rest, "predict": rest, "labeled_gradient": 0}
    assert same_shards(scored.shards(), new.shards())
    assert {name: files(scored)[name] for name in kept} == kept
    assert {name: times_of(scored)[name] for name in times} == times


def test_other_pixels_make_another_table_still(scored: SmallPool, passes: dict[str, int]) -> None:
    made_old(scored, 3)
    scored.configure(data={"resize": "pad"})
    scored.ok("score", "--full")
    assert passes["score"] == len(scored.pool())


@pytest.mark.parametrize(
    "scoring",
    [
        pytest.param({"sketch": 16}, id="sketch"),
        pytest.param({"prescreen": 0.5}, id="prescreen"),
        pytest.param({"mc_samples": 3}, id="dropout"),
        pytest.param({"sketch": 16, "prescreen": 0.5, "mc_samples": 3}, id="all of them"),
    ],
)
def test_tables_with_extras_are_made_anew(
    trained: SmallPool, tmp_path: Path, passes: dict[str, int], scoring: dict[str, float]
) -> None:
    trained.configure(scoring=scoring)
    trained.ok("score", "--full")
    trained.ok("query", "--budget", "3", "--strategy", "random")
    new = copied(trained, tmp_path / "new")
    before = [line for line in dump(trained.root) if "score_" not in line]
    made_old(trained, 3)
    assert trained.json("status")["unscored"] == len(trained.pool())
    assert ask(trained.root, "SELECT * FROM score_table") == ask(trained.root, "SELECT * FROM score_file") == []
    assert [line for line in dump(trained.root) if "score_" not in line] == before
    passes.update(dict.fromkeys(passes, 0))
    trained.ok("score", "--full")
    assert passes["score"] > 0
    assert recorded(trained) == recorded(new)
    assert recorded(trained).gradients != GradientSettings() or recorded(trained).dropout is not None
    assert same_shards(trained.shards(), new.shards())
    assert set(times_of(trained)) == set(times_of(new))
    assert columns(trained) == columns(new)
    passes.update(dict.fromkeys(passes, 0))
    assert "up to date" in trained.ok("score", "--full").err
    assert passes == dict.fromkeys(passes, 0)


def test_a_table_whose_files_are_gone_is_not_believed(scored: SmallPool, passes: dict[str, int]) -> None:
    made_old(scored, 3)
    shutil.rmtree(folder_of(scored))
    assert scored.json("status")["unscored"] == len(scored.pool())
    scored.ok("score")
    assert passes == {"score": 0, "predict": len(scored.pool()), "labeled_gradient": 0}
