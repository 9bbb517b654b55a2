"""Sections of ``dalcli.yaml`` that ``plan`` reads: what is wanted, and what labels cost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dalcli.config.values import Section

Price = Annotated[float, Field(ge=0, le=1e12)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class PlanConfig(Section):
    """What is wanted of the model."""

    target: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="what `plan` plans for unless --target says otherwise, in units of `plan.metric`: 0.95 of accuracy",
    )
    metric: str = Field(
        "accuracy",
        min_length=1,
        description="accuracy; macro (mean recall over classes); recall:CLASS; or error (mean cost of an answer, by "
        "`error_costs`), where less is better",
    )
    error_costs: dict[str, dict[str, Price]] = Field(
        {},
        description="metric: error: cost of taking one class for another, as true class: {answer: cost}; pairs "
        "that are not named cost 1, right answers nothing",
    )

    @field_validator("error_costs", mode="before")
    @classmethod
    def _nothing_below(cls, value: object) -> object:
        return {} if value is None else value


class CostsConfig(Section):
    """What labels cost, in money and in days, and what accuracy is worth. All money is in `currency`."""

    currency: str | None = Field(None, max_length=12, description="what amounts are shown in: EUR, USD, ...")
    price_per_vote: Price | None = Field(
        None,
        description="one annotator's answer about one image; default: what the ledger's `cost` comes to, or "
        "`price_per_hour`",
    )
    price_per_vote_by_annotator: dict[str, Price] = Field({}, description="annotators who cost something else")
    price_per_vote_by_class: dict[str, Price] = Field(
        {}, description="answers that cost something else; an annotator's own price wins"
    )
    price_per_hour: Price | None = Field(
        None, description="what an hour of labeling costs, where votes have no price of their own"
    )
    seconds_per_vote: Annotated[float, Field(gt=0, le=1e7)] | None = Field(
        None, description="with price_per_hour; default: the mean of the ledger's `seconds`"
    )
    votes_per_sample: float = Field(
        1.0, ge=1, le=1000, description="answers collected for every image, on average, until its label counts"
    )
    price_per_round: Price = Field(0.0, description="fixed cost of a round: training, setting up, somebody's hour")
    labels_per_day: Annotated[float, Field(ge=1e-3, le=1e9)] | None = Field(
        None, description="images that come back labeled on a working day"
    )
    working_days: tuple[Weekday, ...] = Field(
        ("mon", "tue", "wed", "thu", "fri"), min_length=1, description="days of the week on which labels come in"
    )
    days_per_round: float = Field(
        0.0, ge=0, le=1000, description="working days that a round takes besides its labels: training, handing out"
    )
    value_per_point: Price = Field(0.0, description="what a point (0.01) of the metric is worth, up to the target")
    penalty_for_missing_target: Price = Field(0.0, description="what it costs, once, to end below the target")

    @field_validator("price_per_vote_by_annotator", "price_per_vote_by_class", mode="before")
    @classmethod
    def _nothing_below(cls, value: object) -> object:
        return {} if value is None else value

    @field_validator("working_days")
    @classmethod
    def _each_once(cls, value: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        if len(set(value)) < len(value):
            raise ValueError("the same day is named twice")
        return value

    @model_validator(mode="after")
    def _seconds_of_something(self) -> CostsConfig:
        if self.seconds_per_vote is not None and self.price_per_hour is None:
            raise ValueError("seconds_per_vote means something with price_per_hour only")
        return self
