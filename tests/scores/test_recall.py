"""The statement about what a prescreen missed, against pools whose exact values are all known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import beta, binom

from dalcli.scores.columns import Screened
from dalcli.scores.recall import PrescreenRecall, measured_recall, upper_rate
from dalcli.scores.table import ScoreBlock


def blocks(values: np.ndarray, codes: np.ndarray, inner: np.ndarray | None = None) -> Iterator[ScoreBlock]:
    """What a table shows: no value where a sample was screened away. In two pieces."""
    count = len(values)
    shown = np.where(codes == Screened.AWAY, np.nan, values)
    other = np.where(codes == Screened.AWAY, np.nan, np.zeros(count) if inner is None else inner)
    for piece in (slice(0, count // 3), slice(count // 3, count)):
        yield ScoreBlock(
            np.zeros((len(values[piece]), 16), np.uint8),
            {"grad_sq_norm": shown[piece], "grad_inner": other[piece], "prescreen": codes[piece]},
        )


def pool(rng: np.random.Generator, count: int, noise: float, control: float) -> tuple[np.ndarray, np.ndarray]:
    """Exact values, and codes of a prescreen by values with noise that lets a fifth pass."""
    values = rng.lognormal(0, 2, count)
    proxy = values * rng.lognormal(0, noise, count)
    below = proxy < np.quantile(proxy, 0.8)
    codes = np.full(count, Screened.PROMISING, np.uint8)
    codes[below] = np.where(rng.random(count)[below] < control, Screened.CONTROL, Screened.AWAY)
    return values, codes


def missed(values: np.ndarray, codes: np.ndarray, budget: int) -> int:
    """How many of the exact top have no exact scores, knowing everything."""
    return int(np.count_nonzero(codes[np.argsort(-values)[:budget]] == Screened.AWAY))


def statement(values: np.ndarray, codes: np.ndarray, budget: int | None, gamma: float = 0.0) -> PrescreenRecall:
    return measured_recall(blocks(values, codes), budget, 0.2, gamma)


def test_the_estimate_is_right_on_average_and_its_limit_holds() -> None:
    rng = np.random.default_rng(0)
    differences, holds = [], []
    for _ in range(300):
        values, codes = pool(rng, 2000, noise=1.5, control=0.1)
        found = statement(values, codes, 100)
        assert found.recall is not None
        assert found.recall_at_least is not None
        truth = 1 - missed(values, codes, 100) / 100
        differences.append(found.recall - truth)
        holds.append(found.recall_at_least <= truth)
    # A little cautious: what it counts as missed reaches the lowest of the top that was found.
    assert -0.15 < np.mean(differences) < 0.02
    assert np.mean(holds) > 0.94


def test_nothing_missed_is_a_recall_of_one_with_a_limit() -> None:
    values, codes = pool(np.random.default_rng(1), 5000, noise=0.01, control=0.1)
    found = statement(values, codes, 50)
    away, control = np.count_nonzero(codes == Screened.AWAY), np.count_nonzero(codes == Screened.CONTROL)
    assert (found.missed, found.recall, found.control_hits, found.control) == (0.0, 1.0, 0, control)
    assert found.recall_at_least == pytest.approx(max(0, 1 - away * (1 - 0.05 ** (1 / control)) / 50))
    assert (found.samples, found.scored, found.budget) == (5000, 5000 - away, 50)


def test_hits_are_scaled_up_from_the_control_sample() -> None:
    values = np.array([9.0, 8, 7, 6, 5, 8.5, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    codes = np.array([1] * 5 + [2] + [2] + [0] * 9, np.uint8)
    found = statement(values, codes, 4)  # the 4th highest exact value is 7; one of two control samples reaches it
    assert (found.control, found.control_hits, found.missed) == (2, 1, 4.0)
    assert found.recall == 0.0


def test_calibration_samples_count_as_scored_but_not_as_control() -> None:
    values = np.array([9.0, 8, 7, 6, 1, 1])
    codes = np.array([1, 3, 3, 2, 0, 0], np.uint8)
    found = statement(values, codes, 2)
    assert (found.scored, found.control, found.control_hits) == (4, 1, 0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, np.inf])
def test_gamma_decides_what_the_top_is(gamma: float) -> None:
    rng = np.random.default_rng(3)
    values, codes = pool(rng, 500, 1.0, 0.2)
    inner = rng.standard_normal(500) * 5
    combined = inner if np.isinf(gamma) else values + gamma * inner
    found = measured_recall(blocks(values, codes, inner), 25, 0.2, gamma)
    exact, control = combined[codes != 0], combined[codes == 2]
    assert found.control_hits == np.count_nonzero(control >= np.sort(exact)[-25])
    assert found.gamma == gamma


def test_the_default_budget_is_a_hundredth() -> None:
    values, codes = pool(np.random.default_rng(1), 1001, 1.0, 0.1)
    assert statement(values, codes, None).budget == 11
    assert statement(values[:3], np.ones(3, np.uint8), None).budget == 1
    assert statement(values[:3], np.ones(3, np.uint8), 500).budget == 3


def test_everything_scored_is_certain_and_no_control_is_unknown() -> None:
    values = np.arange(10.0)
    certain = statement(values, np.ones(10, np.uint8), 3)
    assert (certain.recall, certain.recall_at_least) == (1.0, 1.0)
    unknown = statement(values, np.array([1] * 5 + [0] * 5, np.uint8), 3)
    assert (unknown.missed, unknown.recall, unknown.recall_at_least) == (None, None, None)


def test_more_wanted_than_scored() -> None:
    values, codes = np.arange(10.0), np.array([0] * 5 + [2] * 2 + [1] * 3, np.uint8)
    found = statement(values, codes, 8)
    assert found.control_hits == 2
    assert found.recall_at_least == pytest.approx(1 - 5 / 8)


def test_values_that_are_not_numbers_rank_last() -> None:
    values = np.array([np.nan, 5, 4, np.nan, 3, 1])
    found = statement(values, np.array([1, 1, 1, 2, 2, 0], np.uint8), 2)
    assert found.control_hits == 0


def test_an_empty_table() -> None:
    found = measured_recall(iter(()), None, 0.2, 2.0)
    assert (found.samples, found.budget, found.recall) == (0, 0, 1.0)


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (0, 50), (0, 20_000), (1, 7), (3, 200), (40, 41), (500, 20_000)])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_limit_is_clopper_and_pearsons(hits: int, trials: int, level: float) -> None:
    found = upper_rate(hits, trials, level)
    assert found == pytest.approx(beta.ppf(level, hits + 1, trials - hits), rel=1e-6)
    assert binom.cdf(hits, trials, found) == pytest.approx(1 - level, rel=1e-4)


def test_the_limit_of_a_full_house_is_one() -> None:
    assert upper_rate(5, 5, 0.95) == 1.0
    for hits, trials, level in ((0, 0, 0.95), (3, 2, 0.95), (-1, 5, 0.95), (1, 5, 1.0)):
        with pytest.raises(ValueError, match="no limit"):
            upper_rate(hits, trials, level)
