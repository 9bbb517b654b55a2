"""Factored points against vectors that are written down."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from dalcli.strategies import backend, points
from dalcli.strategies.nearest import Nearest
from dalcli.strategies.points import Points, from_factors
from dalcli.strategies.spaces import Features, FisherFactors, GradientSketches, LastLayerGradients, Probabilities


def gradients(probabilities: np.ndarray, features: np.ndarray) -> np.ndarray:
    """BADGE's embedding (n, K·(d + 1)) in float64."""
    residuals = probabilities.astype(np.float64)
    residuals[np.arange(len(residuals)), residuals.argmax(axis=1)] -= 1
    with_bias = np.concatenate([features.astype(np.float64), np.ones((len(features), 1))], axis=1)
    return np.einsum("nk,nd->nkd", residuals, with_bias).reshape(len(features), -1)


def example(count: int = 9, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "probabilities": rng.dirichlet(np.ones(4), count).astype(np.float32),
        "features": rng.standard_normal((count, 3)).astype(np.float32),
    }


def test_last_layer_gradients_are_never_written_down_and_yet_exact() -> None:
    columns = example()
    explicit = gradients(columns["probabilities"], columns["features"])
    mapped, rows = LastLayerGradients().points(columns)
    assert rows.tolist() == list(range(9))
    assert [factor.shape for factor in mapped.factors] == [(9, 4), (9, 3)]
    np.testing.assert_allclose(mapped.inner(mapped), explicit @ explicit.T, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mapped.sq_norms, (explicit**2).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(mapped.sq_distances(mapped), cdist(explicit, explicit, "sqeuclidean"), atol=2e-5)


def test_confident_samples_keep_the_digits_of_their_gradient() -> None:
    small = np.array([[1e-9, 3e-12]], np.float32)
    columns = {"probabilities": np.concatenate([np.ones((1, 1), np.float32), small], axis=1)}
    mapped, _ = LastLayerGradients().points(columns | {"features": np.zeros((1, 2), np.float32)})
    doubt = small.astype(np.float64).sum()
    np.testing.assert_allclose(mapped.sq_norms, doubt**2 + (small.astype(np.float64) ** 2).sum(), rtol=1e-6)


def test_equal_points_are_at_distance_zero_and_distances_never_negative() -> None:
    rng = np.random.default_rng(1)
    features = np.repeat(rng.standard_normal((20, 500)).astype(np.float32) * 1000, 2, axis=0)
    mapped, _ = Features().points({"features": features})
    distances = mapped.sq_distances(mapped)
    assert (distances[np.arange(0, 40, 2), np.arange(1, 40, 2)] == 0).all()
    assert (distances >= 0).all()
    assert np.count_nonzero(distances == 0) == 80


def test_rows_that_cannot_be_computed_with_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "BLOCK", 3)
    features = np.arange(24, dtype=np.float32).reshape(8, 3)
    features[[0, 4, 5], [1, 0, 2]] = [math.nan, math.inf, 1e20]
    expected = features[[1, 2, 3, 6, 7]].copy()
    mapped, rows = from_factors([features], [0.0])
    assert rows.tolist() == [1, 2, 3, 6, 7]
    np.testing.assert_array_equal(mapped.factors[0], expected)
    np.testing.assert_allclose(mapped.sq_norms, (expected.astype(np.float64) ** 2).sum(axis=1))


def test_unit_features_have_length_one_but_for_zeros() -> None:
    mapped, _ = Features(unit=True).points({"features": np.array([[3, 4], [0, 0], [1e-30, 0]], np.float32)})
    np.testing.assert_allclose(mapped.factors[0], [[0.6, 0.8], [0, 0], [1, 0]], rtol=1e-6)


def test_probabilities_and_sketches_are_themselves() -> None:
    columns = example()
    np.testing.assert_array_equal(Probabilities().points(dict(columns))[0].factors[0], columns["probabilities"])
    sketch = np.ones((3, 2), np.float32)
    mapped, rows = GradientSketches().points({"sketch": sketch, "grad_sq_norm": np.array([1.0, math.nan, 2.0])})
    assert rows.tolist() == [0, 2]
    assert len(mapped) == 2


def test_fisher_factors_are_the_class_averaged_information() -> None:
    columns = example()
    expected = []
    for p, h in zip(columns["probabilities"].astype(np.float64), columns["features"].astype(np.float64), strict=True):
        full = np.kron(np.diag(p) - np.outer(p, p), np.outer(h, h))  # (K·d, K·d)
        expected.append(full.reshape(4, 3, 4, 3).trace(axis1=0, axis2=2))
    mapped, _ = FisherFactors().points(columns)
    (x,) = mapped.factors
    np.testing.assert_allclose(np.einsum("nd,ne->nde", x, x), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("block", [1, 4, 4096])
def test_nearest_centres_agree_with_all_pairs(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(points, "BLOCK", block)
    rng = np.random.default_rng(2)
    x, centres = rng.standard_normal((30, 4)).astype(np.float32), rng.standard_normal((11, 4)).astype(np.float32)
    nearest = Nearest(plain(x))
    assert nearest.count == 0
    assert (nearest.centre == -1).all()
    for part in (centres[:1], centres[1:5], centres[5:]):
        nearest.add(plain(part))
    distances = cdist(x.astype(np.float64), centres.astype(np.float64), "sqeuclidean")
    assert nearest.count == 11
    np.testing.assert_array_equal(nearest.centre, distances.argmin(axis=1))
    np.testing.assert_allclose(nearest.sq_distance, distances.min(axis=1), rtol=1e-4)


def test_products_on_a_device_are_those_of_numpy() -> None:
    rng = np.random.default_rng(3)
    left = [rng.standard_normal((7, width)).astype(np.float32) for width in (4, 6)]
    right = [rng.standard_normal((5, width)).astype(np.float32) for width in (4, 6)]
    expected = (left[0] @ right[0].T) * (left[1] @ right[1].T + 1)
    np.testing.assert_allclose(backend.products(left, right, [0.0, 1.0]), expected, rtol=1e-5)
    np.testing.assert_allclose(backend.on_device(left, right, [0.0, 1.0], "cpu"), expected, rtol=1e-4, atol=1e-6)


def test_only_large_products_ask_for_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(backend, "_gpu", lambda: asked.append(1))
    rng = np.random.default_rng(3)
    left, right = [rng.random((8, 4), np.float32)], [rng.random((2, 4), np.float32)]
    backend.products(left, right, [0.0])
    assert not asked
    monkeypatch.setattr(backend, "WORTHWHILE", 64)
    np.testing.assert_allclose(backend.products(left, right, [0.0]), left[0] @ right[0].T)
    assert asked


def plain(matrix: np.ndarray) -> Points:
    return from_factors([matrix.copy()], [0.0])[0]
