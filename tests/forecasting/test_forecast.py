"""Forecasts of any curve: honest, rising, within bounds, the same again; and calibrated against a law that is known."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.forecasting.calibration import features, middle, packaged, promises, sharpening
from dalcli.forecasting.curves import Curve, NotEnoughPoints, PastError, Point, measurements
from dalcli.forecasting.ensemble import ensemble
from dalcli.forecasting.forecast import forecast


def curve_of(labels, values, evaluated=1000, chance=0.1, strategy="margin"):
    points = zip(labels, values, strict=True)
    return Curve(tuple(Point(int(n), float(v), evaluated, strategy) for n, v in points), "active", chance)


USUAL = curve_of([100, 200, 300, 400, 600, 800], [0.6, 0.7, 0.745, 0.77, 0.805, 0.82])

ANY_POINTS = st.lists(
    st.tuples(
        st.integers(1, 10**6),
        st.one_of(st.sampled_from([0.0, 1.0, 0.1, 0.5]), st.floats(0, 1)),
        st.sampled_from([0, 1, 30, 1000, 10**7]),
    ),
    min_size=0,
    max_size=9,
)


@settings(max_examples=60, deadline=None)
@given(
    points=ANY_POINTS, chance=st.sampled_from([0.0, 0.1, 0.5]), horizon=st.integers(1, 10**7), seed=st.integers(0, 9)
)
def test_any_trajectory_gives_a_forecast_or_says_what_is_missing(points, chance, horizon, seed):
    curve = Curve(tuple(Point(*point) for point in points), "random", chance)
    distinct = len({labels for labels, _, _ in points})
    if distinct < 4:
        with pytest.raises(NotEnoughPoints) as refused:
            forecast(curve, horizon=horizon, seed=seed)
        assert (refused.value.have, refused.value.need) == (distinct, 4)
        return
    found = forecast(curve, horizon=horizon, seed=seed, draws=60)
    today = max(labels for labels, _, _ in points)
    assert found.sizes[0] == today
    assert found.sizes[-1] == max(horizon, today)
    assert np.all(np.diff(found.sizes) > 0)
    assert found.draws.shape == (60, len(found.sizes))
    assert np.all(np.isfinite(found.draws))
    assert np.all((found.draws >= chance) & (found.draws <= 1))
    assert np.all(np.diff(found.draws, axis=1) >= 0)
    assert np.all((found.ceiling >= found.draws[:, -1]) & (found.ceiling <= 1))
    assert sum(found.families.values()) == pytest.approx(1)
    for labels in (today, (today + horizon) // 2, horizon):
        low, middle, high = found.measured_at(labels, [0.1, 0.5, 0.9], 100)
        assert 0 <= low <= middle <= high <= 1


@settings(max_examples=25, deadline=None)
@given(target=st.floats(0, 1), more=st.lists(st.integers(800, 9000), min_size=2, max_size=5))
def test_labels_and_values_are_two_sides_of_the_same_draws(target, more):
    found = forecast(USUAL, horizon=8000, seed=3, draws=200)
    values = np.array([found.at(labels, [0.1, 0.5, 0.9]) for labels in sorted(more)])
    assert np.all(np.diff(values, axis=0) >= 0)
    needed = found.labels_for(target)
    assert np.all(np.isinf(needed) == (found.draws[:, -1] < target))
    within = needed[np.isfinite(needed)]
    assert np.all((within >= 800) & (within <= 8000))
    for labels in more:
        reached = np.mean(found.column(labels) >= target + 1e-3)
        assert reached <= np.mean(needed <= min(labels, 8000)) + 1e-9


def test_the_same_seed_gives_the_same_futures_and_another_others():
    one, same, other = (forecast(USUAL, horizon=3000, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.draws, same.draws)
    assert np.array_equal(one.ceiling, same.ceiling)
    assert not np.array_equal(one.draws, other.draws)
    assert one.at(2000, [0.5]) == pytest.approx(other.at(2000, [0.5]), abs=0.01)


def test_order_of_points_does_not_matter_and_repeats_are_averaged():
    points = USUAL.points
    assert np.array_equal(
        forecast(USUAL, horizon=2000, seed=1).draws,
        forecast(Curve(points[::-1], "active", 0.1), horizon=2000, seed=1).draws,
    )
    known = measurements(Curve((Point(10, 0.2, 100), Point(10, 0.5, 300), *points), "active", 0.1))
    assert known.value[0] == pytest.approx(0.425)
    assert known.evaluated[0] == 300


@pytest.mark.parametrize("point", [Point(10, 1.2, 100), Point(10, float("nan"), 100), Point(0, 0.5, 100)])
def test_a_point_that_cannot_be_is_refused(point):
    with pytest.raises(ValueError, match="learning curve"):
        forecast(Curve((*USUAL.points, point), "active", 0.1), horizon=1000, seed=1)


def test_measured_later_values_of_a_known_law_fall_into_the_interval():
    """By construction: POW3 with binomial noise on 500 examples; eight in ten measurements should be inside."""
    generator = np.random.default_rng(5)
    labels = np.array([100, 150, 220, 330, 500, 750])
    inside = []
    for _ in range(120):
        ceiling, exponent, first = (
            generator.uniform(0.75, 0.97),
            generator.uniform(0.3, 0.9),
            generator.uniform(0.2, 0.5),
        )
        true = ceiling - first * (np.append(labels, 1500) / 100) ** -exponent
        seen = generator.binomial(500, true) / 500
        found = forecast(curve_of(labels, seen[:-1], 500), horizon=1500, seed=1, draws=300)
        low, high = found.measured_at(1500, [0.1, 0.9], 500)
        inside.append(low <= seen[-1] <= high)
    assert 0.68 <= np.mean(inside) <= 0.95


def test_the_interval_narrows_with_examples_and_widens_with_labels_ahead():
    few, many = (
        forecast(curve_of([100, 200, 300, 400, 600], [0.6, 0.7, 0.745, 0.77, 0.805], size), horizon=4000, seed=1)
        for size in (100, 5000)
    )

    def width(found, labels):
        low, high = found.at(labels, [0.1, 0.9])
        return high - low

    assert width(many, 1200) < width(few, 1200)
    assert width(many, 600) < width(many, 1200) < width(many, 4000)
    low, high = few.measured_at(1200, [0.1, 0.9], 50)
    assert high - low > width(few, 1200)


def test_past_errors_move_and_widen_and_their_absence_does_neither():
    def past(measured):
        return PastError(1.5, 6, 0.80, 0.82, 0.84, measured, 1000)

    assert sharpening([]) == (0.0, 1.0)
    shift, widen = sharpening([past(0.84)] * 12)
    assert 0.5 < shift < 1.3
    assert widen < 1.05
    shift, widen = sharpening([past(0.88), past(0.76)] * 8)
    assert shift == pytest.approx(0)
    assert widen > 1.5
    plain = forecast(USUAL, horizon=2000, seed=1)
    taught = forecast(USUAL, horizon=2000, seed=1, past=[past(0.85)] * 8)
    assert taught.at(1600, [0.5])[0] > plain.at(1600, [0.5])[0]
    known = PastError(1.5, 6, 0.8, 0.8, 0.8, float("nan"), 0)
    assert np.array_equal(forecast(USUAL, horizon=2000, seed=1, past=[known]).draws, plain.draws)


def test_cautions_name_what_is_unusual():
    assert forecast(USUAL, horizon=3000, seed=1).cautions == ()
    rose = curve_of([100, 200, 300, 400, 500, 600], [0.6, 0.7, 0.745, 0.77, 0.785, 0.79], 0)
    mixed = Curve((*rose.points, Point(700, 0.65, 100, "random")), "active", 0.1)
    said = " ".join(forecast(mixed, horizon=10**5, seed=1).cautions)
    for words in ("beyond 2800 labels", "the curve fell", "margin, random", "is unknown"):
        assert words in said


def test_the_middle_is_the_last_value_and_shares_of_the_promises():
    made = ensemble(measurements(USUAL), np.array([800.0, 1600, 3200]), 0.1, np.random.default_rng(1))
    said = promises(made, 0.82)
    nothing, one_law = np.zeros(said.shape[1]), np.zeros(said.shape[1])
    one_law[[0, said.shape[1] // 2]] = 1  # the mean's place today and its rise, both believed
    assert middle(made, 0.82, nothing) == pytest.approx([0.82] * 3)
    assert middle(made, 0.82, one_law) == pytest.approx(made.middle)
    assert middle(made, 0.82, 1000 * one_law).max() <= 1


def test_the_packaged_table_is_whole():
    table = packaged()
    made = ensemble(measurements(USUAL), np.array([800.0, 1600]), 0.1, np.random.default_rng(1))
    assert table.shares.shape == promises(made, 0.82).shape[1:]
    assert table.coefficients.shape == features(made, np.array([1.0, 2.0]), 0.82, 6, 8.0).shape[1:]
    assert np.all(np.isfinite(table.shares))
    assert table.quantiles.shape == (len(table.points), len(table.factors), len(table.levels))
    assert np.all(np.isfinite(table.coefficients))
    assert np.all(np.diff(table.quantiles, axis=2) >= 0)


def test_a_forecast_takes_less_than_seven_tenths_of_a_second():
    labels = np.arange(1, 31) * 100
    curve = curve_of(labels, 0.9 - 0.5 * (labels / 100) ** -0.5)
    forecast(curve, horizon=20000, seed=1)
    taken = []
    for seed in range(3):
        start = time.process_time()
        forecast(curve, horizon=20000, seed=seed)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.7


def test_importing_it_loads_neither_torch_nor_scipy():
    code = "import sys, dalcli.forecasting.forecast; print({'torch', 'scipy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
