"""Expected costs against two-point futures, whose costs can be written down."""

import numpy as np
import pytest

from dalcli.forecasting.decisions import Prices, going_on_costs, order_costs

REACHING = 0.3  # share of futures in which 100 labels suffice


@pytest.fixture
def futures() -> np.ndarray:
    low, high = [0.7, 0.72, 0.75], [0.7, 0.9, 0.92]
    return np.array([high] * 30 + [low] * 70)


def test_an_order_costs_its_labels_its_round_and_the_chance_of_missing(futures):
    prices = Prices(label=2.0, round=50.0, penalty=1000.0)
    costs = order_costs(futures, np.array([0, 100, 200]), prices, target=0.85)
    assert costs == pytest.approx([1000.0, 250 + 700.0, 450 + 700.0])


def test_points_gained_are_taken_off_up_to_the_target(futures):
    prices = Prices(label=1.0, point=40.0)
    gain = 100 * (0.3 * 0.2 + 0.7 * 0.02)
    assert order_costs(futures, np.array([0, 100, 200]), prices)[:2] == pytest.approx([0, 100 - 40 * gain])
    below = 100 * (0.3 * 0.15 + 0.7 * 0.02)
    assert order_costs(futures, np.array([0, 100, 200]), prices, 0.85)[1] == pytest.approx(100 - 40 * below)


def test_going_on_pays_for_what_a_future_needs_and_gives_up_at_the_limit():
    needed = np.array([130.0] * 3 + [np.inf] * 7)
    prices = Prices(label=2.0, round=5.0, penalty=1000.0)
    costs = going_on_costs(needed, np.array([100.0, 120, 150, 400]), today=100, batch=20, prices=prices)
    reached = 0.3 * (2 * 40 + 5 * 2)
    assert costs[0] == pytest.approx(1000)
    assert costs[1] == pytest.approx(2 * 20 + 5 + 1000)
    assert costs[2] == pytest.approx(reached + 0.7 * (2 * 50 + 5 * 3 + 1000))
    assert costs[3] == pytest.approx(reached + 0.7 * (2 * 300 + 5 * 15 + 1000))


def test_a_reached_target_costs_nothing_more():
    costs = going_on_costs(np.array([100.0, 100.0]), np.array([100.0, 300.0]), 100, 10, Prices(1.0, 1.0, 9.0))
    assert costs == pytest.approx([0, 0])
