"""Stored scores as they look after classes were merged: what a version said of the parts belongs to the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dalcli.crowd.merging import merged_probabilities
from dalcli.scores.columns import Array, Digests, Layout
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Table

_PROBABILITIES = frozenset({"probabilities", "mc_probabilities"})


@dataclass(frozen=True)
class MergedTable:
    """``table`` with probabilities of classes as they are counted today; all else is as the version scored it."""

    table: Table
    counted_as: Sequence[int]

    @property
    def layout(self) -> Layout:
        return self.table.layout

    def blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """All rows, some at a time."""
        for block in self.table.blocks(columns):
            yield ScoreBlock(block.digests, self._merged({name: block[name] for name in columns}))

    def lookup(self, digests: Digests, columns: Sequence[str]) -> dict[str, Array]:
        """The named columns at ``digests``, in that order."""
        return self._merged(self.table.lookup(digests, columns))

    def _merged(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        return {
            name: merged_probabilities(values, self.counted_as) if name in _PROBABILITIES else values
            for name, values in columns.items()
        }


def as_counted(table: Table | None, counted_as: Sequence[int]) -> Table | None:
    """``table``, seen so where any class was merged."""
    if table is None or all(target == position for position, target in enumerate(counted_as)):
        return table
    return MergedTable(table, counted_as)
