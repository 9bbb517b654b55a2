"""What the page can ask for, one call at a time: who gets which image, and what becomes of an answer.

One thread makes all calls (``clerk.py``), each within a transaction that is committed before its caller hears of it.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict

from dalcli.config.class_names import problem_with_classes
from dalcli.config.hashing import short_hash
from dalcli.labeling.leases import Leases
from dalcli.labeling.messages import Answer, Item, Reply, Said, Setup, Standing, Undo, Visit
from dalcli.labeling.request import FILE, LabelRequest, LabelResult
from dalcli.labeling.tasks import BatchWork, Task, Work
from dalcli.state import batches, classes, labeling, ledger
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection, now
from dalcli.state.ledger import Vote


class RefusedError(Exception):
    """A request that cannot be met; ``status`` is HTTP's, the text is for whoever labels."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Desk:
    """The state of one run: the work, the leases, and what was answered in it."""

    def __init__(self, request: LabelRequest, work: Work, leases: Leases | None = None) -> None:
        self._request = request
        self._work = work
        self._leases = leases or Leases()
        self._data_version: int | None = None
        self._names: tuple[str, ...] = ()
        self._classes: tuple[str, ...] = ()
        self._positions: dict[str, int] = {}
        self._by_id: dict[str, Task] = {}
        self._given: defaultdict[str, dict[int, Vote]] = defaultdict(dict)
        self._taken_back = 0

    def refresh(self, connection: Connection) -> None:
        """Notice what other processes have changed."""
        version = labeling.data_version(connection)
        if version != self._data_version:
            self._read(connection)
            self._data_version = version

    def distrust(self) -> None:
        """A transaction failed: what was noted of it in memory did not happen."""
        self._data_version = None

    def _read(self, connection: Connection) -> None:
        self._names = classes.names(connection)
        counted = classes.counted_as(connection)
        self._classes = tuple(name for place, name in enumerate(self._names) if counted[place] == place)
        self._positions = classes.positions(connection)
        self._work.read(connection)
        self._by_id = {task.sample_id: task for task in self._work.tasks.values()}
        standing = labeling.standing_votes(connection, [vote for votes in self._given.values() for vote in votes])
        for annotator, votes in self._given.items():
            self._given[annotator] = {vote: given for vote, given in votes.items() if vote in standing}

    def setup(self, connection: Connection) -> Setup:
        """What a page needs once, and again when the classes have changed."""
        return Setup(self._classes, self._classes_version(), self._request.annotator, self._request.relabel)

    def next(self, connection: Connection, visit: Visit) -> Reply:
        """What this page is to show."""
        return self._reply(visit)

    def leave(self, connection: Connection, visit: Visit) -> None:
        """The page was closed: others may have its images."""
        self._leases.give_back(visit.page)

    def answer(self, connection: Connection, answer: Answer) -> Reply:
        """Record an answer, and say what comes next. The same answer again, after a lost reply, changes nothing."""
        task = self._task(answer.sample)
        label = self._position(answer.label)
        if answer.proposal is not None:
            self._check_proposal(answer.proposal)
        vote = Vote(task.sample, label, answer.annotator, FILE, 0, labeled_at=now(), seconds=answer.seconds)
        asked = self._work.is_waiting(task.sample, answer.annotator)
        ledger.record(connection, [vote], "replace", again=asked)
        recorded = labeling.latest_vote(connection, task.sample, answer.annotator)
        assert recorded is not None
        if answer.proposal is not None and labeling.proposed_name(connection, recorded) is None:
            labeling.propose(connection, recorded, answer.proposal)
        self._note(answer.annotator, recorded, vote)
        self._work.answered(connection, task, label)
        return self._reply(answer, recorded)

    def undo(self, connection: Connection, undo: Undo) -> Reply:
        """Take back an answer given here, and show its image again."""
        vote = labeling.standing(connection, undo.vote)
        ours = vote is not None and vote.file == FILE and vote.annotator == undo.annotator
        if vote is None or not ours or vote.sample not in self._work.tasks:
            raise RefusedError(409, "that answer does not stand any more: there is nothing to take back")
        labeling.withdraw(connection, undo.vote)
        self._taken_back += self._given[undo.annotator].pop(undo.vote, None) is not None
        self._work.read_again(connection, vote.sample)
        if self._work.is_waiting(vote.sample, undo.annotator):
            self._leases.take(undo.page, vote.sample)
        return self._reply(undo)

    def image(self, connection: Connection, sample_id: str) -> PoolImage:
        """Where the image of a task is on the disk."""
        image = labeling.image(connection, self._task(sample_id).sample)
        if image is None:
            raise RefusedError(410, "this image is not in the pool any more")
        return image

    def result(self, connection: Connection) -> LabelResult:
        """What this run brought."""
        votes = [vote for given in self._given.values() for vote in given.values()]
        labels = sum(vote.label is not None for vote in votes)
        done, total = self._work.progress(self._request.annotator)
        touched = batches.holding(connection, {vote.sample for vote in votes})
        return LabelResult(
            labels=labels,
            skipped=len(votes) - labels,
            taken_back=self._taken_back,
            seconds=sum(vote.seconds or 0.0 for vote in votes),
            annotators={name: len(given) for name, given in sorted(self._given.items()) if given},
            outstanding=total - done,
            guesses=self._work.guesses(),
            proposals=tuple(labeling.proposals(connection)),
            batches=tuple(batch for batch in touched if self._serves(batch.key)),
        )

    def _serves(self, batch: int) -> bool:
        return isinstance(self._work, BatchWork) and batch in self._work.batches

    def _task(self, sample_id: str) -> Task:
        if sample_id not in self._by_id:
            raise RefusedError(404, "this image is not in the batch")
        return self._by_id[sample_id]

    def _position(self, label: str | None) -> int | None:
        if label is None:
            return None
        if label not in self._positions:
            raise RefusedError(409, f"there is no class '{label}'")
        return self._positions[label]

    def _check_proposal(self, name: str) -> None:
        if problem_with_classes([name]) is not None or not name.isprintable():
            raise RefusedError(409, "that is no name for a class")
        same = [place for known, place in self._positions.items() if _folded(known) == _folded(name)]
        if same:
            raise RefusedError(409, f"'{self._names[same[0]]}' is a class already: choose it")

    def _note(self, annotator: str, recorded: int, vote: Vote) -> None:
        given = self._given[annotator]
        for earlier in [key for key, other in given.items() if other.sample == vote.sample and key != recorded]:
            del given[earlier]  # replaced by this one
        given.setdefault(recorded, vote)

    def _reply(self, visit: Visit, vote: int | None = None) -> Reply:
        tasks = self._leases.hold(visit.page, self._work, visit.annotator)
        done, total = self._work.progress(visit.annotator)
        given = self._given[visit.annotator]
        seconds = sum(vote.seconds or 0.0 for vote in given.values())
        standing = Standing(
            done=done,
            total=total,
            elsewhere=self._leases.held_by_others(visit.page),
            mine=len(given),
            an_hour=3600 * len(given) / seconds if seconds else None,
            guesses=self._work.guesses(),
        )
        return Reply(tuple(self._item(task) for task in tasks), standing, self._classes_version(), vote)

    def _item(self, task: Task) -> Item:
        said = (Said(each.annotator, self._name(each.label), each.at) for each in task.opinions)
        return Item(task.sample_id, task.batch_id, self._name(task.guess), task.confidence, tuple(said))

    def _name(self, position: int | None) -> str | None:
        return None if position is None else self._names[position]

    def _classes_version(self) -> str:
        return short_hash(repr(self._classes))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
