"""The shape of a simulation's configuration: every key, its default, its range and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from dalcli.config.querying import MAX_BUDGET, QueryConfig
from dalcli.config.schema import Config
from dalcli.config.values import Section

SET_BY_SIMULATION = ("seed", "classes")
"""Keys of ``dalcli.yaml`` that a simulation sets itself."""
PER_STRATEGY = ("name", "label")
_NOT_PER_STRATEGY = ("strategy", "cold_start", "budget", "close_at")


def _as_tuple(value: object) -> object:
    """One value may stand for a list of one."""
    return value if isinstance(value, list | tuple) else (value,)


def _as_seeds(value: object) -> object:
    """``seeds: 3`` means 0, 1 and 2."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("should be a number of seeds from 1 on, or a list of seeds")
        return tuple(range(value))
    return value


def _as_mapping(key: str) -> BeforeValidator:
    """Text alone stands for a mapping with this one key."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def _as_counts(value: object) -> object:
    """YAML reads the class 7 as a number."""
    return {str(name): count for name, count in value.items()} if isinstance(value, dict) else value


Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1, le=MAX_BUDGET)]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class SourceConfig(Section):
    """Where labeled images come from."""

    kind: str = Field(min_length=1, description="folder, manifest, workspace, digits, cifar10, svhn or caltech101")
    path: Path | None = Field(None, description="the folder or file; relative to this configuration")
    test: Path | None = Field(None, description="folder: another folder per class that is the test set")
    download: bool = Field(True, description="cifar10, svhn, caltech101: let torchvision fetch what is not at `path`")


class StrategyConfig(QueryConfig):
    """One contestant: a strategy with any keys of ``query:`` in ``dalcli.yaml``."""

    name: str = Field(min_length=1, description="the strategy; other keys are those of `query:` in dalcli.yaml")
    label: str = Field("", description="what reports call it; default: the name and the keys given")

    @model_validator(mode="before")
    @classmethod
    def _only_what_differs(cls, value: object) -> object:
        for key in _NOT_PER_STRATEGY:
            if isinstance(value, Mapping) and key in value:
                instead = {"strategy": "write name:", "cold_start": "see initial_choice:", "budget": "see batch_sizes:"}
                raise ValueError(f"{key} does not differ by strategy here; {instead.get(key, 'see workspace:')}")
        return value

    @property
    def keys(self) -> dict[str, Any]:
        """The ``query`` keys given, the strategy's name among them."""
        given = self.model_dump(mode="json", include=self.model_fields_set - set(PER_STRATEGY))
        return {"strategy": self.name, **given}

    @property
    def shown(self) -> str:
        """What reports call it."""
        given = [f"{key}={value}" for key, value in self.keys.items() if key != "strategy"]
        return self.label or " ".join([self.name, *given])


class ImbalanceConfig(Section):
    """How many images of each class the pool has; the test set stays as it is."""

    shape: Literal["exponential", "power"] | None = Field(
        None, description="exponential: counts fall by the same factor from class to class; power: as a long tail"
    )
    ratio: float = Field(10.0, ge=1, le=1e6, description="most frequent : rarest class")
    shuffle: bool = Field(True, description="every seed draws which classes are rare; false: the last ones are")
    counts: Annotated[dict[str, Annotated[int, Field(ge=0)]] | None, BeforeValidator(_as_counts)] = Field(
        None, description="images by class, instead of a shape; classes not listed keep all"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> ImbalanceConfig:
        if (self.shape is None) == (self.counts is None):
            raise ValueError("give either shape: exponential or power, or counts: of each class")
        return self


class SimulationConfig(Section):
    """All of a simulation's configuration."""

    title: str = Field("", description="what reports are called; default: the file's name")
    source: Annotated[SourceConfig, _as_mapping("kind")] = Field(description="labeled images: a kind, or its settings")
    strategies: tuple[Annotated[StrategyConfig, _as_mapping("name")], ...] = Field(
        min_length=1, description="names, or mappings: name, any key of `query:`, label"
    )
    seeds: Annotated[tuple[Seed, ...], BeforeValidator(_as_seeds)] = Field(
        (0, 1, 2, 3, 4), min_length=1, description="a number of seeds (from 0), or a list of them"
    )
    initial_labels: Count = Field(description="labels before the first choice by a strategy")
    initial_choice: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        ("random",),
        min_length=1,
        description="how those are chosen (cold start): random, typiclust, maxherding, coreset, or a list to compare",
    )
    batch_sizes: Annotated[tuple[Count, ...], BeforeValidator(_as_tuple)] = Field(
        min_length=1, description="labels per round: a number, or a list to compare"
    )
    rounds: int | None = Field(None, ge=0, le=100_000, description="rounds after the initial labels")
    budget: Count | None = Field(None, description="labels after the initial ones, instead of rounds")
    test_fraction: Fraction | None = Field(
        None,
        description="part of every class that is the test set, drawn per seed; default: the source's own, else 0.2",
    )
    pool_size: Count | None = Field(None, description="at most this many images in the pool, drawn per seed")
    test_size: Count | None = Field(None, description="at most this many test images, drawn per seed")
    imbalance: ImbalanceConfig | None = Field(None, description="unequal class counts in the pool")
    label_noise: float = Field(0.0, ge=0, lt=1, description="fraction of labelers' answers that are another class")
    workspace: Config = Field(Config(), description="any keys of dalcli.yaml: model, training, scoring, data, ...")
    variants: dict[str, Config] = Field(
        default_factory=dict, description="name → keys of dalcli.yaml over `workspace`, to compare (warm, reinit, ...)"
    )
    accuracies: tuple[Fraction, ...] = Field((), description="report the labels needed for these accuracies")
    baseline: str = Field("random", description="the strategy (its label) that others are compared with")
    confidence: float = Field(0.95, gt=0, lt=1, description="level of the bootstrap intervals over seeds")
    output: Path | None = Field(None, description="results; default: a folder beside this file, named like it")

    @field_validator("workspace", "variants", mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        """A key with nothing below it means the defaults."""
        if isinstance(value, dict):
            return {name: {} if part is None else part for name, part in value.items()}
        return {} if value is None else value

    @field_validator("workspace", "variants")
    @classmethod
    def _left_to_the_simulation(cls, value: Any) -> Any:
        for config in [value] if isinstance(value, Config) else value.values():
            for key in SET_BY_SIMULATION:
                if key in config.model_fields_set:
                    raise ValueError(f"{key} is set by the simulation: remove it")
            if "reserve" in config.evaluation.model_fields_set:
                raise ValueError("evaluation.reserve has no meaning here: see test_fraction")
        return value

    @property
    def variant_names(self) -> tuple[str, ...]:
        """At least one; without ``variants`` it has no name."""
        return tuple(self.variants) or ("",)

    def settings(self, variant: str) -> dict[str, Any]:
        """The keys of ``dalcli.yaml`` that were given for one variant, checked together.

        Raises:
            ValueError: they contradict each other.
        """
        common = self.workspace.model_dump(mode="json", exclude_unset=True)
        own = self.variants[variant].model_dump(mode="json", exclude_unset=True) if variant else {}
        merged = _merged(common, own)
        Config.model_validate(merged)
        return merged

    def rounds_of(self, batch_size: int) -> int:
        """Rounds after the initial labels."""
        if self.rounds is not None:
            return self.rounds
        assert self.budget is not None
        return self.budget // batch_size


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the keys of ``above`` instead of its own; sections are merged key by key."""
    merged = dict(below)
    for key, value in above.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(before, value)
        else:
            merged[key] = value
    return merged
