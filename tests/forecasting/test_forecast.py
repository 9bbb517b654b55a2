"""Forecasts of any curve: honest, rising, within bounds, the same again; and calibrated against a law that is known."""

import subprocess
import sys
import time
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.evaluation.intervals import wilson
from dalcli.forecasting.calibration import calibrated, features, middle, packaged, promises, sharpening
from dalcli.forecasting.curves import Curve, Measurements, NotEnoughPoints, Point, measurements
from dalcli.forecasting.ensemble import ensemble
from dalcli.forecasting.forecast import forecast
from dalcli.forecasting.hindsight import own_errors
from dalcli.forecasting.noise import true_values, variances


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
        low, middle, high = found.measured_at(labels, [0.1, 0.5, 0.9])
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


def known_laws(count, sizes, examples, seed, own=0.5):
    """POW3 curves, seen on evaluation sets whose examples stay the same: (true values, what each size shows)."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        ceiling, exponent, first = generator.uniform((0.75, 0.3, 0.2), (0.97, 0.9, 0.5))
        true = ceiling - first * (np.array(sizes) / 100) ** -exponent
        hard = generator.random(examples)  # an example is right where it is easier than the model is good
        again = [np.where(generator.random(examples) < own, generator.random(examples), hard) for _ in sizes]
        yield true, np.array([np.mean(each < value) for each, value in zip(again, true, strict=True)])


LABELS = [100, 150, 220, 330, 500, 750]


def test_measured_later_values_of_a_known_law_fall_into_the_interval():
    """By construction: eight in ten measurements on the same examples should be inside."""
    inside = []
    for _, seen in known_laws(120, [*LABELS, 1500], 500, seed=5):
        found = forecast(curve_of(LABELS, seen[:-1], 500), horizon=1500, seed=1, draws=300)
        low, high = found.measured_at(1500, [0.1, 0.9])
        inside.append(low <= seen[-1] <= high)
    assert 0.68 <= np.mean(inside) <= 0.95


@pytest.mark.parametrize(("examples", "own"), [(40, 0.0), (40, 0.5), (400, 0.0), (400, 0.5)])
def test_the_true_metric_of_a_known_law_falls_into_the_band(examples, own):
    """However few examples there are, and though every round is measured on the same ones."""
    today, later, risen = [], [], []
    for true, seen in known_laws(80, [*LABELS, 1500], examples, seed=7, own=own):
        found = forecast(curve_of(LABELS, seen[:-1], examples), horizon=1500, seed=1, draws=300)
        for size, value, inside in ((750, true[-2], today), (1500, true[-1], later)):
            low, high = found.at(size, [0.1, 0.9])
            inside.append(low <= value <= high)
        low, high = found.gain(750, 1500, [0.1, 0.9])
        risen.append(low <= true[-1] - true[-2] <= high)
    for inside in (today, later, risen):
        assert np.mean(inside) >= 0.68


def test_today_is_as_sure_as_its_evaluation_set():
    """A curve that is known but for the examples it was measured on: Wilson's interval is left."""
    labels = np.arange(1, 9) * 100
    for examples in (20, 100, 1000):
        found = forecast(curve_of(labels, np.full(8, 0.8), examples), horizon=1000, seed=1, draws=2000)
        low, high = found.at(800, [0.1, 0.9])
        wanted = wilson(0.8 * examples, examples, 0.8)
        assert high - low == pytest.approx(wanted.high - wanted.low, rel=0.12)
        assert low == pytest.approx(wanted.low, abs=0.02)


@settings(max_examples=100, deadline=None)
@given(
    right=st.integers(0, 60), examples=st.integers(1, 60), level=st.floats(0.01, 0.99), other=st.floats(0, 1),
)  # fmt: skip
def test_levels_of_the_truth_are_ends_of_wilsons_intervals(right, examples, level, other):
    right = min(right, examples)
    normal = np.array([NormalDist().inv_cdf((1 - level) / 2), -NormalDist().inv_cdf((1 - level) / 2)])
    ends = true_values(np.array(right / examples), examples, normal)
    assert ends == pytest.approx(wilson(right, examples, level)[:2], abs=1e-9)
    smaller, larger = sorted((right / examples, other))
    assert np.all(true_values(np.array(smaller), examples, normal) <= true_values(np.array(larger), examples, normal))


def test_points_that_few_of_todays_examples_told_are_noisier():
    labels, value = np.arange(1.0, 7) * 100, np.full(6, 0.8)
    alike = variances(Measurements(labels, value, np.full(6, 400.0)))
    grown = variances(Measurements(labels, value, np.array([50.0, 50, 400, 400, 400, 400])))
    assert alike == pytest.approx(alike[0])
    assert np.all(grown[:2] > 5 * grown[2:4])
    assert grown[2:] == pytest.approx(grown[2])
    assert grown[0] - grown[2] == pytest.approx(0.8 * 0.2 * (1 / 50 - 1 / 400), rel=0.2)


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


def test_gains_grow_with_labels_and_are_never_losses():
    found = forecast(USUAL, horizon=8000, seed=1)
    gains = np.array([found.gain(800, labels, [0.1, 0.5, 0.9]) for labels in (800, 900, 1200, 1600, 3200, 8000)])
    assert gains[0] == pytest.approx(0, abs=1e-12)
    assert np.all(gains >= 0)
    assert np.all(np.diff(gains[:, 1:], axis=0) > 0)  # the middle and the upper end
    assert np.all(np.diff(gains[:, 2] - gains[:, 0]) > 0)  # and the width
    assert found.gain(800, 1600, [0.5])[0] == pytest.approx(found.at(1600, [0.5])[0] - found.at(800, [0.5])[0])
    late = found.gain(1600, 3200, [0.1, 0.9])
    assert late[1] - late[0] > 0


def test_own_errors_widen_and_narrow_and_their_absence_does_neither():
    assert sharpening(np.zeros(0)) == pytest.approx(1)
    assert sharpening(np.zeros(10)) < 0.4
    assert sharpening(np.full(10, 1.5)) == pytest.approx(sharpening(np.full(10, -1.5)))
    assert 1.4 < sharpening(np.full(10, 1.5)) < 2
    assert sharpening(np.full(10, 50.0)) == pytest.approx(sharpening(np.full(10, 2.0)))  # one broken round is no law


def test_own_errors_are_those_of_forecasts_made_earlier():
    """Against forecasts of the curve as it was then, made one by one."""
    labels, values = [100, 200, 300, 400, 600, 800], [0.5, 0.62, 0.70, 0.71, 0.70, 0.80]
    found = own_errors(measurements(curve_of(labels, values)), 0.1, packaged(), np.random.default_rng(1))
    expected = []
    for points in (4, 5):
        known = measurements(curve_of(labels[:points], values[:points]))
        sizes = np.array(labels[points - 1 :], dtype=float)
        made = ensemble(known, sizes, 0.1, np.random.default_rng(2))
        said = calibrated(made, sizes / sizes[0], known, packaged())
        expected += list((np.array(values[points:]) - said.median[1:]) / said.deviation[1:])
    assert len(found) == 3
    assert found == pytest.approx(expected, abs=0.35)  # other copies of the curve
    assert len(own_errors(measurements(curve_of(labels[:4], values[:4])), 0.1, packaged(), None)) == 0


def test_a_curve_that_strayed_has_a_wider_band():
    labels = np.arange(1, 11) * 100
    smooth = 0.9 - 0.4 * (labels / 100) ** -0.5
    steps = smooth + np.where(np.arange(10) // 3 % 2, 0.03, -0.03)
    widths = []
    for values in (smooth, steps):
        low, high = forecast(curve_of(labels, values), horizon=2000, seed=1).measured_at(2000, [0.1, 0.9])
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]


def test_cautions_name_what_is_unusual():
    assert forecast(USUAL, horizon=3000, seed=1).cautions == ()
    rose = curve_of([100, 200, 300, 400, 500, 600], [0.6, 0.7, 0.745, 0.77, 0.785, 0.79], 0)
    mixed = Curve((*rose.points, Point(700, 0.65, 100, "random")), "active", 0.1)
    said = " ".join(forecast(mixed, horizon=10**5, seed=1).cautions)
    for words in ("beyond 2,800 labels", "may be too high", "the curve fell", "margin, random", "is unknown"):
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


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (0.9 * np.exp(-3 * np.exp(-np.array([50, 100, 200, 400, 800]) / 800)), True),
        (0.9 - 0.5 * np.array([1, 2, 4, 8, 16.0]) ** -0.5, False),
        ([0.5, 0.52, 0.55, 0.57, 0.6], False),
        ([0.05, 0.06, 0.05, 0.2, 0.45], True),
    ],
    ids=["Gompertz", "power law", "a line", "late start"],
)
def test_a_curve_that_speeds_up_is_named(values, said):
    curve = curve_of([50, 100, 200, 400, 800], values, chance=0.05)
    assert ("speeding up" in " ".join(forecast(curve, horizon=1600, seed=1).cautions)) == said
