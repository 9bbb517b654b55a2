"""Batches: derived, never stored, facts about what is out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pools_of_samples import pool

from dalcli.state import batches, catalog, ledger, versions
from dalcli.state.batches import Batch, BatchOptions, BatchRow
from dalcli.state.database import Connection
from dalcli.state.ledger import Vote

NO_OPTIONS = BatchOptions({}, {})


def issue(connection: Connection, *keys: int, key: str | None = None) -> Batch:
    name = batches.next_id(connection)
    rows = [BatchRow(rank, sample, 0.5, 1, 0.75, "margin", "active") for rank, sample in enumerate(keys, 1)]
    batches.issue(
        connection, name, rows, b"a,b\n", options=NO_OPTIONS, purpose="training", requested=9, model=None, key=key
    )
    issued = batches.get(connection, name)
    assert issued is not None
    return issued


def answer(connection: Connection, *keys: int) -> None:
    ledger.record(connection, [Vote(sample=key, label=0, annotator="", file="f", line=1) for key in keys])


def test_issued_is_answered_released_and_outstanding(tmp_path: Path) -> None:
    with pool(tmp_path, 6) as database, database.write() as connection:
        issue(connection, 1, 2, 3, 4)
        answer(connection, 1, 6)
        assert batches.release(connection, batches.open_batches(connection)[0]) == 3
        answer(connection, 2)
        (batch,) = batches.listing(connection)
        assert (batch.issued, batch.answered, batch.released, batch.outstanding, batch.open) == (4, 2, 2, 0, False)
        assert [row.state for row in batches.rows(connection, batch)] == [
            "answered",
            "answered",
            "released",
            "released",
        ]
        assert batches.csv_bytes(connection, batch) == b"a,b\n"


def test_the_strategies_of_a_batch_are_named_once_each(tmp_path: Path) -> None:
    with pool(tmp_path, 6) as database, database.write() as connection:
        chosen = [BatchRow(n, n, None, None, None, name, "active") for n, name in enumerate(("b", "a", "b"), 1)]
        batches.issue(
            connection, "b-0001", chosen, b"", options=NO_OPTIONS, purpose="training", requested=3, model=None, key=None
        )
        batch = batches.get(connection, "b-0001")
        assert batch is not None
        assert batches.strategies(connection, batch) == ["a", "b"]
        assert batches.strategies(connection, issue(connection, 4)) == ["margin"]


def test_how_samples_came_to_be_chosen(tmp_path: Path) -> None:
    with pool(tmp_path, 8) as database, database.write() as connection:
        model = versions.begin(
            connection,
            parent=None,
            classes=1,
            labels={},
            labels_digest="",
            fingerprint="",
            seed=0,
            threads=1,
            device="",
        )

        def issued(model: int | None, *chosen: tuple[int, str, str]) -> Batch:
            rows = [BatchRow(rank, key, None, None, None, name, arm) for rank, (key, name, arm) in enumerate(chosen, 1)]
            made, name = {"options": NO_OPTIONS, "purpose": "training", "requested": 3}, batches.next_id(connection)
            batches.issue(connection, name, rows, b"", **made, model=model, key=None)
            batch = batches.get(connection, name)
            assert batch is not None
            return batch

        issued(None, (1, "random", "active"), (2, "maxherding", "active"), (3, "random", "control"))
        again = issued(model.key, (4, "margin", "active"), (5, "random", "control"), (6, "random", "control"))
        batches.release(connection, again)
        issued(model.key, (5, "margin", "active"), (7, "random", "active"))
        assert batches.origins(connection) == {
            1: "cold start", 2: "cold start", 3: "control", 4: "active", 5: "active", 6: "control", 7: "control",
        }  # fmt: skip


def test_ids_count_up_and_keys_are_unique(tmp_path: Path) -> None:
    import sqlite3

    with pool(tmp_path, 6) as database:
        with database.write() as connection:
            assert [issue(connection, n, key=k).batch_id for n, k in ((1, None), (2, "k"), (3, None))] == [
                "b-0001", "b-0002", "b-0003",
            ]  # fmt: skip
            found = batches.with_key(connection, "k")
            assert found is not None
            assert found.batch_id == "b-0002"
            assert batches.with_key(connection, "other") is None
        with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
            issue(connection, 4, key="k")


def test_holding_finds_the_batches_of_samples(tmp_path: Path) -> None:
    with pool(tmp_path, 6) as database, database.write() as connection:
        first, second = issue(connection, 1, 2), issue(connection, 3)
        assert batches.holding(connection, [2, 5]) == [first]
        assert batches.holding(connection, {1, 3}) == [first, second]
        assert batches.holding(connection, []) == []


TYPED = {"purpose": "training", "budget": 3, "strategy": None, "gamma": None}
EFFECTIVE = {"purpose": "training", "budget": 3, "strategy": "dynamical", "gamma": 2.0}


@pytest.mark.parametrize(
    ("typed", "effective", "same"),
    [
        ({}, {}, True),
        ({"budget": None}, {}, True),
        ({}, {"gamma": 0.5}, True),
        ({"budget": None}, {"gamma": 0.5}, False),
        ({"purpose": "evaluation"}, {"purpose": "evaluation"}, False),
        ({"strategy": "albl"}, {"experts": ["margin"]}, False),
    ],
)
def test_options_are_the_same_as_typed_or_in_effect(
    typed: dict[str, object], effective: dict[str, object], same: bool
) -> None:
    one, other = BatchOptions(TYPED, EFFECTIVE), BatchOptions(TYPED | typed, EFFECTIVE | effective)
    assert one.same_options(other) is other.same_options(one) is same


@pytest.mark.parametrize("gamma", [2.0, 0.1, float("inf")])
def test_options_are_stored_as_one_document(tmp_path: Path, gamma: float) -> None:
    options = BatchOptions({"gamma": None, "strategy": "größer\n"}, {"gamma": gamma, "experts": ("margin", "random")})
    with pool(tmp_path, 1) as database, database.write() as connection:
        batches.issue(
            connection, "b-0001", [], b"", options=options, purpose="training", requested=1, model=None, key=None
        )
        (stored,) = connection.execute("SELECT options FROM batch").fetchone()
        found = batches.get(connection, "b-0001")
    assert set(json.loads(stored)) == {"typed", "effective"}
    assert found is not None
    assert found.options.same_options(BatchOptions({}, options.effective))
    assert found.options.same_options(BatchOptions(options.typed, {}))


@pytest.mark.parametrize(
    ("answered", "issued", "fraction", "enough"),
    [(7, 100, 0.07, True), (6, 100, 0.07, False), (7, 10, 0.7, True), (29, 100, 0.29, True), (99, 100, 1.0, False)],
)
def test_a_fraction_is_reached_exactly(answered: int, issued: int, fraction: float, enough: bool) -> None:
    out = issued - answered
    batch = Batch(1, NO_OPTIONS, "b-0001", "training", issued, issued, answered, 0, out, True, "now", None)
    assert batch.reaches(fraction) is enough


def test_eligible_samples_are_free_readable_and_of_the_purpose(tmp_path: Path) -> None:
    with pool(tmp_path, 6) as database, database.write() as connection:
        issue(connection, 1)
        answer(connection, 2)
        catalog.quarantine(connection, {3: "gone"})
        connection.execute("UPDATE sample SET purpose = 'evaluation' WHERE id = 4")
        eligible = catalog.eligible(connection, "training")
        assert {image.key for image in eligible} == {5, 6}
        assert catalog.still_eligible(connection, "training", eligible)
        for change in (
            "UPDATE sample SET quarantine = 'gone' WHERE id = 5",
            "UPDATE sample SET quarantine = NULL, purpose = 'evaluation' WHERE id = 5",
            "UPDATE sample SET purpose = 'training', sample_id = 's-other' WHERE id = 5",
        ):
            connection.execute(change)
            assert not catalog.still_eligible(connection, "training", eligible)
