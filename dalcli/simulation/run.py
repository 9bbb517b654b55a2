"""``simulate``: replay the loop on images whose labels are known, strategies × seeds × rounds × batch sizes.

The first file of this room to read. The way of a simulation, file by file:

1. ``config`` (shape: ``schema``, contradictions: ``checks``) reads what to simulate.
2. ``data`` finds the images (``sources``), or writes them out (``png``), and keeps a list of them (``dataset``);
   ``draw`` says what each seed makes of it.
3. ``cells`` plans every run of the loop; ``standing`` reads which are finished (``records``), in the folder that
   ``output`` knows.
4. ``schedule`` gives the rest to ``workers``, processes that run ``worker``; what both say to each other is ``tasks``.
5. There ``rounds`` drives real workspaces through the real commands, round by round, asks the ``labeler``, and leaves
   a record for each cell.
6. ``summary`` compares the strategies (``statistics``); ``results`` writes the table, the summary and the ``plot``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.words import counted
from dalcli.errors import DalcliError, NotReadyError
from dalcli.feedback import Feedback
from dalcli.simulation.cells import most_threads
from dalcli.simulation.config import load
from dalcli.simulation.data import deal
from dalcli.simulation.results import PLOT_NAME, RESULTS_NAME, SUMMARY_NAME, write_results
from dalcli.simulation.schedule import FailedCell, Remaining, Schedule, default_jobs
from dalcli.simulation.standing import Standing
from dalcli.simulation.summary import SettingSummary


@dataclass(frozen=True)
class SimulateRequest:
    """Carries what the command line asked for; ``jobs`` None: as many as the machine bears."""

    config: Path
    output: Path | None = None
    jobs: int | None = None
    keep: bool = False
    only_print: bool = False


@dataclass(frozen=True)
class SimulateResult:
    """What ``simulate`` prints: the comparison so far, the same whenever it is printed again.

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
    settings: tuple[SettingSummary, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class SimulateEstimate:
    """What ``simulate --dry-run`` prints: what a run would do now.

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


def simulate(request: SimulateRequest, feedback: Feedback) -> SimulateResult:
    """Compute the cells that are missing, then summarise all that there are.

    Raises:
        BadInputError: the configuration or the source is wrong; nothing was computed.
        LockedError: another simulation is running in the same folder.
        NotReadyError: only printing was asked for, and no cell is finished.
        DalcliError: cells failed; the others are done and summarised in the output folder.
    """
    standing = Standing.read(load(request.config, request.output), feedback)
    if standing.left and not request.only_print:
        standing = _compute(standing, request, feedback)
    elif not standing.left:
        all_of_them = counted(len(standing.cells), "cell is", "cells are")
        feedback.note(f"up to date: {'the' if len(standing.cells) == 1 else 'all'} {all_of_them} done")
    if not standing.found:
        raise NotReadyError(f"{standing.output.root}: no cell is finished yet", "run it without --report")
    write_results(standing)
    return _result(standing)


def estimate(request: SimulateRequest, feedback: Feedback) -> SimulateEstimate:
    """What :func:`simulate` would do, and how long it would take; computes no cell.

    Raises:
        BadInputError: the configuration or the source is wrong.
    """
    standing = Standing.read(load(request.config, request.output), feedback)
    draws = deal(standing.simulation, standing.dataset, standing.cells)
    remaining = Remaining.read(standing.output, standing.left)
    jobs = request.jobs or default_jobs(standing.left)
    first = draws[standing.cells[0].base.draw]
    return SimulateEstimate(
        output=str(standing.output.root),
        images=len(standing.dataset.samples),
        classes=len(standing.dataset.classes),
        pool_images=len(first.pool),
        test_images=len(first.test),
        cells=len(standing.cells),
        done=standing.done,
        starts=len(remaining.bases),
        rounds=remaining.rounds,
        jobs=jobs,
        seconds=_expected_seconds(standing, remaining, jobs),
    )


def _compute(standing: Standing, request: SimulateRequest, feedback: Feedback) -> Standing:
    """Where the simulation stands when everything was tried; interrupted, the results so far are written.

    Raises:
        LockedError, DalcliError: as :func:`simulate` says.
    """
    draws = deal(standing.simulation, standing.dataset, standing.cells)
    with standing.output.locked():
        standing = standing.reading(standing.left)  # another process may just have finished some
        schedule = Schedule(standing, Remaining.read(standing.output, standing.left), draws, request.keep)
        jobs = request.jobs or default_jobs(standing.left)
        _announce(standing, jobs, feedback)
        try:
            schedule.run(jobs, feedback, [standing.simulation.path.absolute().parent])
        finally:
            standing = standing.reading(schedule.given)
            _tidy(standing, request.keep)
            write_results(standing)
    if schedule.failures:
        raise _failed(standing, schedule.failures)
    return standing


def _announce(standing: Standing, jobs: int, feedback: Feedback) -> None:
    feedback.note(
        f"{len(standing.left)} of {counted(len(standing.cells), 'cell')} to compute"
        + (f" ({counted(standing.done, 'is', 'are')} done)" if standing.done else "")
        + f", {jobs} at once on {counted(most_threads(standing.left), 'thread')} each, in {standing.output.root}"
    )


def _tidy(standing: Standing, keep: bool) -> None:
    """Workspaces of finished cells that a killed run did not get to remove."""
    left = {cell.name for cell in standing.left}
    for cell in standing.cells:
        if cell.name not in left:
            standing.output.log(cell).unlink(missing_ok=True)
            if not keep:
                shutil.rmtree(standing.output.workspace(cell), ignore_errors=True)


def _result(standing: Standing) -> SimulateResult:
    config = standing.simulation.config
    return SimulateResult(
        title=standing.simulation.title,
        output=str(standing.output.root),
        cells=len(standing.cells),
        done=standing.done,
        seeds=len(config.seeds),
        baseline=config.baseline,
        confidence=config.confidence,
        settings=standing.summaries,
        files=(RESULTS_NAME, SUMMARY_NAME, PLOT_NAME),
    )


def _failed(standing: Standing, failures: Sequence[FailedCell]) -> DalcliError:
    first = failures[0]
    return DalcliError(
        f"{len(failures)} of {counted(len(standing.cells), 'cell')} failed, first {first.title}: {first.message}; "
        f"log: {first.log}",
        f"the others are done, their results are in {standing.output.root}; the same command tries the rest again",
    )


def _expected_seconds(standing: Standing, remaining: Remaining, jobs: int) -> float | None:
    """Steps left × the mean of the rounds that are done."""
    if not standing.left:
        return 0.0
    rounds = [entry.seconds.total for _, record in standing.found for entry in record.rounds if entry.round]
    return remaining.steps * sum(rounds) / len(rounds) / jobs if rounds else None
