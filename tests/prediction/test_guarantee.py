"""The promise is broken no more often than it says, by draws from known laws; and every step by definition."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from dalcli.prediction.guarantee import Evidence, Promise, bound, capped, last_passed, prospects

ASKED = Promise(0.02, 0.05)
DRAWS = 600


def calibrated(confidence: np.ndarray) -> np.ndarray:
    return 1 - confidence


def overconfident(confidence: np.ndarray) -> np.ndarray:
    return np.minimum(1, 2 * (1 - confidence) + 0.01)


def always_a_little_too_wrong(confidence: np.ndarray) -> np.ndarray:
    return np.full(len(confidence), 1.1 * ASKED.max_error)


def drawn(rng: np.random.Generator, count: int, law: Callable[..., np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    sure = (1 - 0.5 * rng.beta(0.3, 1.5, count)).astype(np.float32)
    return sure, rng.random(count) < law(sure)


def naive(sure: np.ndarray, wrong: np.ndarray) -> float:
    """The lowest threshold above which the measured error is no larger than promised: what anybody would try first."""
    order = np.argsort(-sure, kind="stable")
    good = np.flatnonzero(np.cumsum(wrong[order]) <= ASKED.max_error * np.arange(1, len(sure) + 1))
    return float(sure[order][good[-1]]) if len(good) else 2.0


@pytest.mark.parametrize("law", [calibrated, overconfident, always_a_little_too_wrong])
def test_the_true_error_exceeds_the_promise_in_few_draws(law: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(7)
    broken = seen_broken = naively = made = 0
    for _ in range(DRAWS):
        pool, pool_wrong = drawn(rng, 3000, law)
        sure, wrong = drawn(rng, 500, law)
        step = last_passed(Evidence(pool, len(pool), len(sure), sure[wrong]).tested(ASKED))
        if step is not None:
            made += 1
            taken = capped(pool) >= np.float32(step.threshold)
            broken += law(pool[taken]).mean() > ASKED.max_error
            seen_broken += pool_wrong[taken].mean() > ASKED.max_error
        taken = pool >= naive(sure, wrong)
        naively += bool(taken.any()) and law(pool[taken]).mean() > ASKED.max_error
    limit = stats.binom.ppf(0.999, DRAWS, ASKED.miss)  # chance of a false alarm: 1 in 1000
    assert broken <= limit
    assert seen_broken <= limit
    assert naively > 4 * limit  # it is worth the trouble
    assert made > 0 or law is always_a_little_too_wrong


def test_what_a_strategy_took_out_of_the_pool_may_all_have_been_easy() -> None:
    """Every easy image is taken out of the pool; the evaluation set still has its like. The promise holds."""
    rng = np.random.default_rng(3)
    made, broken = [0, 0], [0, 0]
    for _ in range(200):
        hard = rng.random(3000) < 0.5
        wrong = hard & (rng.random(3000) < 1.3 * ASKED.max_error)  # too many of those that are left, not of all
        left = wrong[hard]
        sure = np.full(len(left), 0.99, np.float32)
        test = rng.random(2000) < 0.65 * ASKED.max_error
        for place, population in enumerate((3000, len(left))):  # as it is done; as if they had been drawn at random
            step = last_passed(
                Evidence(sure, population, len(test), np.full(test.sum(), 0.99, np.float32)).tested(ASKED)
            )
            made[place] += step is not None
            broken[place] += step is not None and left.mean() > ASKED.max_error
    assert broken[0] <= stats.binom.ppf(0.999, 200, ASKED.miss)
    assert broken[1] > 50


def test_a_promise_holds_where_both_exact_tails_say_so() -> None:
    rng = np.random.default_rng(2)
    for _ in range(300):
        labels, population = int(rng.integers(1, 2000)), int(rng.integers(1, 3000))
        accepted = int(rng.integers(1, population + 1))
        wrong = int(rng.integers(0, min(labels, 20) + 1))
        allowed = ASKED.max_error * accepted
        tails = (
            stats.binom.cdf(wrong, labels, allowed / population),
            stats.hypergeom.cdf(wrong, labels + population, wrong + int(allowed) + 1, labels),
        )
        assert ASKED.holds(wrong, labels, population, accepted) == (max(tails) <= ASKED.miss)
        assert (bound(wrong, labels, population, accepted, ASKED.miss) <= ASKED.max_error) == (max(tails) <= ASKED.miss)


def test_thresholds_go_down_and_stop_at_the_first_that_fails() -> None:
    rng = np.random.default_rng(1)
    pool, _ = drawn(rng, 2000, calibrated)
    sure, wrong = drawn(rng, 1500, calibrated)
    evidence = Evidence(pool, 2000, 1500, sure[wrong])
    steps = evidence.tested(ASKED)
    assert [step.passed for step in steps] == [True] * (len(steps) - 1) + [False]
    for step in steps:
        assert step.accepted == int((capped(pool) >= np.float32(step.threshold)).sum())
        assert step.wrong == int((capped(sure[wrong]) >= np.float32(step.threshold)).sum())
        assert step.passed == ASKED.holds(step.wrong, 1500, 2000, step.accepted)
    assert all(one.accepted < next_one.accepted for one, next_one in pairwise(steps))


def test_the_sequence_does_not_depend_on_the_labels() -> None:
    rng = np.random.default_rng(1)
    pool, _ = drawn(rng, 500, calibrated)
    few, many = (Evidence(pool, 500, 400, np.full(count, 0.97, np.float32)) for count in (0, 300))
    assert few.first(ASKED, 400) == many.first(ASKED, 400)
    first = few.first(ASKED, 400)
    assert first is not None
    assert [step[:2] for step in few.sequence(first)] == [step[:2] for step in many.sequence(first)]


def test_how_many_more_labels_it_takes() -> None:
    pool = np.linspace(0.5, 0.99, 4000).astype(np.float32)
    evidence = Evidence(pool, 4000, 40, np.empty(0, np.float32))
    assert last_passed(evidence.tested(Promise(0.01, 0.05))) is None
    first = next(iter(prospects(evidence, Promise(0.01, 0.05))))
    assert first.accepted == 4000
    sample = [n for n in range(40, 400) if last_passed(evidence.tested(Promise(0.01, 0.05), n)) is not None]
    assert first.labels == sample[0]
    assert 299 <= first.labels <= 330  # ln 0.05 / ln 0.99 = 298.1; a little more for these very 4,000


def test_with_errors_among_the_surest_no_number_of_labels_would_do() -> None:
    pool = np.full(100, 0.9, np.float32)
    evidence = Evidence(pool, 100, 100, np.full(10, 0.95, np.float32))
    assert list(prospects(evidence, ASKED)) == []


def test_confidences_that_float32_cannot_tell_apart_are_one() -> None:
    nearly = np.array([1 - 2e-7, 1.0, 0.5], np.float32)
    assert capped(nearly)[0] == capped(nearly)[1]
