"""What a query is asked and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dalcli.config.querying import QueryConfig
from dalcli.state.batches import BatchOptions
from dalcli.state.catalog import Purpose

Relabel = Literal["disputed", "suspects"]


@dataclass(frozen=True)
class QueryRequest:
    """For every step of a query to agree on what is asked: the command line, with the configuration behind it.

    Attributes:
        budget: how many samples are wanted.
        purpose: what their labels are for.
        query: the configuration, with the strategy, γ and control arm of the command line where it named them.
        stale_ok: choose although labels are newer than the model.
        new: issue another batch although one is open.
        key: the name that such a batch has for ever; None: none.
        relabel: which samples that have labels already are to be looked at again; None: a batch of new ones.
        auto_labeled: samples that a model has labeled, drawn at random for people to check.
        wait: seconds to wait for another process that computes, if something has to be computed.
        typed: the options that make two queries the same, as they were typed; None where one was not.
    """

    budget: int
    purpose: Purpose
    query: QueryConfig
    stale_ok: bool = False
    new: bool = False
    key: str | None = None
    relabel: Relabel | None = None
    auto_labeled: bool = False
    wait: float = 0.0
    typed: Mapping[str, object] = field(default_factory=dict)

    @property
    def options(self) -> BatchOptions:
        """What a batch that answers this is remembered by."""
        purpose: dict[str, object] = {"purpose": self.purpose}
        effective: dict[str, object] = {"budget": self.budget}
        if self.relabel is not None:
            effective["relabel"] = self.relabel
        elif self.auto_labeled:
            effective["auto_labeled"] = True
        elif self.purpose == "training":
            effective |= {"strategy": self.query.strategy, "gamma": self.query.gamma}
            if self.query.control:
                effective["control"] = self.query.control
            if self.query.strategy == "composed":
                effective["compose"] = self.query.compose.model_dump()
            if self.query.strategy == "albl":
                effective["experts"] = self.query.experts
        return BatchOptions(typed=purpose | dict(self.typed), effective=purpose | effective)


@dataclass(frozen=True)
class QueryResult:
    """For whoever asked: the batch's bytes, exactly as they are to be printed."""

    batch_id: str
    csv: bytes
