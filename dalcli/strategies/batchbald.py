"""BatchBALD: the batch whose labels together tell most about the weights (Kirsch, van Amersfoort & Gal, NeurIPS 2019).

BALD asks for near-duplicates together; here what they tell counts once: greedy maximisation of
I(y_1, ..., y_b; ω) = H(y_1, ..., y_b) − Σ mean_t H(p_t), submodular. The joint entropy is exact while there are few
enough joint labelings of the batch, then estimated from a fixed number of them, drawn from the batch's own joint
distribution. Beyond some ten or twenty picks the estimate has seen all T versions apart and the gains are near zero: a
strategy for small batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.scores.samples import SampleSet
from dalcli.strategies.bald import Bald, entropy, mutual_information, normalised
from dalcli.strategies.base import Request, Selection
from dalcli.strategies.diverse import in_fill_order
from dalcli.strategies.gather import gather, keyed_order
from dalcli.strategies.selection import TopValues

_CANDIDATES = 1000
_LABELINGS = 4096
_NOTHING = 1e-12


@dataclass(frozen=True)
class BatchBald:
    """Greedy choice among the 1,000 samples (or as many as are asked for) of the highest BALD values.

    Memory: predictions of the candidates in float64 (8·T·K bytes each) and labelings × max(T, K) numbers. Time:
    labelings × T × K for each gain; gains shrink, so a few per pick are looked at.

    Attributes:
        labelings: how many joint labelings of a batch are followed before they are sampled.
    """

    labelings: int = _LABELINGS
    columns: tuple[str, ...] = ("mc_probabilities",)

    def select(self, request: Request) -> Selection:
        if request.size == 0:
            return Selection(np.empty((0, 16), np.uint8))
        best = TopValues(Bald()).select(replace(request, budget=max(_CANDIDATES, request.size)))
        digests = keyed_order(request, SampleSet(best.digests))
        samples = normalised(gather(request, digests, self.columns)["mc_probabilities"])
        unusable = np.asarray(~np.isfinite(samples).all(axis=(1, 2)))
        rows = np.flatnonzero(~unusable)
        picked = rows[greedy(samples[rows], request.size, self.labelings, request.generator("labelings"))]
        values = mutual_information(samples)
        rest = in_fill_order(len(digests), picked, unusable, values)
        chosen = np.concatenate([picked, rest])[: request.size]
        return Selection(digests[chosen], values[chosen], best.non_finite)


def greedy(samples: Floats, size: int, labelings: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """At most ``size`` rows of ``samples`` (n, T, K), each adding most to the joint mutual information."""
    noise = entropy(samples).mean(axis=1)
    gains = entropy(samples.mean(axis=1)) - noise
    batch = _Batch(np.ones((1, samples.shape[1])), np.ones(1))
    chosen: list[int] = []
    while len(chosen) < min(size, len(samples)):
        fresh: set[int] = set()
        row = int(gains.argmax())
        while row not in fresh:
            gains[row] = batch.entropy_given(samples[row]) - noise[row]
            fresh.add(row)
            row = int(gains.argmax())
        if not gains[row] > _NOTHING:
            break
        chosen.append(row)
        gains[row] = -np.inf
        batch = batch.extended(samples[row], labelings, generator)
    return np.array(chosen, np.intp)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Joint labelings of the chosen samples.

    Attributes:
        likelihood: (M, T) p_t(labeling), scaled to a mean of 1 over t.
        weight: (M,) probability of each labeling, summing to 1; 1/M each where they were drawn.
    """

    likelihood: Floats
    weight: Floats

    def entropy_given(self, p: Floats) -> float:
        """H(y | labels of the batch) for one more sample's ``p`` (T, K)."""
        return float(self.weight @ entropy(self._predictive(p)))

    def extended(self, p: Floats, labelings: int, generator: np.random.Generator) -> _Batch:
        """With one more sample: every label of it if they are not too many, else one drawn per labeling."""
        count, classes = len(self.weight), p.shape[1]
        if count * classes <= labelings:
            predictive = self._predictive(p)
            likelihood = self.likelihood[:, None, :] * p.T
            weight = self.weight[:, None] * predictive
            possible = weight > 0
            return _Batch(likelihood[possible] / predictive[possible][:, None], weight[possible])
        rows = generator.choice(count, labelings, p=self.weight / self.weight.sum())
        predictive = self._predictive(p)[rows]
        # The least k with P(y ≤ k) > u, among those that are possible.
        cumulated = np.cumsum(predictive, axis=1)
        labels = (cumulated <= generator.random((labelings, 1)) * cumulated[:, -1:]).sum(axis=1)
        drawn = predictive[np.arange(labelings), labels]
        likelihood = self.likelihood[rows] * p.T[labels] / drawn[:, None]
        return _Batch(likelihood, np.full(labelings, 1.0 / labelings))

    def _predictive(self, p: Floats) -> Floats:
        """P(y = k | labeling) (M, K)."""
        predictive: Floats = self.likelihood @ p / self.likelihood.shape[1]
        return predictive
