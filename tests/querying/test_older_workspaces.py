"""What an earlier program issued is known to this one: the state is migrated, the batches stay what they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from dalcli_runner import message, ok, run
from older_schemas import put_back
from workspaces import ask, make

EFFECTIVE = '{"budget": 3, "gamma": 2.0, "purpose": "training", "strategy": "dynamical"}'
OPTIONS = {
    "b-0001": f'{{"budget": 3, "gamma": null, "purpose": "training", "strategy": null}}\n{EFFECTIVE}',
    "b-0002": f'{{"budget": null, "gamma": 2.0, "purpose": "training", "strategy": "dynamical"}}\n{EFFECTIVE}',
    "b-0003": '{"budget": 2, "gamma": null, "purpose": "evaluation", "strategy": null}\n'
    '{"budget": 2, "purpose": "evaluation"}',
}
"""As the program with schema 2 wrote them."""

NEW = ("query", "--new", "--key", "monday", "--strategy", "dynamical", "--gamma", "2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace of schema 2 with three batches."""
    made = make(tmp_path / "work", 40, reserve=0.3, config="query: {strategy: dynamical, budget: 3}\n")
    ok(made, "query", "--budget", "3")
    ok(made, *NEW)
    ok(made, "query", "--budget", "2", "--purpose", "evaluation")
    put_back(made / ".dalcli" / "state.db", 2)
    with closing(sqlite3.connect(made / ".dalcli" / "state.db")) as connection, connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        for batch, options in OPTIONS.items():
            connection.execute("UPDATE batch SET options = ? WHERE batch_id = ?", (options, batch))
    return made


def printed(root: Path, batch: str) -> bytes:
    [(csv,)] = ask(root, f"SELECT csv FROM batch WHERE batch_id = '{batch}'")
    assert isinstance(csv, bytes)
    return csv


def test_its_open_batches_are_printed_again(root: Path) -> None:
    evaluation = ok(root, "query", "--budget", "2", "--purpose", "evaluation")
    assert evaluation.out == printed(root, "b-0003")
    (root / "dalcli.yaml").write_text("evaluation: {reserve: 0.3}\nquery: {strategy: margin}\n")
    assert ok(root, "batch", "release", "b-0002").code == 0
    as_typed = ok(root, "query", "--budget", "3")
    in_effect = ok(root, "query", "--budget", "3", "--strategy", "dynamical", "--gamma", "2")
    assert as_typed.out == in_effect.out == printed(root, "b-0001")
    assert len(ask(root, "SELECT * FROM batch")) == 3


def test_other_options_are_other_options_still(root: Path) -> None:
    refused = run(root, "query", "--budget", "4")
    assert refused.code == 5
    assert "b-0002" in message(refused)[0]


def test_its_keys_name_the_same_batches(root: Path) -> None:
    assert ok(root, *NEW).out == printed(root, "b-0002")
    assert ok(root, *NEW, "--budget", "3").out == printed(root, "b-0002")  # the same in effect
    refused = run(root, *NEW, "--budget", "4")
    assert refused.code == 2
    assert "b-0002, which was asked with other options" in message(refused)[0]
    assert len(ask(root, "SELECT * FROM batch")) == 3
