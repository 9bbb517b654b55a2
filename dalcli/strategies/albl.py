"""ALBL, active learning by learning: a bandit learns which base strategy to follow (Hsu & Lin, AAAI 2015).

EXP4.P over experts. For every pick an expert is drawn and its best sample not yet taken is asked. Once labels are back
and a model is trained on them, the reward is that model's accuracy on all samples asked so far, weighted by the
inverse of their probability of having been asked; experts that advised what was asked share it. A hedge where nobody
knows which strategy suits the data; it pays for learning that with some rounds.

Differences to the paper: a whole batch is drawn before weights change, and the weighted accuracy is divided by the sum
of weights (not by pool size × rounds, which in a large pool leaves no reward to learn from).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.scores.columns import Floats
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Answers, Memory, Request, Selection, Strategy


@dataclass(frozen=True)
class ActiveByLearning:
    """The bandit.

    Attributes:
        experts: the base strategies by name.
        rounds: for how many rounds it plans: fewer, and it explores and learns faster.
        confidence: 1 − δ, with which EXP4.P's regret bound is to hold.

    The memory is ``{"experts": [names], "weights": [numbers], "asked": [[sample in hexadecimal, its probability,
    [experts that advised it], round]], "round": n}``. Bytes while running: those of the experts, one after the other.
    """

    experts: Mapping[str, Strategy]
    rounds: int = 20
    confidence: float = 0.9

    def __post_init__(self) -> None:
        if len(self.experts) < 2:
            raise ValueError("a bandit needs at least two experts")

    @property
    def columns(self) -> tuple[str, ...]:
        found = [column for expert in self.experts.values() for column in expert.columns]
        return tuple(dict.fromkeys((*found, "probabilities")))

    @property
    def exploration(self) -> float:
        """p_min: the least probability of any expert, √(ln N / (N · rounds)), at most 1/N."""
        count = len(self.experts)
        return min(math.sqrt(math.log(count) / (count * self.rounds)), 1.0 / count)

    def select(self, request: Request, memory: Memory | None, answers: Answers) -> tuple[Selection, Memory]:
        """See :class:`~dalcli.strategies.base.Remembering`; a memory of other experts starts afresh."""
        names = list(self.experts)
        if memory is None or memory["experts"] != names:
            memory = {"experts": names, "weights": [1.0] * len(names), "asked": [], "round": 0}
        weights = self._learnt(request, memory, answers)
        advice = [expert.select(request).digests for expert in self.experts.values()]
        probabilities = self.probabilities(weights)
        digests, asked = _draw(advice, probabilities, request)
        number = int(memory["round"]) + 1
        rows = [[row.tobytes().hex(), q, experts, number] for row, (q, experts) in zip(digests, asked, strict=True)]
        remembered = {
            "experts": names,
            "weights": [float(weight) for weight in weights],
            "asked": [*memory["asked"], *rows],
            "round": number,
        }
        return Selection(digests), remembered

    def probabilities(self, weights: Floats) -> Floats:
        """With which each expert is followed: in proportion to its weight, at least :attr:`exploration`."""
        mixed: Floats = (1.0 - len(weights) * self.exploration) * weights / weights.sum() + self.exploration
        return mixed

    def _learnt(self, request: Request, memory: Memory, answers: Answers) -> Floats:
        """The weights after the last round's answers; unchanged while there are none."""
        weights = np.array(memory["weights"], np.float64)
        outcomes = _outcomes(request, memory["asked"], answers)
        last = [outcome for outcome in outcomes if outcome.round == memory["round"]]
        if not last:
            return weights
        reward = weighted_accuracy([o.correct for o in outcomes], [o.probability for o in outcomes])
        gains = np.zeros(len(weights))
        for outcome in last:
            gains[outcome.experts] += reward / outcome.probability / len(last)
        return self.updated(weights, gains)

    def updated(self, weights: Floats, gains: Floats) -> Floats:
        """EXP4.P: w · exp(p_min/2 · (gain + 1/p · √(ln(N/δ) / (N · rounds)))), scaled to a mean of 1."""
        count = len(weights)
        bonus = math.sqrt(math.log(count / (1.0 - self.confidence)) / (count * self.rounds))
        exponent = self.exploration / 2.0 * (gains + bonus / self.probabilities(weights))
        grown: Floats = weights * np.exp(exponent - exponent.max())
        scaled: Floats = grown / grown.mean()
        return scaled


@dataclass(frozen=True)
class _Outcome:
    correct: bool
    probability: float
    experts: list[int]
    round: int


def weighted_accuracy(correct: Sequence[bool], probabilities: Sequence[float]) -> float:
    """Accuracy on samples that were asked with unequal ``probabilities``: weights 1/probability, self-normalised."""
    weights = 1.0 / np.asarray(probabilities, np.float64)
    return float(weights @ np.asarray(correct, np.float64) / weights.sum())


def _outcomes(request: Request, asked: Sequence[Sequence[Any]], answers: Answers) -> list[_Outcome]:
    """What was asked, answered and scored since: whether the present model gets it right."""
    if not asked or not len(answers.digests):
        return []
    label = {row.tobytes(): int(value) for row, value in zip(answers.digests, answers.labels, strict=True)}
    answered = [(bytes.fromhex(row[0]), row) for row in asked if bytes.fromhex(row[0]) in label]
    wanted = SampleSet(np.frombuffer(b"".join(key for key, _ in answered), np.uint8).reshape(-1, 16))
    predicted: dict[bytes, int] = {}
    for block in request.blocks(("probabilities",)):
        inside = wanted.contains(block.digests)
        tops = block["probabilities"][inside].argmax(axis=1)
        predicted |= {row.tobytes(): int(top) for row, top in zip(block.digests[inside], tops, strict=True)}
    return [
        _Outcome(predicted[key] == label[key], float(row[1]), list(row[2]), int(row[3]))
        for key, row in answered
        if key in predicted
    ]


def _draw(
    advice: Sequence[NDArray[np.uint8]], probabilities: Floats, request: Request
) -> tuple[NDArray[np.uint8], list[tuple[float, list[int]]]]:
    """Pick after pick from the best that each expert has left; with each, its probability and who advised it."""
    queues = [[row.tobytes() for row in digests] for digests in advice]
    places = [0] * len(queues)
    taken: set[bytes] = set()
    chosen: list[bytes] = []
    asked: list[tuple[float, list[int]]] = []
    uniform = request.generator("albl").random(request.size)
    cumulated = np.cumsum(probabilities) / probabilities.sum()
    for number in range(request.size):
        for expert, queue in enumerate(queues):
            while queue[places[expert]] in taken:
                places[expert] += 1
        best = [queue[place] for queue, place in zip(queues, places, strict=True)]
        followed = min(int(np.searchsorted(cumulated, uniform[number], side="right")), len(best) - 1)
        experts = [expert for expert, sample in enumerate(best) if sample == best[followed]]
        taken.add(best[followed])
        chosen.append(best[followed])
        asked.append((float(probabilities[experts].sum()), experts))
    return np.frombuffer(b"".join(chosen), np.uint8).reshape(-1, 16), asked
