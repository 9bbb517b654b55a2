"""Random histories of registering, issuing, answering and releasing: what must hold after every step."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pools_of_samples import pool, record

from dalcli.data.identity import sample_id
from dalcli.state import batches, catalog, files, ledger
from dalcli.state.batches import BatchOptions, BatchRow
from dalcli.state.catalog import STATES
from dalcli.state.files import FileRecord, Registration
from dalcli.state.ledger import Vote

CONTENTS = st.integers(1, 6)
PATHS = st.integers(1, 5).map(lambda number: f"photos/{number}.png")


class Loop(RuleBasedStateMachine):
    """The database beside a model in dictionaries and sets."""

    @initialize()
    def begin(self) -> None:
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.database = self.stack.enter_context(pool(Path(folder)))
        self.holds: dict[str, int | None] = {}  # path → content it is believed to hold
        self.unreadable: set[str] = set()
        self.votes: dict[int, dict[str, int | None]] = {}
        self.batches: dict[str, dict[int, str]] = {}  # batch → content → out, answered, released
        self.ever_used: set[int] = set()
        self.exists: set[int] = set()

    def teardown(self) -> None:
        self.stack.close()

    @rule(path=PATHS, content=CONTENTS)
    def register(self, path: str, content: int) -> None:
        with self.database.write() as connection:
            files.register(connection, [record(content, path)], 0.0, Registration())
        before = self.holds.get(path)
        self.holds[path] = content
        self.unreadable.discard(path)
        self.exists.add(content)
        if before is not None and before not in self.holds.values() and before not in self.ever_used:
            self.exists.discard(before)

    @rule(path=PATHS)
    def cannot_read(self, path: str) -> None:
        with self.database.write() as connection:
            files.register(connection, [FileRecord(path, None, problem="gone")], 0.0, Registration())
        self.holds.setdefault(path, None)
        self.unreadable.add(path)

    @rule(budget=st.integers(1, 5))
    def issue(self, budget: int) -> None:
        with self.database.write() as connection:
            images = catalog.eligible(connection, "training")[:budget]
            assert {image.sample_id for image in images} <= {self._id(content) for content in self._unlabeled()}
            if not images:
                assert not self._unlabeled()
                return
            assert catalog.still_eligible(connection, "training", images)
            name = batches.next_id(connection)
            rows = [BatchRow(n, image.key, None, None, None, "random", "active") for n, image in enumerate(images, 1)]
            batches.issue(
                connection,
                name,
                rows,
                b"x",
                options=BatchOptions({}, {}),
                purpose="training",
                requested=budget,
                model=None,
                key=None,
            )
            assert not catalog.still_eligible(connection, "training", images)
        contents = {self._id(content): content for content in self.exists}
        self.batches[name] = {contents[image.sample_id]: "out" for image in images}
        self.ever_used |= set(self.batches[name])

    @rule(content=CONTENTS, annotator=st.sampled_from(["", "ann"]), label=st.one_of(st.none(), st.integers(0, 2)))
    def answer(self, content: int, annotator: str, label: int | None) -> None:
        if content not in self.exists:
            return
        with self.database.write() as connection:
            key = connection.execute("SELECT id FROM sample WHERE sample_id = ?", (self._id(content),)).fetchone()["id"]
            ledger.record(connection, [Vote(key, label, annotator, "f", 1)], "replace")
        self.votes.setdefault(content, {})[annotator] = label
        self.ever_used.add(content)
        for rows in self.batches.values():
            if content in rows:
                rows[content] = "answered"

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if not self.batches:
            return
        name = data.draw(st.sampled_from(sorted(self.batches)))
        with self.database.write() as connection:
            batch = batches.get(connection, name)
            assert batch is not None
            released = batches.release(connection, batch)
        rows = self.batches[name]
        out = [content for content, state in rows.items() if state == "out"]
        assert released == len(out)
        rows.update(dict.fromkeys(out, "released"))

    @invariant()
    def every_sample_is_in_the_one_state_it_should_be_in(self) -> None:
        with self.database.read() as connection:
            entries = list(catalog.entries(connection))
            counts = catalog.count_states(connection)
        assert {entry.sample_id: entry.state for entry in entries} == {
            self._id(content): self._state(content) for content in self.exists
        }
        assert len(entries) == len({entry.sample_id for entry in entries})
        total = counts["training"] + counts["evaluation"]
        assert set(total) <= set(STATES)
        for state in STATES:
            assert total[state] == sum(entry.state == state for entry in entries)

    @invariant()
    def batches_are_open_as_long_as_something_is_out(self) -> None:
        with self.database.read() as connection:
            found = {batch.batch_id: batch for batch in batches.listing(connection)}
            still_open = {batch.batch_id for batch in batches.open_batches(connection)}
            states = {name: [row.state for row in batches.rows(connection, batch)] for name, batch in found.items()}
        assert set(found) == set(self.batches)
        for name, rows in self.batches.items():
            batch = found[name]
            expected = [list(rows.values()).count(state) for state in ("answered", "released", "out")]
            assert [batch.answered, batch.released, batch.outstanding] == expected
            assert sum(expected) == batch.issued == len(rows)
            assert sorted(states[name]) == sorted(rows.values())
            assert batch.open == (name in still_open) == (batch.outstanding > 0)

    @invariant()
    def nothing_is_out_twice(self) -> None:
        with self.database.read() as connection:
            out = [row["sample"] for row in connection.execute("SELECT sample FROM in_flight")]
        assert len(out) == len(set(out))

    def _id(self, content: int) -> str:
        return sample_id(str(content).encode())

    def _state(self, content: int) -> str:
        places = [path for path, held in self.holds.items() if held == content]
        if all(path in self.unreadable for path in places):
            return "quarantined"
        if content in self.votes:
            said = set(self.votes[content].values()) - {None}
            return "skipped" if not said else "labeled" if len(said) == 1 else "disputed"
        return "in flight" if any(rows.get(content) == "out" for rows in self.batches.values()) else "unlabeled"

    def _unlabeled(self) -> set[int]:
        return {content for content in self.exists if self._state(content) == "unlabeled"}


TestLoop = Loop.TestCase
TestLoop.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
