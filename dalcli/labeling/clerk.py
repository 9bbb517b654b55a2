"""One thread that owns the database and the desk: everything asked meanwhile goes into one transaction.

So nothing at the desk needs a lock, and many people share one wait for the disk: a commit is what makes an answer safe
against a power cut, and it is the slow part.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from dalcli.labeling.desk import Desk, RefusedError
from dalcli.state.database import Connection, Database

AT_ONCE = 64
PATIENCE = 60.0
Result = TypeVar("Result")
Call = Callable[[Desk, Connection], Any]


@dataclass(frozen=True)
class _Job:
    call: Call
    future: Future[Any]


class Clerk:
    """A context manager; :meth:`ask` may be called from any thread while it is open."""

    def __init__(self, database: Path, desk: Desk) -> None:
        self._path = database
        self._desk = desk
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._ready: Future[None] = Future()
        self._thread = Thread(target=self._work, name="clerk", daemon=True)

    def __enter__(self) -> Clerk:
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(self, *exc: object) -> None:
        self._queue.put(None)
        self._thread.join()

    def ask(self, call: Callable[[Desk, Connection], Result]) -> Result:
        """Make a call at the desk; returns when what it changed is committed.

        Raises:
            RefusedError: the request cannot be met; nothing was changed.
            DalcliError: nothing was recorded: the disk is full, or another process has been writing for too long.
        """
        job = _Job(call, Future())
        self._queue.put(job)
        found: Result = job.future.result(PATIENCE)
        return found

    def _work(self) -> None:
        try:
            database = Database(self._path)  # belongs to the thread that opens it
        except BaseException as error:
            self._ready.set_exception(error)
            return
        with database:
            self._ready.set_result(None)
            while (job := self._queue.get()) is not None:
                if not self._carry_out(database, [job, *self._more()]):
                    return

    def _more(self) -> list[_Job | None]:
        found: list[_Job | None] = []
        while len(found) < AT_ONCE - 1:
            try:
                found.append(self._queue.get_nowait())
            except Empty:
                break
        return found

    def _carry_out(self, database: Database, found: list[_Job | None]) -> bool:
        """All jobs in one transaction: with the commit, all of them happened. False: it was time to end."""
        jobs = [job for job in found if job is not None]
        outcomes: list[Any] = []
        try:
            with database.write() as connection:
                self._desk.refresh(connection)
                outcomes += [self._outcome(job, connection) for job in jobs]
        except Exception as error:  # whoever asked is told; the next one finds what the database says
            self._desk.distrust()
            for job in jobs:
                job.future.set_exception(error)
            return len(jobs) == len(found)
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, RefusedError):
                job.future.set_exception(outcome)
            else:
                job.future.set_result(outcome)
        return len(jobs) == len(found)

    def _outcome(self, job: _Job, connection: Connection) -> Any:
        try:
            return job.call(self._desk, connection)
        except RefusedError as refusal:  # raised before anything was changed
            return refusal
