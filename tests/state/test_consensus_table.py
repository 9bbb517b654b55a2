"""The stored consensus is always what the rule makes of the votes, however they came in."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pools_of_samples import pool

from dalcli.crowd.consensus import RULES, Rule
from dalcli.state import catalog, consensus, database, ledger
from dalcli.state.consensus import InForce
from dalcli.state.database import Connection, Database
from dalcli.state.ledger import Vote

SAMPLES = 4
some_votes = st.lists(
    st.tuples(st.integers(1, SAMPLES), st.sampled_from("abcd"), st.sampled_from([None, 0, 1, 2])), max_size=8
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    with pool(tmp_path, SAMPLES) as opened:
        yield opened


def said(*answers: tuple[int, str, int | None]) -> list[Vote]:
    return [Vote(sample, label, annotator, "labels.csv", 2) for sample, annotator, label in answers]


def stored(connection: Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute("SELECT * FROM consensus ORDER BY sample")]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rule=st.sampled_from(RULES), files=st.lists(some_votes, max_size=4))
def test_votes_that_come_one_by_one_settle_what_all_at_once_settle(
    store: Database, rule: Rule, files: list[list[tuple[int, str, int | None]]]
) -> None:
    class Undo(Exception):
        pass

    with pytest.raises(Undo), store.write() as connection:
        consensus.adopt(connection, InForce(rule, 0.9))
        for answers in files:
            ledger.record(connection, said(*answers), "replace")
            found = stored(connection)
            consensus.settle(connection)
            assert stored(connection) == found
        raise Undo  # the next example starts from nothing


def state(connection: Connection, sample: int) -> tuple[str, int | None, float | None]:
    row = connection.execute("SELECT state, class, confidence FROM answer WHERE sample = ?", (sample,)).fetchone()
    return row["state"], row["class"], row["confidence"]


def test_the_rule_decides_what_is_trained_on(store: Database) -> None:
    with store.write() as connection:
        ledger.record(connection, said((1, "a", 0), (1, "b", 0), (1, "c", 1), (2, "a", 1), (2, "b", 1), (3, "a", 2)))
        assert state(connection, 1) == ("disputed", None, pytest.approx(2 / 3))
        assert state(connection, 2) == ("labeled", 1, 1.0)
        assert state(connection, 3) == ("labeled", 2, None)
        assert ledger.labels(connection, "training") == {2: 1, 3: 2}
        consensus.adopt(connection, InForce("majority", 1.0))
        assert state(connection, 1) == ("labeled", 0, pytest.approx(2 / 3))
        assert ledger.labels(connection, "training") == {1: 0, 2: 1, 3: 2}
        assert catalog.count_states(connection)["training"]["disputed"] == 0
        consensus.adopt(connection, consensus.UNANIMOUS)
        assert state(connection, 1)[0] == "disputed"


def test_a_skip_does_not_outvote_a_label_and_a_last_skip_leaves_none(store: Database) -> None:
    with store.write() as connection:
        consensus.adopt(connection, InForce("majority", 1.0))
        ledger.record(connection, said((1, "a", 0), (1, "b", None)))
        assert state(connection, 1) == ("labeled", 0, None)
        ledger.record(connection, said((1, "c", 1)))
        assert state(connection, 1) == ("disputed", None, 0.5)
        ledger.record(connection, said((1, "a", None), (1, "c", None)), "replace")
        assert state(connection, 1) == ("skipped", None, None)


def test_a_refused_file_changes_no_consensus(store: Database) -> None:
    with store.write() as connection:
        ledger.record(connection, said((1, "a", 0), (1, "b", 1)))
        before = stored(connection)
    with pytest.raises(RuntimeError), store.write() as connection:
        ledger.record(connection, said((1, "b", 0)), "replace")
        raise RuntimeError
    with store.read() as connection:
        assert stored(connection) == before


def test_disputes_of_an_earlier_schema_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Votes from before there were rules: the migration leaves what the rule of then says."""
    scripts = database._scripts()
    many_hands = next(place for place, script in enumerate(scripts) if "CREATE TABLE consensus" in script)
    with monkeypatch.context() as patched:
        patched.setattr(database, "_scripts", lambda: scripts[:many_hands])
        with Database(tmp_path / "old.db") as old, old.write() as connection:
            connection.executemany("INSERT INTO class VALUES (?, ?, 'then')", [(0, "cat"), (1, "dog")])
            connection.executemany(
                "INSERT INTO sample (id, sample_id, purpose, reserve_position, added_at)"
                " VALUES (?, ?, 'training', 0, 'then')",
                [(n, f"s-{n}") for n in (1, 2, 3)],
            )
            connection.executemany(
                "INSERT INTO vote (sample, class, annotator, file, line, recorded_at) VALUES (?, ?, ?, 'f', 2, 'then')",
                [(1, 0, "a"), (1, 1, "b"), (1, 1, "c"), (2, 1, "a"), (2, 1, "b"), (3, 0, "a"), (3, None, "b")],
            )
    with Database(tmp_path / "old.db") as migrated, migrated.write() as connection:
        found = stored(connection)
        assert found == [(1, None, 1, pytest.approx(2 / 3)), (2, 1, 1, 1.0)]
        consensus.settle(connection)
        assert stored(connection) == found


def test_what_happened_to_classes_is_append_only(store: Database) -> None:
    from dalcli.state import classes

    with store.write() as connection:
        classes.rename(connection, 0, "kitten")
    for statement in ("UPDATE class_event SET new_name = 'x'", "DELETE FROM class_event"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), store.write() as connection:
            connection.execute(statement)
