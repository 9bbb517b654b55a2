"""Which images are to be labeled, kept in memory: read again only when another process has changed the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dalcli.labeling.request import Guesses
from dalcli.state import batches, labeling
from dalcli.state.database import Connection
from dalcli.state.labeling import Disputed, HandedOut, Opinion


@dataclass(frozen=True)
class Task:
    """An image that somebody is asked about; ``guess`` is a class position, ``opinions`` are votes to look at again."""

    sample: int
    sample_id: str
    batch: int | None = None
    batch_id: str = ""
    guess: int | None = None
    confidence: float | None = None
    opinions: tuple[Opinion, ...] = ()


class Work(Protocol):
    """What is to be done; ``tasks`` are all images, by sample key, that this run may show, answered ones included."""

    tasks: dict[int, Task]

    def read(self, connection: Connection) -> None:
        """Take everything from the database anew."""

    def read_again(self, connection: Connection, sample: int) -> None:
        """Take one sample's part of it anew."""

    def waiting(self, annotator: str) -> Iterator[Task]:
        """What an annotator could be asked now, in order."""

    def is_waiting(self, sample: int, annotator: str) -> bool:
        """Whether the annotator is still to be asked about this sample."""

    def answered(self, connection: Connection, task: Task, label: int | None) -> None:
        """Take note of an answer that was just recorded."""

    def progress(self, annotator: str) -> tuple[int, int]:
        """How many images are done, and how many there are."""

    def guesses(self) -> Guesses:
        """How the model's guesses fare."""


class BatchWork:
    """The rows of batches: of one, or of all that are or become open while this runs."""

    def __init__(self, close_at: float, only: int | None = None) -> None:
        self.tasks: dict[int, Task] = {}
        self.batches: set[int] = set() if only is None else {only}
        self._only = only
        self._close_at = close_at
        self._out: dict[int, Task] = {}
        self._done: set[int] = set()
        self._right: dict[int, bool] = {}
        self._issued: Counter[int] = Counter()
        self._answered: Counter[int] = Counter()

    def read(self, connection: Connection) -> None:
        """Batches that were open once stay: a late answer to a released image is accepted, as from a file."""
        if self._only is None:
            self.batches |= {batch.key for batch in batches.open_batches(connection)}
        rows = labeling.handed_out(connection, self.batches)
        self.tasks, self._out, self._right, self._done = {}, {}, {}, set()
        for row in rows:
            self._sort(row)
        self._issued = Counter(row.batch for row in rows)
        self._answered = Counter(row.batch for row in rows if row.state == "answered")

    def read_again(self, connection: Connection, sample: int) -> None:
        for row in labeling.handed_out(connection, self.batches, sample):
            before = sample in self._done
            self._sort(row)
            self._answered[row.batch] += (sample in self._done) - before
        order = {key: place for place, key in enumerate(self.tasks)}
        self._out = dict(sorted(self._out.items(), key=lambda entry: order[entry[0]]))

    def _sort(self, row: HandedOut) -> None:
        """An image that was released may have been issued again: of the rows of one sample, the last one counts."""
        task = Task(row.sample, row.sample_id, row.batch, row.batch_id, row.guess, row.confidence)
        self.tasks[task.sample] = task
        self._out.pop(task.sample, None)
        self._right.pop(task.sample, None)
        self._done.discard(task.sample)
        if row.state == "out":
            self._out[task.sample] = task
        elif row.state == "answered":
            self._done.add(task.sample)
        if row.label is not None and row.guess is not None:
            self._right[task.sample] = row.label == row.guess

    def waiting(self, annotator: str) -> Iterator[Task]:
        return iter(self._out.values())

    def is_waiting(self, sample: int, annotator: str) -> bool:
        return sample in self._out

    def answered(self, connection: Connection, task: Task, label: int | None) -> None:
        if label is None or task.guess is None:
            self._right.pop(task.sample, None)
        else:
            self._right[task.sample] = label == task.guess
        self._done.add(task.sample)
        if self._out.pop(task.sample, None) is not None and task.batch is not None:
            self._answered[task.batch] += 1
            self._close(connection, task)

    def _close(self, connection: Connection, task: Task) -> None:
        """Release the rest of a batch of which enough is answered, as ``ingest-labels`` does."""
        assert task.batch is not None
        if self._answered[task.batch] < self._close_at * self._issued[task.batch] - 1e-9:
            return
        batch = batches.get(connection, task.batch_id)
        if batch is not None and batch.open and batch.reaches(self._close_at):
            batches.release(connection, batch)
            self.read(connection)

    def progress(self, annotator: str) -> tuple[int, int]:
        return len(self._done), len(self._done) + len(self._out)

    def guesses(self) -> Guesses:
        return Guesses(len(self._right), sum(self._right.values()))


class RelabelWork:
    """Samples that annotators disagree about. Who voted last has seen all others, and is not asked again."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self._disputed: dict[int, Task] = {}

    def read(self, connection: Connection) -> None:
        self._disputed = {each.sample: _disputed(each) for each in labeling.disputed(connection)}
        self.tasks |= self._disputed

    def read_again(self, connection: Connection, sample: int) -> None:
        found = labeling.disputed(connection, sample)
        if not found:
            self._disputed.pop(sample, None)
        for each in found:
            self.tasks[sample] = self._disputed[sample] = _disputed(each)

    def waiting(self, annotator: str) -> Iterator[Task]:
        return (task for task in self._disputed.values() if self._asks(task, annotator))

    def is_waiting(self, sample: int, annotator: str) -> bool:
        return sample in self._disputed and self._asks(self._disputed[sample], annotator)

    def _asks(self, task: Task, annotator: str) -> bool:
        return task.opinions[-1].annotator != annotator

    def answered(self, connection: Connection, task: Task, label: int | None) -> None:
        self.read_again(connection, task.sample)

    def progress(self, annotator: str) -> tuple[int, int]:
        return len(self.tasks) - sum(1 for _ in self.waiting(annotator)), len(self.tasks)

    def guesses(self) -> Guesses:
        return Guesses(0, 0)


def _disputed(found: Disputed) -> Task:
    return Task(found.sample, found.sample_id, opinions=found.opinions)
