"""Every law against scipy: parameters of exact curves come back, and noisy fits are as good as scipy's best."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from dalcli.forecasting.families import FAMILIES
from dalcli.forecasting.fitting import fit, refine

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


@pytest.mark.parametrize("name", FAMILIES)
def test_an_exact_curve_gives_its_parameters_back(name):
    family, (theta, a, b) = FAMILIES[name], TRUE[name]
    value, weight = curve(family, theta, a, b)[None], np.full((1, len(X)), 1e4)
    found = refine(fit(family, X, value, weight), X, value, weight, rounds=400)
    tolerance = 0.02 if len(family.axes) > 2 else 1e-3
    assert found.theta[0] == pytest.approx(theta, rel=tolerance)
    assert (found.a[0], found.b[0]) == pytest.approx((a, b), rel=tolerance)
    assert found.at(X)[0] == pytest.approx(value[0], abs=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_noisy_curves_are_fitted_as_well_as_scipy_does_from_the_truth(name):
    family, (theta, a, b) = FAMILIES[name], TRUE[name]
    generator = np.random.default_rng(7)
    deviation = np.linspace(0.02, 0.005, len(X))
    value = np.clip(curve(family, theta, a, b) + generator.standard_normal((4, len(X))) * deviation, 0, 1)
    weight = np.tile(deviation**-2, (4, 1))
    coarse = fit(family, X, value, weight)
    fine = refine(coarse, X, value, weight, rounds=400)
    assert np.all(fine.error <= coarse.error + 1e-9)
    # The grid alone, which an ensemble's many copies make do with, is off by about the noise at most.
    off = (coarse.at(X) - fine.at(X)) / deviation
    assert np.sqrt(np.mean(off**2, axis=1)).max() < 1.5
    for row in range(4):
        best = scipy_error(family, theta, a, b, value[row], deviation)
        assert fine.error[row] <= best * 1.01 + 1e-3


def scipy_error(family, theta, a, b, value, deviation):
    """Weighted squares that scipy's bounded least squares reaches, with the bounds of `fit`."""
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
    return 2 * least_squares(residual, start, bounds=bounds).cost


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
