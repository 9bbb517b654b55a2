"""BALD and BatchBALD against sums over all labelings."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from pools import ArrayTable, random_digests, request, rows_of
from scipy import stats

from dalcli.errors import NotReadyError
from dalcli.strategies.bald import Bald, mutual_information
from dalcli.strategies.batchbald import BatchBald, greedy
from dalcli.strategies.selection import TopValues


def predictions(count: int, versions: int = 5, classes: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(classes, 0.4), (count, versions)).astype(np.float16)


def table(samples: np.ndarray) -> ArrayTable:
    return ArrayTable(random_digests(len(samples)), {"mc_probabilities": samples})


def joint_information(samples: np.ndarray) -> float:
    """I(y_1, ..., y_b; ω) of normalised ``samples`` (b, T, K), over all K^b labelings."""
    count, _, classes = samples.shape
    total = 0.0
    for labels in itertools.product(range(classes), repeat=count):
        chance = np.prod([samples[row, :, label] for row, label in enumerate(labels)], axis=0).mean()
        total -= chance * math.log(chance) if chance > 0 else 0.0
    return total - float(stats.entropy(samples, axis=2).mean(axis=1).sum())


def exact(samples: np.ndarray) -> np.ndarray:
    wide = samples.astype(np.float64)
    return wide / wide.sum(axis=2, keepdims=True)


def test_bald_is_the_mutual_information() -> None:
    samples = predictions(20)
    expected = [joint_information(exact(samples)[row : row + 1]) for row in range(20)]
    np.testing.assert_allclose(mutual_information(samples), expected, rtol=1e-9)
    chosen = TopValues(Bald()).select(request(table(samples), 4))
    assert rows_of(table(samples), chosen.digests) == np.argsort(-np.array(expected))[:4].tolist()


def test_versions_that_agree_or_are_equally_unsure_tell_nothing() -> None:
    samples = np.stack([np.tile([1.0, 0, 0], (4, 1)), np.full((4, 3), 1 / 3), np.eye(3)[[0, 0, 1, 1]]])
    np.testing.assert_allclose(mutual_information(samples), [0, 0, math.log(2)], atol=1e-12)
    assert math.isnan(mutual_information(np.full((1, 2, 2), math.nan))[0])


@pytest.mark.parametrize("seed", range(4))
def test_batch_bald_takes_the_greedy_steps_of_the_joint_information(seed: int) -> None:
    samples = exact(predictions(8, seed=seed))
    picked = greedy(samples, 4, 10**6, np.random.default_rng(0)).tolist()
    for step in range(4):
        reached = [joint_information(samples[[*picked[:step], r]]) for r in range(8) if r not in picked[:step]]
        assert joint_information(samples[picked[: step + 1]]) == pytest.approx(max(reached), rel=1e-9)


def test_drawn_labelings_estimate_the_joint_information() -> None:
    samples = exact(predictions(8, seed=5))
    picked = greedy(samples, 5, 40, np.random.default_rng(1)).tolist()
    reference = greedy(samples, 5, 10**6, np.random.default_rng(1)).tolist()
    assert joint_information(samples[picked]) > 0.97 * joint_information(samples[reference])


def test_batch_bald_does_not_ask_twice_for_the_same_disagreement() -> None:
    loud = np.eye(3)[[0, 1, 2, 0]]
    other = np.eye(3)[[0, 0, 0, 1]]
    samples = np.stack([loud, loud, loud, other, np.full((4, 3), 1 / 3)])
    assert rows_of(table(samples), TopValues(Bald()).select(request(table(samples), 2)).digests) != [0, 3]
    chosen = rows_of(table(samples), BatchBald().select(request(table(samples), 2)).digests)
    assert chosen[0] in (0, 1, 2)
    assert chosen[1] == 3


@pytest.mark.parametrize("fill", ["equal", "nan", "zero", "partly nan"])
@pytest.mark.parametrize("budget", [1, 12, 100])
@pytest.mark.parametrize("strategy", [TopValues(Bald()), BatchBald(), BatchBald(labelings=16)])
def test_degenerate_predictions_give_a_batch(strategy: TopValues | BatchBald, budget: int, fill: str) -> None:
    samples = predictions(30)
    if fill == "partly nan":
        samples[::3] = math.nan
    else:
        samples[:] = {"equal": 1 / 3, "nan": math.nan, "zero": 0.0}[fill]
    scores = table(samples)
    chosen = rows_of(scores, strategy.select(request(scores, budget)).digests)
    shuffled = scores.shuffled(np.random.default_rng(0), [4, 9])
    again = strategy.select(request(shuffled, budget)).digests
    assert rows_of(scores, again) == chosen
    assert len(set(chosen)) == len(chosen) == min(budget, 30)
    if fill == "partly nan":
        assert len({row for row in chosen if row % 3}) == min(len(chosen), 20)


def test_without_dropout_samples_there_is_no_bald() -> None:
    scores = ArrayTable(random_digests(3), {"features": np.zeros((3, 1), np.float32)})
    with pytest.raises(NotReadyError, match="dropout samples"):
        BatchBald().select(request(scores, 1))
