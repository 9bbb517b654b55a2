"""Votes that are taken back: after any history the database says what a replay of the votes that stand says."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from pools_of_samples import pool

from dalcli.state import batches, catalog, labeling, ledger
from dalcli.state.batches import BatchOptions, BatchRow
from dalcli.state.database import Connection
from dalcli.state.ledger import Vote

SAMPLES = 3
STEPS = st.one_of(
    st.tuples(st.just("vote"), st.integers(1, SAMPLES), st.sampled_from(["ann", "bob"]), st.sampled_from([None, 0, 1])),
    st.tuples(st.just("withdraw"), st.integers(1, 12), st.just(""), st.none()),
    st.tuples(st.just("release"), st.just(0), st.just(""), st.none()),
    st.tuples(st.just("issue"), st.just(0), st.just(""), st.none()),
)


@dataclass(frozen=True)
class Said:
    """A vote of the replay."""

    vote: int
    sample: int
    annotator: str
    label: int | None


class Replay:
    """What should be, in lists and sets."""

    def __init__(self) -> None:
        self.said: list[Said] = []
        self.withdrawn: set[int] = set()
        self.batches: list[tuple[int, dict[int, bool]]] = []  # votes before it; sample → released

    def standing(self, sample: int) -> dict[str, Said]:
        votes = [said for said in self.said if said.sample == sample and said.vote not in self.withdrawn]
        return {said.annotator: said for said in votes}

    def answered(self, sample: int, after: int) -> bool:
        stands = (said for said in self.said if said.sample == sample and said.vote not in self.withdrawn)
        return any(said.vote > after for said in stands)

    def out(self) -> list[int]:
        return [
            sample
            for after, rows in self.batches
            for sample, released in rows.items()
            if not released and not self.answered(sample, after)
        ]

    def state(self, sample: int) -> str:
        labels = {said.label for said in self.standing(sample).values()}
        if labels:
            known = labels - {None}
            return "skipped" if not known else "labeled" if len(known) == 1 else "disputed"
        return "in flight" if sample in self.out() else "unlabeled"


def issue(connection: Connection, replay: Replay) -> None:
    free = [image.key for image in catalog.eligible(connection, "training")]
    assert sorted(free) == [n for n in range(1, SAMPLES + 1) if replay.state(n) == "unlabeled"]
    if not free:
        return
    rows = [BatchRow(n, key, None, None, None, "random", "active") for n, key in enumerate(free, 1)]
    batches.issue(
        connection,
        batches.next_id(connection),
        rows,
        b"",
        options=BatchOptions({}, {}),
        purpose="training",
        requested=SAMPLES,
        model=None,
        key=None,
    )
    replay.batches.append((len(replay.said), dict.fromkeys(free, False)))


def vote(connection: Connection, replay: Replay, sample: int, annotator: str, label: int | None) -> None:
    before = replay.standing(sample).get(annotator)
    ledger.record(connection, [Vote(sample, label, annotator, "f", 1)], "replace")
    if before is None or before.label != label:
        replay.said.append(Said(len(replay.said) + 1, sample, annotator, label))


def withdraw(connection: Connection, replay: Replay, number: int) -> None:
    standing = labeling.standing(connection, number)
    latest = {said.vote for sample in range(1, SAMPLES + 1) for said in replay.standing(sample).values()}
    assert (standing is not None) == (number in latest)
    if standing is not None:
        labeling.withdraw(connection, number)
        replay.withdrawn.add(number)


@settings(max_examples=40)
@given(st.lists(STEPS, max_size=25))
def test_after_any_history_only_what_stands_counts(steps: list[tuple[str, int, str, int | None]]) -> None:
    replay = Replay()
    with tempfile.TemporaryDirectory() as folder, pool(Path(folder), SAMPLES) as database:
        for what, number, annotator, label in steps:
            with database.write() as connection:
                if what == "vote":
                    vote(connection, replay, number, annotator, label)
                elif what == "withdraw":
                    withdraw(connection, replay, number)
                elif what == "issue":
                    issue(connection, replay)
                elif replay.batches:
                    batch = batches.listing(connection)[-1]
                    after, rows = replay.batches[-1]
                    for sample in rows:
                        rows[sample] = rows[sample] or not replay.answered(sample, after)
                    batches.release(connection, batch)
            with database.read() as connection:
                found = {entry.sample_id: entry.state for entry in catalog.entries(connection)}
                keys = catalog.keys_by_id(connection)
                assert {keys[name]: state for name, state in found.items()} == {
                    sample: replay.state(sample) for sample in range(1, SAMPLES + 1)
                }
                out = [row["sample"] for row in connection.execute("SELECT sample FROM in_flight")]
                assert sorted(out) == sorted(replay.out())
                assert len(out) == len(set(out))
                assert len(replay.said) == connection.execute("SELECT count(*) FROM vote").fetchone()[0]
