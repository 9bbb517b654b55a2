"""Where a simulation keeps things: one output folder, in which everything but ``cells/`` can be made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dalcli.errors import LockedError
from dalcli.feedback import Feedback
from dalcli.simulation.cells import Base, Cell
from dalcli.state import atomic
from dalcli.state.lock import file_lock

PATIENCE = 3600.0  # seconds; a data set may have to be downloaded first
RECORD_NAME = "record.json"  # in a base's or cell's workspace: the rounds so far


@dataclass(frozen=True)
class Output:
    """Knows the places in a simulation's folder, and who may write there; ``root`` is absolute.

    ``cells/`` holds the finished cells, ``work/`` the workspaces of bases and unfinished cells, ``data/`` the list of
    images (and their files where the source has none), ``logs/`` what failed cells said.
    """

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def record(self, cell: Cell) -> Path:
        """The finished cell."""
        return self.root / "cells" / f"{cell.name}.json"

    def draw(self, name: str) -> Path:
        """The folder with one seed's pool, test set and answers."""
        return self.work / "draws" / name

    def workspace(self, part: Base | Cell) -> Path:
        """Where a base or a cell is computed."""
        return self.work / ("bases" if isinstance(part, Base) else "cells") / _file_name(part)

    def log(self, part: Base | Cell) -> Path:
        """What its commands said."""
        return self.logs / f"{_file_name(part)}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; everything in ``work`` was then left by processes that are gone.

        Raises:
            LockedError: another simulation holds it.
        """

        def refusal() -> LockedError:
            return LockedError(
                f"{self.root}: another `dalcli simulate` is running here",
                "wait for it to end; --report prints the results so far, --dry-run what is left",
            )

        self.root.mkdir(parents=True, exist_ok=True)
        with file_lock(self.root / ".lock", refusal):
            self._forget_if_moved()
            yield

    @contextmanager
    def writing_images(self, feedback: Feedback) -> Iterator[None]:
        """Hold ``data/``, where dry runs and reports, too, write images; waits for whoever does so now.

        Raises:
            LockedError: that takes longer than :data:`PATIENCE`.
        """

        def refusal() -> LockedError:
            return LockedError(
                f"{self.data}: another `dalcli simulate` is still writing the images", "wait for it to end"
            )

        self.data.mkdir(parents=True, exist_ok=True)
        lock = self.data / ".lock"
        with ExitStack() as held:
            try:
                held.enter_context(file_lock(lock, refusal))
            except LockedError:
                feedback.note("another `dalcli simulate` is writing the images: waiting for it")
                held.enter_context(file_lock(lock, refusal, wait=PATIENCE))
            yield

    def _forget_if_moved(self) -> None:
        """Workspaces name the images' files absolutely: those that were moved with the folder are made anew."""
        place = self.work / "place.txt"
        here = os.fsencode(self.root)
        with suppress(OSError):
            if place.read_bytes() == here:
                return
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        atomic.write_bytes(place, here)


def _file_name(part: Base | Cell) -> str:
    """For people who look; the first digits of the fingerprint make it the part's own."""
    words = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in part.title)
    return f"{words[:80]}-{part.name[:8]}".replace("--", "-")
