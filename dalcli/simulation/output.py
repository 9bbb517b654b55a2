"""Where a simulation keeps things: one output folder, in which everything but ``cells/`` can be made again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from dalcli.errors import LockedError
from dalcli.simulation.cells import Base, Cell
from dalcli.state import atomic

RECORD_NAME = "record.json"  # in a base's or cell's workspace: the rounds so far


@dataclass(frozen=True)
class Output:
    """The folder of one simulation; ``root`` is absolute.

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
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise LockedError(
                f"{self.root}: another `dalcli simulate` is running here",
                "wait for it to end; --report prints the results so far, --dry-run what is left",
            ) from None
        try:
            self._forget_if_moved()
            yield
        finally:
            lock.release()

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
