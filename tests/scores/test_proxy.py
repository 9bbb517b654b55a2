"""The forward-only proxy: it learns what it can express, predicts left-out samples honestly, and never breaks."""

from __future__ import annotations

import numpy as np
import pytest

from dalcli.scores.proxy import PENALTIES, Fit, _forms, _kernel_ridge, described, fit, unit_rows


def residuals(rows: int, classes: int = 4, seed: int = 0) -> np.ndarray:
    """q = p − e_ŷ of random predictions, from doubtful to very confident."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((rows, classes)) * rng.uniform(0.5, 6, (rows, 1))
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    q = p.copy()
    label = p.argmax(1)
    q[np.arange(rows), label] = 0
    q[np.arange(rows), label] = -q.sum(1)
    return q


def features(rows: int, width: int = 6, seed: int = 1) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).standard_normal((rows, width)))


def fitted(q: np.ndarray, h: np.ndarray, sq_norm: np.ndarray, inner: np.ndarray) -> Fit:
    found = fit(q, h, sq_norm, inner)
    assert found is not None
    return found


def test_a_linear_head_alone_is_estimated_almost_exactly() -> None:
    q, h = residuals(400), features(400)
    direction, bias = np.random.default_rng(2).standard_normal((4, 6)), np.array([1.0, -2.0, 0.5, 0.0])
    sq_norm = (q**2).sum(1) * ((h**2).sum(1) + 1)
    inner = ((q @ direction) * h).sum(1) + q @ bias
    proxy = fitted(q[:200], h[:200], sq_norm[:200], inner[:200]).proxy
    found_norm, found_inner = proxy.estimates(q[200:], h[200:])
    np.testing.assert_allclose(found_norm, sq_norm[200:], rtol=0.02)
    scale = np.linalg.norm(q[200:], axis=1)
    np.testing.assert_allclose(
        found_inner / scale, inner[200:] / scale, atol=1e-3 * np.abs(inner / np.linalg.norm(q, axis=1)).max()
    )


def test_class_dependent_kernels_are_learnt() -> None:
    """Θ(x) = A + the first feature's share in B: what more than the norms of q and h decides."""
    q, h = residuals(600), features(600)
    rng = np.random.default_rng(5)
    roots = rng.standard_normal((2, 4, 4)) * np.array([1, 4, 1, 1])[:, None] + 2 * np.eye(4)
    part = (h[:, :1] / np.linalg.norm(h, axis=1, keepdims=True))[:, 0]
    sq_norm = ((q @ roots[0]) ** 2).sum(1) + part * ((q @ roots[1]) ** 2).sum(1)
    proxy = fitted(q[:300], h[:300], sq_norm[:300], np.zeros(300)).proxy
    found = np.log(proxy.estimates(q[300:], h[300:])[0] / sq_norm[300:])
    plain = np.log(sq_norm[300:] / (q[300:] ** 2).sum(1))
    assert found.std() < 0.25 * plain.std()


def test_left_out_errors_are_those_of_refitting_without_the_sample() -> None:
    q, h = residuals(30), features(30)
    _, unit = unit_rows(q)
    kernel = _forms(unit, h, unit, h)
    targets = np.random.default_rng(3).standard_normal(30) + kernel[:, 0]
    dual, errors = _kernel_ridge(kernel, targets, np.ones(30))
    scale = np.trace(kernel) / 30
    chosen = min(
        PENALTIES, key=lambda p: np.abs(np.linalg.solve(kernel + p * scale * np.eye(30), targets) - dual).max()
    )
    for left_out in range(30):
        rest = np.arange(30) != left_out
        weights = np.linalg.solve(kernel[rest][:, rest] + chosen * scale * np.eye(29), targets[rest])
        assert targets[left_out] - kernel[left_out, rest] @ weights == pytest.approx(
            errors[left_out], rel=1e-6, abs=1e-8
        )


def test_the_penalty_has_the_least_left_out_error() -> None:
    q, h = residuals(40), features(40)
    _, unit = unit_rows(q)
    kernel, targets = _forms(unit, h, unit, h), np.random.default_rng(4).standard_normal(40)
    weights = np.linspace(0.1, 1, 40)
    _, errors = _kernel_ridge(kernel, targets, weights)
    for penalty in PENALTIES * np.trace(kernel) / 40:
        inverse = np.linalg.inv(kernel + penalty * np.eye(40))
        other = (inverse @ targets) / inverse.diagonal()
        assert np.sum((errors * weights) ** 2) <= np.sum((other * weights) ** 2) * (1 + 1e-6)


def test_estimates_depend_on_the_sample_alone() -> None:
    q, h = residuals(50), features(50)
    proxy = fitted(q, h, (q**2).sum(1) * 3, q[:, 0]).proxy
    whole = proxy.estimates(q, h)
    for row in (0, 17, 49):
        alone = proxy.estimates(q[row : row + 1], h[row : row + 1])
        assert alone[0][0] == pytest.approx(whole[0][row], rel=1e-12)
        assert alone[1][0] == pytest.approx(whole[1][row], rel=1e-12)


def test_lengths_survive_where_squares_underflow() -> None:
    lengths, unit = unit_rows(np.array([[3e-200, -4e-200], [0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(lengths, [5e-200, 0, 5])
    np.testing.assert_allclose(unit, [[0.6, -0.8], [0, 0], [0.6, 0.8]])


def test_a_sample_without_a_gradient_is_estimated_as_zero() -> None:
    q, h = residuals(50), features(50)
    proxy = fitted(q, h, (q**2).sum(1), q[:, 0]).proxy
    assert [float(value[0]) for value in proxy.estimates(np.zeros((1, 4)), h[:1])] == [0.0, 0.0]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_not_finite_teaches_nothing_and_is_estimated_as_nan(broken: float) -> None:
    q, h = residuals(60), features(60)
    sq_norm, inner = (q**2).sum(1) * 2, q[:, 0].copy()
    clean = fitted(q[4:], h[4:], sq_norm[4:], inner[4:])
    q[0, 0] = h[1, 0] = inner[2] = sq_norm[3] = broken
    found = fitted(q, h, sq_norm, inner)
    np.testing.assert_allclose(found.proxy.inner_weights, clean.proxy.inner_weights)
    assert np.isnan(found.sq_norm[:4]).all()
    assert np.isfinite(found.sq_norm[4:]).all()
    estimates = found.proxy.estimates(q, h)
    assert np.isnan(estimates[0][:2]).all()
    assert np.isfinite(estimates[0][2:]).all()


def test_nothing_to_learn_from_is_no_proxy() -> None:
    q, h = residuals(10), features(10)
    assert fit(q, h, np.full(10, np.nan), q[:, 0]) is None
    assert fit(np.zeros((10, 1)), h, np.zeros(10), np.zeros(10)) is None, "one class has no gradient"
    assert fit(q[:1], h[:1], np.ones(1), np.ones(1)) is None
    assert fit(q[:0], h[:0], np.ones(0), np.ones(0)) is None


def test_samples_that_are_all_alike_are_estimated_alike() -> None:
    q, h = np.repeat(residuals(1), 20, 0), np.repeat(features(1), 20, 0)
    found = fitted(q, h, np.full(20, 7.0), np.full(20, -3.0))
    sq_norm, inner = found.proxy.estimates(q, h)
    np.testing.assert_allclose(sq_norm, 7.0, rtol=1e-3)
    np.testing.assert_allclose(inner, -3.0, rtol=1e-3)
    assert len(np.unique(sq_norm)) == 1


def test_the_description_is_finite_for_every_sample() -> None:
    q = np.concatenate([residuals(5), np.zeros((1, 4)), np.full((1, 4), 1e-300)])
    lengths, unit = unit_rows(q)
    assert np.isfinite(described(lengths, unit, features(7))).all()
