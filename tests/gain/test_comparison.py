"""The gain's interval by simulation from known laws: it contains the truth as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

from dalcli.gain.comparison import FEWEST, Arms, Gain, compare, trainings


def law(random: np.random.Generator, active: int, control: int, better: float, spread: float) -> tuple[Arms, object]:
    """Each label contributes a number of its own to the accuracy, active ones ``better`` on average."""
    common = np.arange(10)
    arms = Arms(common, 10 + np.arange(active), 10 + active + np.arange(control))
    worth = random.normal(0, spread, 10 + active + control)
    worth[arms.common] = 0
    worth[arms.active] += better
    luck = random.random(400)  # of each evaluation example, whatever model sees it

    def judge(rows: np.ndarray) -> np.ndarray:
        assert set(common) <= set(rows)
        assert len(set(rows)) == len(rows)
        return luck < 0.7 + worth[rows[len(common) :]].mean()

    return arms, judge


def simulated(active: int, control: int, better: float, spread: float, runs: int = 100) -> list[Gain]:
    random = np.random.default_rng(active + control)
    return [compare(*law(random, active, control, better, spread), 20, random) for _ in range(runs)]


@pytest.mark.parametrize(("active", "control", "better"), [(40, 40, 0.0), (400, 40, 0.08), (40, 200, 0.0)])
def test_it_contains_the_true_gain(active: int, control: int, better: float) -> None:
    found = simulated(active, control, better, spread=0.25)
    inside = np.mean([each.interval.low <= better <= each.interval.high for each in found])
    assert inside >= 0.88
    assert np.mean([each.gain for each in found]) == pytest.approx(better, abs=0.012)
    # Not by being wide: the interval is as long as the gain varies.
    width = np.mean([each.interval.high - each.interval.low for each in found])
    assert width < 1.35 * 2 * 1.96 * np.std([each.gain for each in found])


def test_a_real_gain_is_seen() -> None:
    assert np.mean([each.interval.low > 0 for each in simulated(400, 60, 0.15, 0.2, runs=40)]) > 0.9


def test_it_says_what_was_compared_and_what_it_takes() -> None:
    random = np.random.default_rng(1)
    arms, judge = law(random, 70, 33, 0.1, 0.0)
    calls: list[int] = []

    def counted(rows: np.ndarray) -> np.ndarray:
        calls.append(len(rows))
        return judge(rows)

    found = compare(arms, counted, 6, random, level=0.9)
    assert len(calls) == trainings(arms, 6, exact=True) == 6 + 6 + 1 + 6
    assert sorted(set(calls)) == [10 + 16, 10 + 33]
    assert trainings(arms, 6, exact=False) == 4 * 6
    assert (found.compared, found.examples, found.interval.level) == (33, 400, 0.9)
    assert found.gain == pytest.approx(found.active_accuracy - found.control_accuracy)
    assert FEWEST == 30
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(Arms(arms.common, arms.active, arms.control[:1]), judge, 6, random)


def test_the_same_draws_give_the_same_interval() -> None:
    one, other = (
        compare(*law(np.random.default_rng(4), 50, 40, 0.0, 0.1), 5, np.random.default_rng(9)) for _ in range(2)
    )
    assert one == other
