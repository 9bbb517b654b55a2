"""What votes have cost: the latest of everybody, what was handed out, and costs that were noted."""

from __future__ import annotations

from pathlib import Path

import pytest
from pools_of_samples import pool

from dalcli.state import batches, classes, ledger, spending
from dalcli.state.batches import BatchOptions, BatchRow
from dalcli.state.ledger import Vote
from dalcli.state.spending import VoteGroup


def test_votes_by_annotator_and_class(tmp_path: Path) -> None:
    with pool(tmp_path, 9) as database, database.write() as connection:
        rows = [BatchRow(rank, rank, None, None, None, "random", "active") for rank in range(1, 6)]
        batches.issue(
            connection, "b-0001", rows, b"", options=BatchOptions({}, {}), purpose="training", requested=5,
            model=None, key=None,
        )  # fmt: skip
        ledger.record(
            connection,
            [
                Vote(1, 0, "ann", "a.csv", 2, seconds=4.0),
                Vote(2, 0, "ann", "a.csv", 3, cost=0.5),
                Vote(3, None, "ann", "a.csv", 4),
                Vote(3, 1, "bob", "a.csv", 5, seconds=2.0),
                Vote(8, 0, "ann", "came with the images", 1),
                Vote(9, 0, "ann", "came with the images", 2, cost=2.0),
            ],
        )
        # Ann looks again and is paid again; without a cost the new vote is not paid a second time.
        ledger.record(connection, [Vote(2, 1, "ann", "b.csv", 2, cost=0.75)], "replace")
        ledger.record(connection, [Vote(9, 1, "ann", "b.csv", 3)], "replace")
        assert spending.votes(connection) == [
            VoteGroup("training", "ann", None, votes=1, bought=1, unpriced=1, cost=0.0, timed=0, seconds=0.0),
            VoteGroup("training", "ann", "cat", votes=2, bought=1, unpriced=1, cost=2.5, timed=1, seconds=4.0),
            VoteGroup("training", "ann", "dog", votes=2, bought=2, unpriced=0, cost=0.75, timed=0, seconds=0.0),
            VoteGroup("training", "bob", "dog", votes=1, bought=1, unpriced=1, cost=0.0, timed=1, seconds=2.0),
        ]
        assert spending.disputed_share(connection) is None
        ledger.record(connection, [Vote(1, 1, "bob", "c.csv", 2), Vote(2, 1, "bob", "c.csv", 3)])
        assert spending.disputed_share(connection) == pytest.approx(1 / 2)


def test_classes_have_the_names_of_today_and_merged_ones_do_not_differ(tmp_path: Path) -> None:
    with pool(tmp_path, 3) as database, database.write() as connection:
        ledger.record(connection, [Vote(1, 0, "ann", "a.csv", 2), Vote(1, 1, "bob", "a.csv", 3)])
        assert spending.disputed_share(connection) == 1.0
        classes.rename(connection, 0, "kitten")
        assert [group.label for group in spending.votes(connection)] == ["kitten", "dog"]
        classes.merge(connection, 0, 1)
        assert spending.disputed_share(connection) == 0.0
