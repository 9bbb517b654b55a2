"""BALD: samples on which the model's dropout versions disagree (Houlsby et al. 2011; Gal et al., ICML 2017).

The mutual information of label and weights: the entropy of the mean prediction less the mean entropy. High where
versions are sure of different things, low where all are equally unsure: noise does not attract it. Needs a model with
dropout, and its predictions under T dropout masks in the column ``mc_probabilities`` (n, T, K).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Request
from dalcli.strategies.points import blocks


@dataclass(frozen=True)
class Bald:
    """Mutual information in nats, in [0, log K]."""

    columns: tuple[str, ...] = ("mc_probabilities",)

    def values(self, block: ScoreBlock, request: Request) -> Floats:
        return mutual_information(block["mc_probabilities"])


def mutual_information(samples: NDArray[np.floating]) -> Floats:
    """H(mean_t p_t) − mean_t H(p_t) for ``samples`` (n, T, K), rows normalised in float64; (n,), not negative."""
    result = np.empty(len(samples))
    for rows in blocks(len(samples)):
        p = normalised(samples[rows])
        gap = entropy(p.mean(axis=1)) - entropy(p).mean(axis=1)
        result[rows] = np.where(gap < 0, 0.0, gap)  # NaN stays
    return result


def normalised(samples: NDArray[np.floating]) -> Floats:
    """Probabilities in float64 that sum to 1: half precision's do not."""
    p = samples.astype(np.float64)
    with np.errstate(invalid="ignore"):
        scaled: Floats = p / p.sum(axis=-1, keepdims=True)
    return scaled


def entropy(p: Floats) -> Floats:
    """−Σ p log p over the last axis, in nats, with 0 · log 0 = 0."""
    result: Floats = -(p * np.log(np.maximum(p, np.finfo(np.float64).tiny))).sum(axis=-1)
    return result
