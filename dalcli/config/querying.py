"""Section ``query`` of ``dalcli.yaml``: what is asked next, and how strategies are put together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from dalcli.config.values import Section, as_bytes, as_gamma

MAX_BUDGET = 10**9

FROZEN_QUERY = {"strategy": "uncertainty-herding", "cold_start": "maxherding"}
"""Defaults of `query` with `train: head`."""


class ComposeConfig(Section):
    """A strategy of your own, put together from parts: `query.strategy: composed`."""

    score: Literal["uniform", "dynamical", "margin", "entropy", "confidence"] = Field(
        "dynamical", description="what makes a sample worth a label; uniform: nothing, only where it lies counts"
    )
    power: float | None = Field(
        None,
        ge=0,
        le=1000,
        description="draw in proportion to score^power instead of taking the highest; not set: take the highest",
    )
    class_balance: bool = Field(
        False, description="take the highest of every predicted class in turn, the rarest among the labeled first"
    )
    selection: Literal["top", "kmeans++", "k-center", "lcmd", "clusters"] = Field(
        "top",
        description="top: the highest scores; else the batch is spread over `space`: by draws in proportion to squared "
        "distances, farthest first, largest cluster first, or in turn from clusters",
    )
    candidates: float | None = Field(
        10.0,
        ge=1,
        le=1e9,
        description="spread over the highest scores, this many times the budget; null: over the whole pool",
    )
    space: Literal["features", "probabilities", "last-layer", "sketch"] = Field(
        "features",
        description="where samples are near each other: the last layer's inputs, predictions, the last layer's "
        "gradients (BADGE), or sketches of all gradients (needs `scoring.sketch`)",
    )
    weight: float = Field(
        0.0, ge=0, le=1000, description="kmeans++: draws are in proportion to distance² · score^weight"
    )
    relative: bool = Field(
        False, description="kmeans++: distances relative to the length; with weight 1, the first draw is by score alone"
    )
    apart_from_labeled: bool = Field(
        False, description="keep away from labeled samples too, not only from the batch and from what is in flight"
    )

    @model_validator(mode="after")
    def _parts_that_fit(self) -> ComposeConfig:
        if self.selection != "kmeans++" and (self.weight > 0 or self.relative):
            raise ValueError(f"weight and relative belong to selection: kmeans++, not {self.selection}")
        if self.selection == "clusters" and self.space == "last-layer":
            raise ValueError("selection: clusters needs means, which last-layer gradients have none of: use sketch")
        return self


class QueryConfig(Section):
    """What is asked next."""

    strategy: str = Field(
        "diverse-margin",
        description="how samples are chosen once there is a model; `score` computes what this strategy reads; default "
        "with `model.train: head`: uncertainty-herding",
    )
    cold_start: str = Field(
        "random",
        description="how samples are chosen while there is no model: random, or by what images look like: typiclust, "
        "maxherding, coreset, or composed of features alone; default with `model.train: head`: maxherding",
    )
    gamma: Annotated[float, BeforeValidator(as_gamma)] = Field(
        2.0,
        ge=0,
        allow_inf_nan=True,
        description="weight of the interaction with the labeled set in Δ (Eq. 15); 0 to inf",
    )
    budget: int | None = Field(None, ge=1, le=MAX_BUDGET, description="default of `query --budget`")
    memory_limit: Annotated[int, Field(ge=1_000_000), BeforeValidator(as_bytes)] = Field(
        1536 << 20,
        description="memory for the columns of samples that a strategy compares, in bytes or with a unit; if the pool "
        "needs more, a random part of it is compared",
    )
    control: float = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of every training batch that is drawn at random instead, to tell what the strategy is "
        "worth (`evaluate --control`): 0.1, say",
    )
    close_at: float = Field(
        1.0, gt=0, le=1, description="a batch closes once this fraction is answered; the rest is released"
    )
    experts: tuple[str, ...] = Field(
        ("coreset", "confidence"), min_length=2, description="the strategies that `albl` learns to choose between"
    )
    compose: ComposeConfig = ComposeConfig()

    @field_validator("experts")
    @classmethod
    def _different_experts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("the same strategy is named twice")
        return value

    @field_validator("compose", mode="before")
    @classmethod
    def _empty_section(cls, value: object) -> object:
        """``compose:`` with nothing below it means the defaults."""
        return {} if value is None else value
