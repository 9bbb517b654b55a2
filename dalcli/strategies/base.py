"""What a strategy is asked, what it answers, and the two small ideas it is composed of.

- An :class:`Acquisition` gives every sample a value by itself (confidence, Δ, ...). A transform of values (noise,
  powers) is an acquisition that wraps another one.
- A :class:`Strategy` turns a :class:`Request` into a :class:`Selection`: the best values of an
  acquisition (:class:`~dalcli.strategies.selection.TopValues`), a random draw, or a set chosen jointly, which itself
  is a space and a way to spread picks over it (:class:`~dalcli.strategies.diverse.Diverse`).

Strategies see arrays only: never models, files or the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed, generator
from dalcli.config.words import counted
from dalcli.data.identity import tie_keys
from dalcli.errors import DalcliError, NotReadyError
from dalcli.scores.columns import Array, Digests, Floats, Layout
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreBlock

MEMORY_LIMIT = 1536 << 20
_OPTIONAL_COLUMNS = {
    "sketch": ("gradient sketches", "scoring.sketch"),
    "mc_probabilities": ("dropout samples", "scoring.mc_samples"),
}


class Table(Protocol):
    """Where scores stream from: a :class:`~dalcli.scores.table.ScoreTable`, or arrays in memory."""

    def blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """All rows, some at a time, with the named columns; may be called again for another pass."""
        ...

    def lookup(self, digests: Digests, columns: Sequence[str]) -> Mapping[str, Array]:
        """The named columns at ``digests`` (n, 16), in that order, without a pass over all columns."""
        ...

    @property
    def layout(self) -> Layout:
        """The columns there are: name → dtype name, shape of one row."""
        ...


@dataclass(frozen=True, eq=False)
class Answers:
    """Effective labels: ``digests`` (n, 16) uint8 and class positions ``labels`` (n,) int64."""

    digests: Digests
    labels: NDArray[np.int64]


Memory = Mapping[str, Any]
"""What a strategy remembers from round to round: a JSON object."""

NO_ANSWERS = Answers(np.empty((0, 16), np.uint8), np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Request:
    """Everything a choice may depend on.

    Attributes:
        budget: number of samples wanted, at least 1.
        eligible: the samples to choose from; never labeled, in flight or reserved ones. All must be in ``table``.
        seed: 63 bits, derived from (config seed, purpose, round).
        table: scores of the current model; None at a cold start.
        labeled: the labeled set S, for strategies that keep away from what is known.
        in_flight: samples that were handed out and not answered yet: as good as labeled where a batch is to differ
            from what is known.
        memory_limit: bytes of score columns that a strategy may hold at once.
        memory: what the strategy remembered when it last chose; None: never before, or it remembers nothing.
        answers: the labels there are, where there is a memory to learn with.
    """

    budget: int
    eligible: SampleSet
    seed: int
    table: Table | None = None
    labeled: SampleSet = SampleSet.EMPTY
    in_flight: SampleSet = SampleSet.EMPTY
    memory_limit: int = MEMORY_LIMIT
    memory: Memory | None = None
    answers: Answers = NO_ANSWERS

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

    def scores(self, columns: Sequence[str]) -> Table:
        """The score table, which has the named columns.

        Raises:
            NotReadyError: there is none, or it was made without an optional column.
        """
        if self.table is None:
            raise NotReadyError(
                "this strategy chooses by scores, and there is no trained model yet",
                "choose one that needs none, such as random, or label some images and run: dalcli train",
            )
        for column in columns:
            if column in _OPTIONAL_COLUMNS and column not in self.table.layout:
                raise _not_scored(column)
        return self.table

    def blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """All scored samples, eligible or not, some at a time."""
        return self.scores(columns).blocks(columns)

    def eligible_blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """The eligible samples in table order, some at a time; blocks without any are left out.

        Raises:
            NotReadyError: an eligible sample has not been scored.
            DalcliError: the table lists a sample twice.
        """
        return members(self.blocks(columns), self.eligible, complete=True)

    def labeled_blocks(self, columns: Sequence[str]) -> Iterator[ScoreBlock]:
        """The labeled samples that have been scored, like :meth:`eligible_blocks`."""
        return members(self.blocks(columns), self.labeled, complete=False)

    @property
    def known(self) -> SampleSet:
        """The labeled and the in-flight samples."""
        return self.labeled | self.in_flight


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen, first choice first.

    Attributes:
        digests: (n, 16) uint8, n = min(budget, eligible), no sample twice.
        values: (n,) float64, higher was asked first; None for strategies without a value per sample.
        non_finite: how many eligible samples had NaN as their value (they rank last; ±inf are legal values).
        notes: what the user should know about this choice, one sentence each.
        memory: what the strategy wants to remember if the batch is issued; None: nothing.
    """

    digests: Digests
    values: Floats | None = None
    non_finite: int = 0
    notes: tuple[str, ...] = ()
    memory: Memory | None = None


class Acquisition(Protocol):
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


class Remembering(Protocol):
    """A strategy whose choice depends on how its earlier choices turned out.

    Whoever calls it keeps what it returns, and hands it back in the next round. Nothing else is kept: the same
    request, memory and answers give the same selection and memory.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """The score-table columns it reads."""
        ...

    def select(self, request: Request, memory: Memory | None, answers: Answers) -> tuple[Selection, Memory]:
        """A selection as a :class:`Strategy` makes it, and the memory for the next round; None: the first round."""
        ...


@dataclass(frozen=True)
class Remembered:
    """Hands the request's memory and answers on, and the new memory back with the selection."""

    strategy: Remembering

    @property
    def columns(self) -> tuple[str, ...]:
        return self.strategy.columns

    def select(self, request: Request) -> Selection:
        selection, memory = self.strategy.select(request, request.memory, request.answers)
        return replace(selection, memory=memory)


def members(blocks: Iterator[ScoreBlock], samples: SampleSet, complete: bool) -> Iterator[ScoreBlock]:
    """The rows of ``blocks`` that belong to ``samples``; ``complete``: all of them must be there."""
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
            f"the score table lists {counted(rows_seen - distinct, 'sample')} twice",
            "delete .dalcli/scores and run: dalcli score (nothing is lost but time)",
        )
    if complete and distinct < len(samples):
        raise unscored(len(samples) - distinct, len(samples))


def unscored(missing: int, eligible: int) -> NotReadyError:
    """The error for eligible samples that the score table does not hold."""
    return NotReadyError(f"{missing} of {eligible} eligible samples have no scores", "run: dalcli score")


def _not_scored(column: str) -> NotReadyError:
    what, key = _OPTIONAL_COLUMNS[column]
    return NotReadyError(
        f"this strategy chooses by {what}, and the scores of this model hold none",
        f"set {key} in dalcli.yaml and query again: what is missing is computed first",
    )
