"""From inputs to the columns of a shard: those of the groups that are wanted, and no more work than they take."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dalcli.data.pixels import Inputs
from dalcli.gradients.dropout import DropoutSpec
from dalcli.gradients.engine import GradientScores
from dalcli.gradients.forward import Prediction
from dalcli.gradients.projection import SketchSpec
from dalcli.scores.columns import COLUMNS, DIGEST, Digests, Group, Screened
from dalcli.scores.prescreen import Prescreen
from dalcli.scoring.scorer import Scorer

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Extras:
    """What a table holds besides exact scores of everything."""

    sketch: SketchSpec | None = None
    prescreen: Prescreen | None = None
    dropout: DropoutSpec | None = None


PLAIN = Extras()


@dataclass(frozen=True)
class Scoring:
    """How samples become columns: ``direction`` is G_S on the device, ``micro_batch`` how many are scored at once."""

    scorer: Scorer
    direction: Mapping[str, Tensor]
    micro_batch: int
    extras: Extras = PLAIN

    def columns(self, digests: Digests, blocks: Iterable[Inputs], groups: Collection[Group]) -> Columns:
        """Columns of ``groups`` of the samples (n, 16), whose inputs come in ``blocks`` of at most ``micro_batch``.

        A backward pass only for gradients, a forward pass only for predictions.
        """
        if Group.GRADIENTS in groups and self.extras.prescreen is not None:
            columns = _Screening(self, self.extras.prescreen, digests, groups).run(blocks)
        else:
            parts: list[Columns] = []
            for inputs in map(self.scorer.inputs, blocks):
                found: Columns = {}
                if Group.GRADIENTS in groups:
                    found = columns_of(self.scorer.engine.score(inputs, self.direction, self.extras.sketch))
                elif Group.PREDICTIONS in groups:
                    found = predicted_columns(self.scorer.engine.predict(inputs))
                parts.append(found | (self.dropped(inputs) if Group.DROPOUT in groups else {}))
            columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if self.scorer.loaded.meta.spec.frozen is not None:
            columns.pop("features", None)  # they are in the cache, for all versions
        return {DIGEST: digests} | {name: value for name, value in columns.items() if COLUMNS[name].group in groups}

    def exact(self, seen: Inputs) -> Columns:
        """All that a backward pass tells of pixels or features, with sketches where the table has them."""
        inputs = self.scorer.inputs(seen)
        return columns_of(self.scorer.engine.score(inputs, self.direction, self.extras.sketch))

    def dropped(self, inputs: Tensor) -> Columns:
        """Predictions of the inputs (n, 3, H, W) under dropout masks, where the table has them."""
        if self.extras.dropout is None:
            return {}
        found = self.scorer.sampler(self.extras.dropout).sample(inputs)
        return {"mc_probabilities": found.probabilities.cpu().numpy()}


class _Screening:
    """One shard of a prescreened table: a forward pass for everything, exact scores for full micro-batches of those
    that pass. Their pixels wait in memory, fewer than two micro-batches of them.
    """

    def __init__(self, scoring: Scoring, prescreen: Prescreen, digests: Digests, groups: Collection[Group]) -> None:
        self._scoring, self._prescreen, self._digests, self._groups = scoring, prescreen, digests, groups
        self._seen = 0
        self._predicted: list[Columns] = []
        self._exact: Columns = {}
        self._waiting: list[tuple[NDArray[np.int64], Inputs]] = []

    def run(self, blocks: Iterable[Inputs]) -> Columns:
        self._empty_columns()
        for block in blocks:
            self._take(block)
            while self._count() >= self._scoring.micro_batch:
                self._score(self._scoring.micro_batch)
        while self._count():
            self._score(self._count())
        predicted = {name: np.concatenate([part[name] for part in self._predicted]) for name in self._predicted[0]}
        return predicted | self._exact

    def _empty_columns(self) -> None:
        count = len(self._digests)
        self._exact = {name: np.full(count, np.nan) for name in ("grad_sq_norm", "grad_inner")}
        if self._scoring.extras.sketch is not None:
            self._exact["sketch"] = np.full((count, self._scoring.extras.sketch.dimension), np.nan, np.float32)
        places = self._prescreen.places(self._digests)
        known = np.flatnonzero(places >= 0)
        for name, array in self._prescreen.known.items():
            self._exact[name][known] = array[places[known]]

    def _take(self, block: Inputs) -> None:
        rows = np.arange(self._seen, self._seen + len(block))
        self._seen += len(block)
        inputs = self._scoring.scorer.inputs(block)
        prediction = self._scoring.scorer.engine.predict(inputs)
        codes = self._prescreen.codes(self._digests[rows], *seen_by_proxy(prediction))
        passing = np.isin(codes, (Screened.PROMISING, Screened.CONTROL))
        dropped = self._scoring.dropped(inputs) if Group.DROPOUT in self._groups else {}
        self._predicted.append(predicted_columns(prediction) | dropped | {"prescreen": codes})
        if passing.any():
            self._waiting.append((rows[passing], block[passing]))

    def _count(self) -> int:
        return sum(len(rows) for rows, _ in self._waiting)

    def _score(self, size: int) -> None:
        """Score the first ``size`` of those that wait."""
        rows = np.concatenate([rows for rows, _ in self._waiting])
        pixels = np.concatenate([block for _, block in self._waiting])
        self._waiting = [(rows[size:], pixels[size:])] if len(rows) > size else []
        found = self._scoring.exact(pixels[:size])
        for name, column in self._exact.items():
            column[rows[:size]] = found[name]


def columns_of(found: GradientScores) -> Columns:
    """What a shard keeps of scores."""
    assert found.inner is not None  # there always is a direction
    columns: Columns = {
        "grad_sq_norm": found.sq_norm.double().cpu().numpy(),
        "grad_inner": found.inner.double().cpu().numpy(),
        "probabilities": found.probabilities.cpu().numpy(),
        "features": found.features.float().cpu().numpy(),
    }
    return columns if found.sketch is None else columns | {"sketch": found.sketch.float().cpu().numpy()}


def predicted_columns(found: Prediction) -> Columns:
    """What a shard keeps of a forward pass."""
    return {"probabilities": found.probabilities.cpu().numpy(), "features": found.features.float().cpu().numpy()}


def seen_by_proxy(found: Prediction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the proxy reads of a forward pass: residuals and features, (n, K) and (n, d)."""
    return found.residuals.cpu().numpy(), found.features.double().cpu().numpy()
