"""Where a simulation stands: its plan, and which of it is finished."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from dalcli.feedback import Feedback
from dalcli.simulation import records
from dalcli.simulation.cells import Cell, plan
from dalcli.simulation.config import Simulation
from dalcli.simulation.data import open_dataset
from dalcli.simulation.dataset import Dataset
from dalcli.simulation.output import Output
from dalcli.simulation.records import CellRecord
from dalcli.simulation.summary import Question, SettingSummary, summarise


@dataclass(frozen=True)
class Standing:
    """Keeps the plan and the finished cells' records as they were last read, so that nothing is read again and again.

    ``records`` are by cell name, and no longer than the rounds that are asked for; a cell may have been finished when
    fewer were.
    """

    simulation: Simulation
    output: Output
    dataset: Dataset
    cells: tuple[Cell, ...]
    records: Mapping[str, CellRecord]

    @classmethod
    def read(cls, simulation: Simulation, feedback: Feedback) -> Standing:
        """Find the images, plan the cells and read the records that there are.

        Raises:
            BadInputError, DalcliError: the images are not there or not usable.
        """
        output = Output(simulation.output)
        dataset = open_dataset(simulation, output, feedback)
        cells = tuple(plan(simulation.config, dataset.digest))
        return cls(simulation, output, dataset, cells, {}).reading(cells)

    def reading(self, cells: Iterable[Cell]) -> Standing:
        """With the records of ``cells`` read anew: another process may have written them."""
        by_name = {cell.name: cell for cell in cells}
        read = ((cell, records.read(self.output.record(cell))) for cell in by_name.values())
        new = {cell.name: record.upto(cell.rounds) for cell, record in read if record is not None}
        return replace(self, records={**self.records, **new})

    @cached_property
    def found(self) -> tuple[tuple[Cell, CellRecord], ...]:
        """Cells that have a record, in the order of the plan."""
        return tuple((cell, self.records[cell.name]) for cell in self.cells if cell.name in self.records)

    @cached_property
    def left(self) -> tuple[Cell, ...]:
        """Cells that are not there, or not for all rounds."""
        done = {cell.name for cell, record in self.found if len(record.rounds) > cell.rounds}
        return tuple(cell for cell in self.cells if cell.name not in done)

    @property
    def done(self) -> int:
        """How many cells are finished."""
        return len(self.cells) - len(self.left)

    @cached_property
    def summaries(self) -> tuple[SettingSummary, ...]:
        """What the records say so far."""
        config = self.simulation.config
        return summarise(self.cells, self.records, Question(config.baseline, config.accuracies, config.confidence))
