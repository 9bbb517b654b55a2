"""Reading a simulation's configuration: its shape, what its keys say to each other, and the names in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dalcli.config.loading import KeyPath, load_as
from dalcli.config.schema import Config
from dalcli.config.words import counted
from dalcli.errors import BadInputError
from dalcli.querying import cold_start
from dalcli.simulation import checks
from dalcli.simulation.schema import SimulationConfig
from dalcli.simulation.sources import registry as sources
from dalcli.strategies import registry as strategies


@dataclass(frozen=True)
class Simulation:
    """Says what to simulate: a checked configuration, with its paths made absolute; ``path`` is its file."""

    path: Path
    config: SimulationConfig
    output: Path

    @property
    def title(self) -> str:
        """For people."""
        return self.config.title or self.path.stem


def load(path: Path, output: Path | None = None) -> Simulation:
    """Read ``path``; results go to ``output``, or where the file says, or beside the file.

    Raises:
        BadInputError: listing every problem with its line and key.
    """
    config, lines = load_as(SimulationConfig, path)
    found = [*checks.problems(config), *_unknown_names(config)]
    if found:
        problems = [f"line {_line(lines, place)}: {'.'.join(map(str, place))}: {what}" for place, what in found]
        raise BadInputError(f"{path}: {counted(len(problems), 'problem')}", problems=problems)
    folder = Path(os.path.abspath(path)).parent
    sources.source_of(config.source, f"{path}: line {_line(lines, ('source',))}: source")
    config = config.model_copy(
        update={
            "source": sources.placed(config.source, folder),
            "workspace": _with_weights(config.workspace, folder),
            "variants": {name: _with_weights(variant, folder) for name, variant in config.variants.items()},
        }
    )
    if output is None:
        output = folder / (config.output if config.output is not None else f"{path.stem}-results")
    if output.exists() and not output.is_dir():
        raise BadInputError(f"{output}: is not a folder", "name another one for the results: --output DIR")
    return Simulation(path, config, Path(os.path.abspath(output)))


def _unknown_names(config: SimulationConfig) -> Iterator[checks.Problem]:
    """Names of strategies, tried with the keys they are given."""
    for variant in config.variant_names:
        try:
            common = config.settings(variant).get("query", {})
        except ValidationError:  # reported by checks
            continue
        tried: list[tuple[KeyPath, dict[str, object]]] = [
            (("strategies", index), strategy.keys) for index, strategy in enumerate(config.strategies)
        ]
        tried += [(("initial_choice", index), {"strategy": name}) for index, name in enumerate(config.initial_choice)]
        problems = []
        for place, keys in tried:
            query = Config.model_validate({"query": {**common, **keys}}).query
            create = strategies.create if place[0] == "strategies" else cold_start.strategy
            try:
                create(query.strategy, query, "")
            except BadInputError as error:
                problems.append((place, error.message.removeprefix(": ")))
        if problems:
            yield from problems
            return


def _line(lines: dict[KeyPath, int], place: KeyPath) -> int:
    """The line of a key, or of the nearest one around it."""
    return next((lines[place[:end]] for end in range(len(place), -1, -1) if place[:end] in lines), 1)


def _with_weights(config: Config, folder: Path) -> Config:
    """Cells are workspaces elsewhere: a weights file is named from here."""
    weights = config.model.weights
    if weights is None or not (folder / weights).is_file():
        return config
    model = config.model.model_copy(update={"weights": str(folder / weights)})
    return config.model_copy(update={"model": model})
