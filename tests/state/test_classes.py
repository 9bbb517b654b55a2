"""Classes under new names, and merged ones, against the list that one would keep by hand."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from pools_of_samples import pool

from dalcli.state import classes, consensus, ledger
from dalcli.state.ledger import Vote


def test_a_renamed_class_is_the_same_class(tmp_path: Path) -> None:
    with pool(tmp_path, 1) as database, database.write() as connection:
        ledger.record(connection, [Vote(1, 1, "a", "f", 2)])
        classes.rename(connection, 1, "hound")
        classes.rename(connection, 1, "puppy")
        assert classes.names(connection) == ("cat", "puppy", "other")
        assert classes.founding_names(connection) == ("cat", "dog", "other")
        assert classes.spellings(connection)[1] == ("puppy", "dog", "hound")
        assert classes.positions(connection) == {"cat": 0, "puppy": 1, "dog": 1, "hound": 1, "other": 2}
        assert ledger.labels(connection, "training") == {1: 1}
        assert [event.old_name for event in classes.events(connection)] == ["dog", "hound"]
        classes.append(connection, ["dog", "cow"])  # dog is known
        assert classes.names(connection) == ("cat", "puppy", "other", "cow")


def test_a_merged_class_counts_as_the_other_through_any_chain(tmp_path: Path) -> None:
    with pool(tmp_path, 3) as database, database.write() as connection:
        votes = [Vote(1, 0, "a", "f", 2), Vote(1, 1, "b", "f", 3), Vote(2, 1, "a", "f", 4), Vote(3, 2, "a", "f", 5)]
        ledger.record(connection, votes)
        assert ledger.labels(connection, "training") == {2: 1, 3: 2}
        classes.merge(connection, 1, 0)
        consensus.settle(connection)
        assert ledger.labels(connection, "training") == {1: 0, 2: 0, 3: 2}  # they disagree no more
        classes.merge(connection, 0, 2)
        consensus.settle(connection)
        assert classes.counted_as(connection) == (2, 2, 2)
        assert set(ledger.labels(connection, "training").values()) == {2}
        assert classes.positions(connection) == {"cat": 2, "dog": 2, "other": 2}
        said = connection.execute("SELECT class FROM vote ORDER BY id").fetchall()
        assert [row["class"] for row in said] == [0, 1, 1, 2]  # as it was said


def test_to_say_the_whole_after_the_part_is_no_conflict(tmp_path: Path) -> None:
    with pool(tmp_path, 1) as database, database.write() as connection:
        ledger.record(connection, [Vote(1, 1, "a", "f", 2)])
        classes.merge(connection, 1, 0)
        assert ledger.record(connection, [Vote(1, 0, "a", "g", 2)]).unchanged == 1
        assert len(ledger.record(connection, [Vote(1, 2, "a", "g", 2)]).conflicts) == 1


def test_a_class_is_merged_once_and_never_into_itself(tmp_path: Path) -> None:
    with pool(tmp_path) as database:
        with database.write() as connection:
            classes.merge(connection, 1, 0)
        for part, whole in ((1, 2), (2, 2)):
            with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
                classes.merge(connection, part, whole)
