"""In which order bases and cells are computed, by how many processes, and what is told about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.words import counted
from dalcli.feedback import Feedback
from dalcli.runtime.parallel import default_workers
from dalcli.simulation import records
from dalcli.simulation.cells import Base, Cell, bases, most_threads
from dalcli.simulation.data import write_draw
from dalcli.simulation.draw import Draw
from dalcli.simulation.output import RECORD_NAME, Output
from dalcli.simulation.standing import Standing
from dalcli.simulation.tasks import BaseTask, CellTask, RoundDone, TaskFailed, WorkerTask
from dalcli.simulation.workers import Workers

BYTES_PER_JOB = 1_500_000_000  # torch itself takes half of that


@dataclass(frozen=True)
class FailedCell:
    """Tells which cell could not be computed, why, and where its commands' words (or its base's) are."""

    title: str
    message: str
    log: str


@dataclass(frozen=True)
class Remaining:
    """Says what is still to be computed: bases that are not made, cells that are not finished, rounds left in these."""

    bases: tuple[Base, ...]
    cells: tuple[Cell, ...]
    rounds: int

    @classmethod
    def read(cls, output: Output, cells: Iterable[Cell]) -> Remaining:
        """What killed runs left in the workspaces of ``cells`` and their bases need not be done again."""
        cells = tuple({cell.name: cell for cell in cells}.values())
        unmade = tuple(base for base in bases(cells) if _rounds_done(output, base) is None)
        # A cell without a workspace begins with its base's round.
        rounds = sum(cell.rounds + 1 - (_rounds_done(output, cell) or 1) for cell in cells)
        return cls(unmade, cells, rounds)

    @property
    def steps(self) -> int:
        """Shared starts and rounds: a start takes about as long as a round."""
        return len(self.bases) + self.rounds


def _rounds_done(output: Output, part: Base | Cell) -> int | None:
    begun = records.read(output.workspace(part) / RECORD_NAME)
    return None if begun is None else len(begun.rounds)


class Schedule:
    """Gives what remains to worker processes, bases before the cells that continue them, and hears what becomes of it.

    Attributes:
        given: the cells that a worker was given, finished or not.
        failures: what could not be computed.
    """

    def __init__(self, standing: Standing, remaining: Remaining, draws: Mapping[str, Draw], keep: bool) -> None:
        self._output, self._dataset = standing.output, standing.dataset
        self._draws, self._keep = draws, keep
        self._bases, self._cells = list(remaining.bases), list(remaining.cells)
        self._steps, self._total, self._done = remaining.steps, len(remaining.cells), 0
        self._working: dict[int, Base | Cell] = {}
        self.given: list[Cell] = []
        self.failures: list[FailedCell] = []

    def run(self, jobs: int, feedback: Feedback, modules: Sequence[Path] = ()) -> None:
        """Compute everything; what fails is in ``failures`` afterwards, and the rest is done all the same."""
        if not self._cells:
            return
        threads = most_threads(self._cells)
        with feedback.task("simulating", self._steps, "rounds") as progress, Workers(jobs, threads, modules) as workers:
            while True:
                while workers.any_free and (part := self._next()) is not None:
                    self._working[workers.give(self._task(part))] = part
                if not workers.busy:
                    return
                worker, event = workers.next_event()
                if isinstance(event, RoundDone):
                    accuracy = f"{counted(event.labels, 'label')}, {100 * event.accuracy:.1f}%"
                    progress.advance(1, f"{self._cells_done()}; {self._working[worker].title}: {accuracy}")
                    continue
                part = self._working.pop(worker)
                if isinstance(event, TaskFailed):
                    self._give_up(part, event.message)
                elif isinstance(part, Cell):
                    self._done += 1
                    progress.advance(0, self._cells_done())

    def _next(self) -> Base | Cell | None:
        """A cell whose base is made, or else a base that cells wait for."""
        unmade = {base.name for base in self._bases}
        unmade |= {part.name for part in self._working.values() if isinstance(part, Base)}
        for cell in self._cells:
            if cell.base.name not in unmade:
                self._cells.remove(cell)
                self.given.append(cell)
                return cell
        return self._bases.pop(0) if self._bases else None

    def _cells_done(self) -> str:
        return f"{self._done}/{counted(self._total, 'cell')}"

    def _give_up(self, part: Base | Cell, message: str) -> None:
        log = str(self._output.log(part))
        if isinstance(part, Cell):
            self.failures.append(FailedCell(part.title, message, log))
            return
        lost = [cell for cell in self._cells if cell.base.name == part.name]
        self._cells = [cell for cell in self._cells if cell.base.name != part.name]
        self.failures += [FailedCell(cell.title, f"its start ({part.title}): {message}", log) for cell in lost]

    def _task(self, part: Base | Cell) -> WorkerTask:
        """What a worker is told; the files of the seed's draw are there when it reads it."""
        base = part if isinstance(part, Base) else part.base
        write_draw(self._output, base, self._dataset, self._draws[base.draw])
        root, log, draw = self._output.workspace(part), self._output.log(part), self._output.draw(base.draw)
        if isinstance(part, Base):
            return BaseTask(
                root=root,
                draw=draw,
                cache=self._output.work / "cache",
                log=log,
                classes=self._dataset.classes,
                settings=part.settings,
                budget=part.initial_labels,
            )
        return CellTask(
            root=root,
            base=self._output.workspace(base),
            draw=draw,
            log=log,
            record=self._output.record(part),
            title=part.title,
            classes=self._dataset.classes,
            query=part.query,
            budget=part.setting.batch_size,
            rounds=part.rounds,
            keep=self._keep,
        )


def default_jobs(cells: Sequence[Cell]) -> int:
    """As many processes as cores and memory allow, no more than cells; one where a GPU is to be used."""
    if not cells:
        return 1
    devices = {str(cell.base.settings.get("device", "auto")) for cell in cells}
    if devices - {"cpu"} and (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return 1
    by_memory = _free_bytes() // BYTES_PER_JOB
    return max(1, min(default_workers() // most_threads(cells), by_memory, len(cells)))


def _free_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 2  # what files are cached in is free, too
    except (ValueError, OSError, AttributeError):
        return BYTES_PER_JOB * 1024
