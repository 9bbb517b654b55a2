"""Every law against scipy: parameters of exact curves come back, and noisy fits are as good as scipy's best."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from dalcli.forecasting.families import FAMILIES
from dalcli.forecasting.fitting import fit

X = np.geomspace(0.05, 1, 12)
TRUE = {
    "POW2": ([0.4], 1.0, 0.2),
    "POW3": ([0.6], 0.92, 0.1),
    "POW4": ([0.9, 0.08], 0.9, 0.12),
    "MMF4": ([1.3, 0.2], 0.9, 0.7),
    "EXP3": ([3.0], 0.85, 0.4),
    "LOG2": ([1.0], 0.8, 0.08),
    "PALM": ([1.7, 0.02, 0.4], 0.95, 0.95),
}


def curve(family, theta, a, b):
    return a - b * family.at(X, np.array(theta))


def test_every_law_is_tested():
    assert set(TRUE) == set(FAMILIES)


def node_near(family, theta):
    """The grid's θ that is nearest, in the logarithm."""
    return family.grid[np.abs(np.log(family.grid) - np.log(theta)).sum(axis=1).argmin()]


@pytest.mark.parametrize("name", FAMILIES)
def test_an_exact_curve_on_the_grid_gives_its_parameters_back(name):
    family, (theta, a, b) = FAMILIES[name], TRUE[name]
    theta = node_near(family, theta)
    value, weight = curve(family, theta, a, b)[None], np.full((1, len(X)), 1e4)
    found = fit(family, X, value, weight)
    assert found.theta[0] == pytest.approx(theta)
    assert (found.a[0], found.b[0]) == pytest.approx((a, b), rel=1e-6)
    assert found.at(X)[0] == pytest.approx(value[0], abs=1e-7)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_exact_curve_beside_the_grid_is_where_scipy_finds_its_parameters(name):
    family, (theta, a, b) = FAMILIES[name], TRUE[name]
    value, deviation = curve(family, theta, a, b), np.full(len(X), 1e-3)
    found = fit(family, X, value[None], deviation[None] ** -2)
    best, refined = scipy_fit(family, found.theta[0], found.a[0], found.b[0], value, deviation)
    assert best < 1e-6
    assert refined[0] == pytest.approx(theta, rel=0.02)
    assert refined[1:] == pytest.approx((a, b), rel=0.02)
    assert found.at(X)[0] == pytest.approx(value, abs=0.03)  # POW2: its ceiling is 1, and one axis has to do


@pytest.mark.parametrize("name", FAMILIES)
def test_noisy_curves_are_fitted_next_to_scipys_best(name):
    family, (theta, a, b) = FAMILIES[name], TRUE[name]
    generator = np.random.default_rng(7)
    deviation = np.linspace(0.02, 0.005, len(X))
    value = np.clip(curve(family, theta, a, b) + generator.standard_normal((4, len(X))) * deviation, 0, 1)
    found = fit(family, X, value, np.tile(deviation**-2, (4, 1)))
    for row in range(4):
        from_truth, _ = scipy_fit(family, theta, a, b, value[row], deviation)
        start = found.theta[row], found.a[row], found.b[row]
        from_ours, (best_theta, best_a, best_b) = scipy_fit(family, *start, value[row], deviation)
        assert from_ours <= from_truth * 1.01 + 1e-3  # the same valley, or a deeper one
        assert found.error[row] >= from_ours - 1e-6
        # The grid is off by about the noise at most.
        off = (found.at(X)[row] - np.clip(curve(family, best_theta, best_a, best_b), 0, 1)) / deviation
        assert np.sqrt(np.mean(off**2)) < 1.5


def scipy_fit(family, theta, a, b, value, deviation):
    """Weighted squares that scipy's bounded least squares reaches from a start, and (θ, a, b) there."""
    low = np.log([axis[0] - 1e-9 for axis in family.axes])
    high = np.log([axis[-1] + 1e-9 for axis in family.axes])

    def unpack(free):
        nonlinear, linear = np.exp(free[: len(low)]), free[len(low) :]
        if family.linear == "one":
            return nonlinear, 1.0, linear[0]
        if family.linear == "origin":
            return nonlinear, linear[0], linear[0]
        return nonlinear, linear[0], linear[1]

    def residual(free):
        nonlinear, top, drop = unpack(free)
        return (value - top + drop * family.at(X, nonlinear)) / deviation

    linear = {"one": [b], "origin": [a]}.get(family.linear, [a, b])
    highest = {"one": [np.inf], "origin": [1.0], "ceiling": [1.0, np.inf], "endless": [np.inf, np.inf]}[family.linear]
    bounds = (np.append(low, np.zeros(len(linear))), np.append(high, highest))
    start = np.clip(np.append(np.log(theta), linear), bounds[0] + 1e-9, bounds[1] - 1e-9)
    found = least_squares(residual, start, bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=2000)
    return 2 * found.cost, unpack(found.x)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_point_of_no_weight_does_not_count(name):
    family = FAMILIES[name]
    value = curve(family, *TRUE[name])
    spoilt, weight = value.copy(), np.ones(len(X))
    spoilt[3], weight[3] = 0.0, 0.0
    kept = np.arange(len(X)) != 3
    one = fit(family, X, spoilt[None], weight[None]).at(X)
    other = fit(family, X[kept], value[None, kept], weight[None, kept]).at(X)
    assert one == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("value", [np.linspace(0.9, 0.2, 12), np.zeros(12), np.ones(12), np.full(12, 0.4)])
def test_a_law_never_falls_and_stays_within_bounds(name, value):
    ahead = np.geomspace(1, 50, 30)
    fits = fit(FAMILIES[name], X, value[None], np.ones((1, 12)), floor=0.1)
    found = fits.at(ahead)[0]
    assert np.all(np.diff(found) >= -1e-12)
    assert np.all((found >= 0) & (found <= 1))
    assert 0.1 <= fits.ceiling[0] <= 1
