"""``simulate``: replay the loop on images whose labels are known, strategies × seeds × rounds × batch sizes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.errors import DalcliError, NotReadyError
from dalcli.feedback import Feedback
from dalcli.simulation import records
from dalcli.simulation.cells import Cell, plan
from dalcli.simulation.config import Simulation, load
from dalcli.simulation.data import deal, open_dataset
from dalcli.simulation.dataset import Dataset
from dalcli.simulation.output import Output
from dalcli.simulation.records import CellRecord
from dalcli.simulation.report import Question, SettingReport, report
from dalcli.simulation.results import PLOT_NAME, RESULTS_NAME, SUMMARY_NAME, write_results
from dalcli.simulation.schedule import Failure, Schedule, default_jobs


@dataclass(frozen=True)
class Request:
    """What the command line asked for; ``jobs`` None: as many as the machine bears."""

    config: Path
    output: Path | None = None
    jobs: int | None = None
    keep: bool = False
    report_only: bool = False


@dataclass(frozen=True)
class SimulateResult:
    """The comparison so far; the same whenever it is printed again.

    Attributes:
        cells, done: runs of the loop that were asked for, and that are finished.
        confidence: level of all intervals.
        files: what was written, relative to ``output``.
    """

    title: str
    output: str
    cells: int
    done: int
    seeds: int
    baseline: str
    confidence: float
    settings: tuple[SettingReport, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class SimulateEstimate:
    """What a run would do now.

    Attributes:
        starts: shared starts (bases) that still have to be made.
        rounds: rounds left in all unfinished cells.
        seconds: expected from the rounds that are done; None as long as none is.
    """

    output: str
    images: int
    classes: int
    pool_images: int
    test_images: int
    cells: int
    done: int
    starts: int
    rounds: int
    jobs: int
    seconds: float | None


@dataclass(frozen=True)
class _Situation:
    """The plan, and which of it is finished."""

    simulation: Simulation
    output: Output
    dataset: Dataset
    cells: tuple[Cell, ...]

    def found(self) -> list[tuple[Cell, CellRecord]]:
        """Cells that were finished, for as many rounds as they were then asked for."""
        both = ((cell, records.read(self.output.record(cell))) for cell in self.cells)
        return [(cell, record.upto(cell.rounds)) for cell, record in both if record is not None]

    def left(self) -> list[Cell]:
        done = {cell.name for cell, record in self.found() if len(record.rounds) > cell.rounds}
        return [cell for cell in self.cells if cell.name not in done]


def simulate(request: Request, feedback: Feedback) -> SimulateResult:
    """Compute the cells that are missing, then report on all that there are.

    Raises:
        BadInputError: the configuration or the source is wrong; nothing was computed.
        LockedError: another simulation is running in the same folder.
        DalcliError: cells failed; the others are done and reported in the output folder.
    """
    situation = _look(request, feedback)
    left = situation.left()
    failures: list[Failure] = []
    if left and not request.report_only:
        draws = deal(situation.simulation, situation.output, situation.dataset, situation.cells)
        with situation.output.locked():
            left = situation.left()  # another process may just have finished some
            schedule = Schedule(situation.output, situation.dataset, draws, left, request.keep)
            jobs = request.jobs or default_jobs(left)
            _announce(situation, left, jobs, feedback)
            try:
                schedule.run(jobs, feedback, [situation.simulation.path.absolute().parent])
            finally:
                _tidy(situation, request.keep)
                _write(situation)
        failures = schedule.failures
    elif not left:
        feedback.note(f"up to date: all {len(situation.cells)} cells are done")
    if failures:
        raise _failed(situation, failures)
    if not situation.found():
        raise NotReadyError(f"{situation.output.root}: no cell is finished yet", "run it without --report")
    _write(situation)
    return _result(situation)


def estimate(request: Request, feedback: Feedback) -> SimulateEstimate:
    """What :func:`simulate` would do, and how long it would take; computes no cell.

    Raises:
        BadInputError: the configuration or the source is wrong.
    """
    situation = _look(request, feedback)
    draws = deal(situation.simulation, situation.output, situation.dataset, situation.cells)
    left = situation.left()
    schedule = Schedule(situation.output, situation.dataset, draws, left, keep=False)
    jobs = request.jobs or default_jobs(left)
    first = draws[situation.cells[0].base.draw]
    return SimulateEstimate(
        output=str(situation.output.root),
        images=len(situation.dataset.samples),
        classes=len(situation.dataset.classes),
        pool_images=len(first.pool),
        test_images=len(first.test),
        cells=len(situation.cells),
        done=len(situation.cells) - len(left),
        starts=schedule.starts_left,
        rounds=schedule.rounds_left,
        jobs=jobs,
        seconds=_expected_seconds(situation, schedule, jobs) if left else 0.0,
    )


def _look(request: Request, feedback: Feedback) -> _Situation:
    simulation = load(request.config, request.output)
    output = Output(simulation.output)
    dataset = open_dataset(simulation, output, feedback)
    return _Situation(simulation, output, dataset, tuple(plan(simulation.config, dataset.digest)))


def _announce(situation: _Situation, left: Sequence[Cell], jobs: int, feedback: Feedback) -> None:
    done = len(situation.cells) - len(left)
    threads = max(int(cell.base.settings["threads"]) for cell in left) if left else 1
    feedback.note(
        f"{len(left)} of {len(situation.cells)} cells to compute"
        + (f" ({done} are done)" if done else "")
        + f", {jobs} at once on {threads} thread{'s' if threads > 1 else ''} each, in {situation.output.root}"
    )


def _tidy(situation: _Situation, keep: bool) -> None:
    """Workspaces of finished cells that a killed run did not get to remove."""
    left = {cell.name for cell in situation.left()}
    for cell in situation.cells:
        if cell.name not in left:
            situation.output.log(cell).unlink(missing_ok=True)
            if not keep:
                shutil.rmtree(situation.output.workspace(cell), ignore_errors=True)


def _write(situation: _Situation) -> None:
    found = situation.found()
    if found:
        config = situation.simulation.config
        write_results(situation.output, found, _reports(situation), _title(situation), config.confidence)


def _reports(situation: _Situation) -> tuple[SettingReport, ...]:
    config = situation.simulation.config
    question = Question(config.baseline, config.accuracies, config.confidence)
    return report(situation.cells, {cell.name: record for cell, record in situation.found()}, question)


def _title(situation: _Situation) -> str:
    return situation.simulation.config.title or situation.simulation.path.stem


def _result(situation: _Situation) -> SimulateResult:
    config = situation.simulation.config
    return SimulateResult(
        title=_title(situation),
        output=str(situation.output.root),
        cells=len(situation.cells),
        done=len(situation.cells) - len(situation.left()),
        seeds=len(config.seeds),
        baseline=config.baseline,
        confidence=config.confidence,
        settings=_reports(situation),
        files=(RESULTS_NAME, SUMMARY_NAME, PLOT_NAME),
    )


def _failed(situation: _Situation, failures: Sequence[Failure]) -> DalcliError:
    first = failures[0]
    return DalcliError(
        f"{len(failures)} of {len(situation.cells)} cells failed, first {first.title}: {first.message}; "
        f"log: {first.log}",
        f"the others are done, their results are in {situation.output.root}; the same command tries the rest again",
    )


def _expected_seconds(situation: _Situation, schedule: Schedule, jobs: int) -> float | None:
    """Rounds left × the mean of those done (a shared start takes about as long as a round)."""
    rounds = [entry.seconds.total for _, record in situation.found() for entry in record.rounds if entry.round]
    if not rounds:
        return None
    return (schedule.rounds_left + schedule.starts_left) * sum(rounds) / len(rounds) / jobs
