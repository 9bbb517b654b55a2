"""The plan of a simulation: every combination that is one run of the loop, and what makes it the same run again.

A *base* is what all strategies of a seed share: the pool, the first labels, the first model. A *cell* continues a copy
of a base with one strategy and one batch size. Both are named by a fingerprint of all that determines their numbers,
and of nothing else: another strategy, seed or round beside them leaves a cell what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dalcli.config.hashing import fingerprint
from dalcli.simulation.schema import SimulationConfig

ENGINE = 1  # to be raised when the same configuration gives other numbers for a reason that no setting shows
DEFAULT_THREADS = 1  # a number of its own and not the machine's: results must not depend on --jobs


@dataclass(frozen=True)
class Setting:
    """Says what a comparison holds fixed: strategies are compared within a setting."""

    variant: str
    initial_choice: str
    batch_size: int


@dataclass(frozen=True)
class Base:
    """The start that all strategies of a seed share; ``draw`` names its pool, test set and answers."""

    name: str
    draw: str
    seed: int
    variant: str
    initial_choice: str
    initial_labels: int
    settings: dict[str, Any]

    @property
    def title(self) -> str:
        """For people."""
        return ", ".join(part for part in (f"seed {self.seed}", self.variant, f"start {self.initial_choice}") if part)


@dataclass(frozen=True)
class Cell:
    """One run of the loop: a base, continued with one strategy and one batch size."""

    name: str
    base: Base
    setting: Setting
    strategy: str
    query: dict[str, Any]
    rounds: int

    @property
    def title(self) -> str:
        """For people."""
        parts = (self.strategy, self.setting.variant, f"{self.setting.batch_size} a round", f"seed {self.base.seed}")
        return ", ".join(part for part in parts if part)

    @property
    def seed(self) -> int:
        """The seed it shares with its base."""
        return self.base.seed


def plan(config: SimulationConfig, data_digest: str) -> list[Cell]:
    """Every cell; all of one seed together, so that paired differences are there early."""
    cells = []
    for seed in config.seeds:
        for variant in config.variant_names:
            for choice in config.initial_choice:
                base = _base(config, data_digest, seed, variant, choice)
                for batch_size in config.batch_sizes:
                    cells += _cells(config, base, Setting(variant, choice, batch_size))
    return cells


def bases(cells: Sequence[Cell]) -> list[Base]:
    """Different bases in the order of their first cell."""
    return list({cell.base.name: cell.base for cell in cells}.values())


def most_threads(cells: Iterable[Cell]) -> int:
    """Threads of the cell that is to use most; 1 without cells."""
    return max((int(cell.base.settings["threads"]) for cell in cells), default=1)


def _base(config: SimulationConfig, data_digest: str, seed: int, variant: str, choice: str) -> Base:
    settings = config.settings(variant)
    settings.setdefault("threads", DEFAULT_THREADS)
    common = settings.get("query", {})
    start = {**settings, "seed": seed, "query": {**common, "strategy": choice, "cold_start": choice}}
    start["query"].pop("budget", None)
    drawn = config.model_dump(
        mode="json", include={"test_fraction", "pool_size", "test_size", "imbalance", "label_noise"}
    )
    draw = fingerprint(ENGINE, data_digest, _tuples(drawn), seed)
    name = fingerprint(draw, config.initial_labels, _tuples(start))
    return Base(
        name=name,
        draw=draw,
        seed=seed,
        variant=variant,
        initial_choice=choice,
        initial_labels=config.initial_labels,
        settings=start,
    )


def _cells(config: SimulationConfig, base: Base, setting: Setting) -> list[Cell]:
    common = config.settings(setting.variant).get("query", {})
    cells = []
    for strategy in config.strategies:
        query = {**common, **strategy.keys}
        query.pop("budget", None)
        name = fingerprint(base.name, setting.batch_size, _tuples(query))
        cells.append(Cell(name, base, setting, strategy.shown, query, config.rounds_of(setting.batch_size)))
    return cells


def _tuples(settings: dict[str, Any]) -> tuple[object, ...]:
    """Settings in an order of their own, for :func:`fingerprint`."""
    return tuple((key, _tuples(value) if isinstance(value, dict) else value) for key, value in sorted(settings.items()))
