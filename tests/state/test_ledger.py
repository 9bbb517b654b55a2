"""The label ledger against an oracle in plain dictionaries."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pools_of_samples import NAMES, pool

from dalcli.state import catalog, ledger
from dalcli.state.ledger import Vote

Mode = Literal["refuse", "replace", "keep"]
Answer = tuple[int, str, int | None]


def vote(sample: int, label: int | None, annotator: str = "", line: int = 2) -> Vote:
    return Vote(sample=sample, label=label, annotator=annotator, file="labels.csv", line=line)


class Oracle:
    """What the ledger should say, by hand: each annotator's answers so far, per sample."""

    def __init__(self) -> None:
        self.said: dict[tuple[int, str], list[int | None]] = {}

    def record(self, answers: list[Answer], mode: Mode) -> bool:
        """False: refused, and nothing happens."""
        trial = {key: list(said) for key, said in self.said.items()}
        for sample, annotator, label in answers:
            said = trial.setdefault((sample, annotator), [])
            if not said or said[-1] is None:
                if not said or label is not None:
                    said.append(label)
            elif said[-1] != label:
                if mode == "replace":
                    said.append(label)
                elif mode == "refuse" and not (label is None and None in said):
                    return False
        self.said = {key: said for key, said in trial.items() if said}
        return True

    def states(self) -> dict[int, str]:
        return {sample: self.state(sample)[0] for sample in {sample for sample, _ in self.said}}

    def labels(self) -> dict[int, int]:
        found = {sample: self.state(sample)[1] for sample in {sample for sample, _ in self.said}}
        return {sample: label for sample, label in found.items() if label is not None}

    def state(self, sample: int) -> tuple[str, int | None]:
        latest = {said[-1] for (owner, _), said in self.said.items() if owner == sample}
        named = latest - {None}
        if not named:
            return "skipped", None
        return ("labeled", next(iter(named))) if len(named) == 1 else ("disputed", None)


answers = st.tuples(
    st.integers(1, 2), st.sampled_from(["", "ann"]), st.one_of(st.none(), st.integers(0, len(NAMES) - 1))
)
files = st.lists(st.tuples(st.lists(answers, max_size=4), st.sampled_from(["refuse", "replace", "keep"])), max_size=8)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=files)
def test_effective_labels_are_what_the_oracle_says(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[list[Answer], Mode]]
) -> None:
    oracle = Oracle()
    with pool(tmp_path_factory.mktemp("pool"), 4) as database:
        for rows, mode in history:
            accepted = oracle.record(rows, mode)
            try:
                with database.write() as connection:
                    found = ledger.record(connection, [vote(s, label, who) for s, who, label in rows], mode)
                    if found.conflicts:
                        raise LookupError
            except LookupError:
                assert not accepted
            else:
                assert accepted
            with database.read() as connection:
                assert ledger.labels(connection, "training") == oracle.labels()
                entries = {entry.sample_id: entry.state for entry in catalog.entries(connection)}
                keys = dict(connection.execute("SELECT id, sample_id FROM sample"))
                states = {key: entries[sample] for key, sample in keys.items()}
            assert states == dict.fromkeys(keys, "unlabeled") | oracle.states()


def test_counts_of_a_recording(tmp_path: Path) -> None:
    with pool(tmp_path, 4) as database, database.write() as connection:
        ledger.record(connection, [vote(1, 0), vote(2, 1), vote(3, None)])
        found = ledger.record(
            connection, [vote(1, 0), vote(2, 0), vote(3, 2), vote(4, None), vote(4, 1, "ann")], "replace"
        )
        assert (found.unchanged, found.replaced, found.recorded, found.skipped) == (1, 1, 3, 1)
        kept = ledger.record(connection, [vote(1, 2)], "keep")
        assert (kept.kept, kept.recorded) == (1, 0)
        refused = ledger.record(connection, [vote(1, 2, line=9)])
        assert [(c.before, c.before_file, c.before_line, c.vote.line) for c in refused.conflicts] == [
            (0, "labels.csv", 2, 9)
        ]


@pytest.mark.parametrize("statement", ["UPDATE vote SET class = 1", "DELETE FROM vote"])
def test_the_ledger_is_append_only(tmp_path: Path, statement: str) -> None:
    with pool(tmp_path, 1) as database:
        with database.write() as connection:
            ledger.record(connection, [vote(1, 0)])
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), database.write() as connection:
            connection.execute(statement)
        with database.read() as connection:
            assert ledger.labels(connection, "training") == {1: 0}


def test_a_digest_names_exactly_one_set_of_labels_and_classes() -> None:
    assert ledger.digest({1: 0, 2: 1}, NAMES) == ledger.digest({2: 1, 1: 0}, NAMES)
    different = {
        ledger.digest(labels, names)
        for labels, names in [({1: 0}, NAMES), ({1: 1}, NAMES), ({2: 0}, NAMES), ({1: 0}, NAMES[:2]), ({}, NAMES)]
    }
    assert len(different) == 5
