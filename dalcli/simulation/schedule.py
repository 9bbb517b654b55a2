"""In which order bases and cells are computed, by how many processes, and what is told about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dalcli.feedback import Feedback, Task
from dalcli.runtime.parallel import default_workers
from dalcli.simulation import records
from dalcli.simulation.cells import Base, Cell, bases
from dalcli.simulation.data import write_draw
from dalcli.simulation.dataset import Dataset
from dalcli.simulation.draw import Draw
from dalcli.simulation.output import RECORD_NAME, Output
from dalcli.simulation.workers import Event, Workers

BYTES_PER_JOB = 1_500_000_000  # torch itself takes half of that


@dataclass(frozen=True)
class Failure:
    """A cell that could not be computed, why, and where its commands' words (or its base's) are."""

    title: str
    message: str
    log: str


@dataclass
class Schedule:
    """What is still to be computed; :meth:`run` does it."""

    output: Output
    dataset: Dataset
    draws: Mapping[str, Draw]
    cells: Sequence[Cell]
    keep: bool
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._waiting = list({cell.name: cell for cell in self.cells}.values())
        self._bases = [base for base in bases(self._waiting) if not self._is_made(base)]
        self._total = len(self._waiting)
        self._done = 0

    def run(self, jobs: int, feedback: Feedback, modules: Sequence[Path] = ()) -> None:
        """Compute everything; what fails is in ``failures`` afterwards, and the rest is done all the same."""
        if not self._waiting:
            return
        threads = max(int(cell.base.settings["threads"]) for cell in self._waiting)
        working: dict[int, Base | Cell] = {}
        total = self.starts_left + self.rounds_left
        with feedback.task("simulating", total, unit="rounds") as task, Workers(jobs, threads, modules) as workers:
            while True:
                while workers.any_free and (part := self._next(working)) is not None:
                    working[workers.give(self._task(part))] = part
                if not workers.busy:
                    return
                event = workers.next_event()
                self._hear(event, working, task)

    @property
    def starts_left(self) -> int:
        """Bases that have to be made."""
        return len(self._bases)

    @property
    def rounds_left(self) -> int:
        """Rounds of all cells that have to be computed."""
        return sum(self._rounds_left(cell) for cell in self._waiting)

    def _is_made(self, base: Base) -> bool:
        return records.read(self.output.workspace(base) / RECORD_NAME) is not None

    def _rounds_left(self, cell: Cell) -> int:
        begun = records.read(self.output.workspace(cell) / RECORD_NAME)
        return cell.rounds + 1 - (len(begun.rounds) if begun is not None else 1)

    def _next(self, working: Mapping[int, Base | Cell]) -> Base | Cell | None:
        """A cell whose base is made, or else a base that cells wait for."""
        unmade = {base.name for base in self._bases}
        unmade |= {part.name for part in working.values() if isinstance(part, Base)}
        for cell in self._waiting:
            if cell.base.name not in unmade:
                self._waiting.remove(cell)
                return cell
        return self._bases.pop(0) if self._bases else None

    def _hear(self, event: Event, working: dict[int, Base | Cell], task: Task) -> None:
        part = working[event.worker]
        if event.kind == "round":
            accuracy = f"{100 * event.facts['accuracy']:.1f}%"
            task.advance(1, f"{self._cells_done()}; {part.title}: {event.facts['labels']} labels, {accuracy}")
            return
        del working[event.worker]
        if event.kind == "failed":
            self._failed(part, str(event.facts["message"]))
        elif isinstance(part, Cell):
            self._done += 1
            task.advance(0, self._cells_done())

    def _cells_done(self) -> str:
        return f"{self._done}/{self._total} cells"

    def _failed(self, part: Base | Cell, message: str) -> None:
        log = str(self.output.log(part))
        if isinstance(part, Cell):
            self.failures.append(Failure(part.title, message, log))
            return
        lost = [cell for cell in self._waiting if cell.base.name == part.name]
        self._waiting = [cell for cell in self._waiting if cell.base.name != part.name]
        self.failures += [Failure(cell.title, f"its start ({part.title}): {message}", log) for cell in lost]

    def _task(self, part: Base | Cell) -> dict[str, Any]:
        base = part if isinstance(part, Base) else part.base
        common = {
            "root": str(self.output.workspace(part)),
            "draw": str(self.output.draw(base.draw)),
            "classes": self.dataset.classes,
            "log": str(self.output.log(part)),
        }
        write_draw(self.output, base, self.dataset, self.draws[base.draw])
        if isinstance(part, Base):
            return {
                **common,
                "kind": "base",
                "settings": part.settings,
                "budget": part.initial_labels,
                "cache": str(self.output.work / "cache"),
            }
        return {
            **common,
            "kind": "cell",
            "base": str(self.output.workspace(base)),
            "query": part.query,
            "budget": part.setting.batch_size,
            "rounds": part.rounds,
            "record": str(self.output.record(part)),
            "about": {"cell": part.title, "query": {key: str(value) for key, value in part.query.items()}},
            "keep": self.keep,
        }


def default_jobs(cells: Sequence[Cell]) -> int:
    """As many processes as cores and memory allow, no more than cells; one where a GPU is to be used."""
    if not cells:
        return 1
    devices = {str(cell.base.settings.get("device", "auto")) for cell in cells}
    if devices - {"cpu"} and (Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi")):
        return 1
    threads = max(int(cell.base.settings["threads"]) for cell in cells)
    by_memory = _free_bytes() // BYTES_PER_JOB
    return max(1, min(default_workers() // threads, by_memory, len(cells)))


def _free_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 2  # what files are cached in is free, too
    except (ValueError, OSError, AttributeError):
        return BYTES_PER_JOB * 1024
