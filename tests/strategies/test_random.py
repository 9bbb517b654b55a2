"""Random selection: uniform, without a model, stable for a sample whatever else is in the pool."""

from __future__ import annotations

import numpy as np
from pools import ids, random_digests, request
from scipy import stats

from dalcli.strategies.random import Random


def test_needs_no_scores_and_gives_no_values() -> None:
    assert Random().columns == ()
    chosen = Random().select(request(None, 5, random_digests(20)))
    assert chosen.values is None
    assert len(set(ids(chosen.digests))) == 5
    assert set(ids(chosen.digests)) <= set(ids(random_digests(20)))


def test_every_sample_is_as_likely_as_any_other() -> None:
    digests = random_digests(10)
    picks = [sample for seed in range(1000) for sample in ids(Random().select(request(None, 3, digests, seed)).digests)]
    assert stats.chisquare([picks.count(sample) for sample in ids(digests)]).pvalue > 1e-3


def test_order_of_the_pool_does_not_matter_and_the_seed_does() -> None:
    digests = random_digests(500)
    first, reversed_, other = (
        ids(Random().select(request(None, 50, data, seed)).digests)
        for data, seed in [(digests, 1), (digests[::-1], 1), (digests, 2)]
    )
    assert first == reversed_ != other


def test_a_growing_pool_changes_a_draw_only_by_its_newcomers() -> None:
    digests = random_digests(500)
    small = set(ids(Random().select(request(None, 50, digests[:400])).digests))
    large = set(ids(Random().select(request(None, 50, digests)).digests))
    assert large - small <= set(ids(digests[400:]))


def test_budget_beyond_the_pool_returns_all_and_an_empty_pool_nothing() -> None:
    assert set(ids(Random().select(request(None, 9, random_digests(4))).digests)) == set(ids(random_digests(4)))
    assert len(Random().select(request(None, 9, np.empty((0, 16), np.uint8))).digests) == 0
