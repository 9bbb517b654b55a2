"""What a strategy is asked, what it answers, and the two small ideas it is composed of.

- A :class:`Score` gives every sample a value by itself (confidence, Δ, ...). A transform of values (noise, powers) is a
  score that wraps another score.
- A :class:`Strategy` turns a :class:`Request` into a :class:`Selection`: the best values of a score
  (:class:`~dalcli.strategies.selection.TopValues`), a random draw, or a set chosen jointly.

Strategies see arrays only: never models, files or the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dalcli.config.seeding import derive_seed, generator
from dalcli.data.identity import tie_keys
from dalcli.errors import DalcliError, NotReadyError
from dalcli.scoring.table import Digests, ScoreBlock
from dalcli.strategies.samples import SampleSet

Values = NDArray[np.float64]


class Table(Protocol):
    """Where scores stream from: a :class:`~dalcli.scoring.table.ScoreTable`, or arrays in memory."""

    def blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """All rows, some at a time, with the named columns; may be called again for another pass."""
        ...


@dataclass(frozen=True, eq=False)
class Request:
    """Everything a choice may depend on.

    Attributes:
        budget: number of samples wanted, at least 1.
        eligible: the samples to choose from; never labeled, in flight or reserved ones. All must be in ``table``.
        seed: 63 bits, derived from (config seed, purpose, round).
        table: scores of the current model; None at a cold start.
        labeled: the labeled set S, for strategies that keep away from what is known.
    """

    budget: int
    eligible: SampleSet
    seed: int
    table: Table | None = None
    labeled: SampleSet = SampleSet.EMPTY

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"budget must be at least 1, got {self.budget}")

    @property
    def size(self) -> int:
        """How many samples the selection will have: the budget, or all that are eligible."""
        return min(self.budget, len(self.eligible))

    def keys(self, digests: Digests, *purpose: str | int) -> NDArray[np.uint64]:
        """A pseudo-random uint64 per sample that depends on (seed, purpose, content), never on order.

        Without a purpose these are the tie-breaking keys.
        """
        return tie_keys(derive_seed(self.seed, *purpose) if purpose else self.seed, digests)

    def generator(self, *purpose: str | int) -> np.random.Generator:
        """A seeded generator of its own for each purpose."""
        return generator(self.seed, *purpose)

    def blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """All scored samples, eligible or not, some at a time."""
        if self.table is None:
            raise NotReadyError(
                "this strategy chooses by scores, and there is no trained model yet",
                "choose one that needs none, such as random, or label some images and run: dalcli train",
            )
        return self.table.blocks(columns)

    def eligible_blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """The eligible samples in table order, some at a time; blocks without any are left out.

        Raises:
            NotReadyError: an eligible sample has not been scored.
            DalcliError: the table lists a sample twice.
        """
        return _members(self.blocks(columns), self.eligible, complete=True)

    def labeled_blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """The labeled samples that have been scored, like :meth:`eligible_blocks`."""
        return _members(self.blocks(columns), self.labeled, complete=False)


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, first choice first.

    Attributes:
        digests: (n, 16) uint8, n = min(budget, eligible), no sample twice.
        values: (n,) float64, higher was asked first; None for strategies without a value per sample.
        non_finite: how many eligible samples had NaN as their value (they rank last; ±inf are legal values).
    """

    digests: Digests
    values: Values | None = None
    non_finite: int = 0


class Score(Protocol):
    """A value per sample that depends on that sample's columns (and keyed hash) alone."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The score-table columns it reads."""
        ...

    def values(self, block: ScoreBlock, request: Request) -> NDArray[Any]:
        """(n,) floating point, one per row of ``block``; higher is asked first, NaN never before any other value."""
        ...


class Strategy(Protocol):
    """A way to choose a batch."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The score-table columns it reads; empty: it works without a model."""
        ...

    def select(self, request: Request) -> Selection:
        """Exactly ``request.size`` different eligible samples; the same for the same request, whatever the order."""
        ...


def _members(blocks: Iterator[ScoreBlock], samples: SampleSet, complete: bool) -> Iterator[ScoreBlock]:
    seen = np.zeros(len(samples), bool)
    rows_seen = 0
    for block in blocks:
        places = samples.find(block.digests)
        inside = places >= 0
        if inside.any():
            seen[places[inside]] = True
            rows_seen += int(np.count_nonzero(inside))
            yield block.take(inside)
    distinct = int(np.count_nonzero(seen))
    if rows_seen > distinct:
        raise DalcliError(
            f"the score table lists {rows_seen - distinct} samples twice",
            "delete .dalcli/scores and run: dalcli score (nothing is lost but time)",
        )
    if complete and distinct < len(samples):
        raise unscored(len(samples) - distinct, len(samples))


def unscored(missing: int, eligible: int) -> NotReadyError:
    """The error for eligible samples that the score table does not hold."""
    return NotReadyError(f"{missing} of {eligible} eligible samples have no scores", "run: dalcli score")
