"""What can be wrong between the keys of a simulation's configuration, each with the key it stands at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydantic import ValidationError

from dalcli.config.loading import KeyPath
from dalcli.config.words import suggestion
from dalcli.simulation.schema import SimulationConfig

Problem = tuple[KeyPath, str]


def problems(config: SimulationConfig) -> Iterator[Problem]:
    """Contradictions; none in a sound configuration."""
    labels = [strategy.shown for strategy in config.strategies]
    yield from _twice(("strategies",), labels, ": give one of them a label")
    yield from _twice(("seeds",), config.seeds)
    yield from _twice(("batch_sizes",), config.batch_sizes)
    yield from _twice(("initial_choice",), config.initial_choice)
    yield from _length(config)
    if "baseline" in config.model_fields_set and config.baseline not in labels:
        hint = suggestion(config.baseline, labels)
        yield ("baseline",), f"{config.baseline!r} is none of the strategies{hint or ': ' + ', '.join(labels)}"
    for name in config.variant_names:
        try:
            config.settings(name)
        except ValidationError as error:
            message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            yield (("variants", name) if name else ("workspace",)), f"with the keys of workspace: {message}"


def _twice(place: KeyPath, values: Sequence[str | int], remedy: str = "") -> Iterator[Problem]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield (*place, index), f"{value!r} is there twice{remedy}"


def _length(config: SimulationConfig) -> Iterator[Problem]:
    if (config.rounds is None) == (config.budget is None):
        both = config.rounds is not None
        what = "says the same as rounds: remove one" if both else "is missing: say how many rounds (or what budget)"
        yield ("budget",), what
    if config.budget is not None:
        for index, size in enumerate(config.batch_sizes):
            if config.budget % size:
                yield ("batch_sizes", index), f"{size} does not divide the budget of {config.budget}"
