"""The head of a frozen network against autograd, scikit-learn, scipy and what must hold at the one answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from dalcli.training.softmax import TOLERANCE, Solution, class_weights, solve

SHAPES = [(12, 5, 2), (30, 40, 4), (200, 20, 10), (7, 3, 30), (41, 40, 3), (40, 40, 3)]


def made(n: int, d: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Overlapping classes in features that are far from uncorrelated."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=generator)
    means = torch.randn(classes, d, generator=generator)
    features = means[labels] + torch.randn(n, d, generator=generator)
    mixing = torch.randn(d, d, generator=generator) * torch.arange(1, d + 1) ** -0.7
    return features @ mixing, labels


def appended(features: Tensor) -> Tensor:
    return torch.cat([features.double(), torch.ones(len(features), 1, dtype=torch.float64)], 1)


def plain(whole: Tensor, features: Tensor, labels: Tensor, penalty: float, weights: Tensor | None = None) -> Tensor:
    """The objective, written down in float64."""
    own = torch.ones(len(labels)) if weights is None else weights
    losses = functional.cross_entropy(appended(features) @ whole.T, labels, reduction="none")
    return (own.double() * losses).sum() / own.double().sum() + penalty * whole.square().sum()


def whole(solution: Solution) -> Tensor:
    return torch.cat([solution.weights, solution.bias[:, None]], 1)


def autograd(at: Tensor, *problem: object) -> Tensor:
    point = at.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(plain(point, *problem), point)  # type: ignore[arg-type]
    return gradient


def unit(features: Tensor, classes: int, weights: Tensor | None = None) -> float:
    """What Solution.gradient_norm is a fraction of."""
    own = torch.ones(len(features)) if weights is None else weights
    lengths = torch.linalg.vector_norm(appended(features), dim=1)
    return math.sqrt(1 - 1 / classes) * float((own.double() * lengths).sum() / own.double().sum())


@pytest.mark.parametrize(("n", "d", "classes"), SHAPES)
@pytest.mark.parametrize("penalty", [1e-4, 1e-1])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_by_autograd_is_as_small_as_it_says(
    n: int, d: int, classes: int, penalty: float, weighted: bool
) -> None:
    features, labels = made(n, d, classes)
    weights = torch.linspace(0, 3, n) if weighted else None
    found = solve(features, labels, classes, penalty, weights=weights)
    assert found.converged
    norm = float(torch.linalg.vector_norm(autograd(whole(found), features, labels, penalty, weights)))
    assert norm / unit(features, classes, weights) == pytest.approx(found.gradient_norm, rel=1e-6)
    assert found.gradient_norm <= TOLERANCE
    assert found.loss == pytest.approx(float(plain(whole(found), features, labels, penalty, weights)), rel=1e-12)
    assert found.weights.shape == (classes, d)
    assert found.bias.shape == (classes,)


@pytest.mark.parametrize(("n", "d", "classes"), [(150, 12, 3), (30, 40, 4), (60, 20, 10)])
def test_scikit_learn_finds_the_same(n: int, d: int, classes: int) -> None:
    features, labels = made(n, d, classes)
    penalty = 3e-3
    labels[:classes] = torch.arange(classes)
    own = class_weights(labels, classes, "balanced")[labels]
    peer = LogisticRegression(
        C=1 / (2 * n * penalty), fit_intercept=False, tol=1e-10, max_iter=10_000, solver="newton-cg"
    )
    peer.fit(appended(features).numpy(), labels.numpy(), own.numpy())
    found = solve(features, labels, classes, penalty, weights=own, tolerance=1e-10)
    np.testing.assert_allclose(whole(found).numpy(), peer.coef_, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 5])
def test_scipy_finds_the_same_with_classes_that_have_no_labels(classes: int) -> None:
    features, labels = made(25, 6, classes)
    labels[labels == 1] = 0
    shape = (classes, 7)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        at = torch.from_numpy(flat).view(shape)
        return float(plain(at, features, labels, 1e-2)), autograd(at, features, labels, 1e-2).flatten().numpy()

    peer = minimize(
        objective, np.zeros(classes * 7), jac=True, method="L-BFGS-B", options={"gtol": 1e-10, "ftol": 1e-15}
    )
    found = solve(features, labels, classes, 1e-2, tolerance=1e-10)
    np.testing.assert_allclose(whole(found).numpy().ravel(), peer.x, atol=1e-6)


@pytest.mark.parametrize(("n", "d", "classes"), SHAPES)
def test_the_pull_of_the_labels_is_that_of_the_penalty(n: int, d: int, classes: int) -> None:
    """Σ_S (p − e_y) ⊗ h̃ = −2nλW, and no class is favoured: the weights sum to zero over classes."""
    features, labels = made(n, d, classes)
    found = whole(solve(features, labels, classes, 1e-2, tolerance=1e-10))
    residuals = (appended(features) @ found.T).softmax(1) - functional.one_hot(labels, classes)
    torch.testing.assert_close(residuals.T @ appended(features), -2 * n * 1e-2 * found, rtol=0, atol=1e-6 * n)
    assert float(found.sum(0).abs().max()) < 1e-8


def test_one_label_of_one_class_by_hand() -> None:
    """W = (a, −a) ⊗ h̃ where σ(−2a‖h̃‖²) = 2λa: one equation, solved by bisection."""
    feature, penalty = torch.tensor([[3.0, -4.0]]), 0.01
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        rising = 1 / (1 + math.exp(2 * middle * 26)) > 2 * penalty * middle
        low, high = (middle, high) if rising else (low, middle)
    found = whole(solve(feature, torch.tensor([1]), 2, penalty, tolerance=1e-12))
    expected = torch.tensor([[-3.0, 4.0, -1.0], [3.0, -4.0, 1.0]], dtype=torch.float64) * low
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_without_any_feature_the_biases_tell_the_classes_apart() -> None:
    found = solve(torch.zeros(10, 0), torch.tensor([0] * 7 + [1] * 3), 3, 1e-6, tolerance=1e-12)
    assert found.weights.shape == (3, 0)
    torch.testing.assert_close(
        found.bias.softmax(0)[:2], torch.tensor([0.7, 0.3], dtype=torch.float64), atol=1e-3, rtol=0
    )


def test_samples_in_another_order_and_classes_under_other_names() -> None:
    features, labels = made(50, 60, 6)
    weights = torch.linspace(1, 2, 50)
    found = whole(solve(features, labels, 6, 1e-3, weights=weights, tolerance=1e-10))
    order, names = torch.randperm(50), torch.randperm(6)
    again = whole(solve(features[order], names[labels[order]], 6, 1e-3, weights=weights[order] * 9, tolerance=1e-10))
    torch.testing.assert_close(again[names], found, rtol=0, atol=1e-6)


def test_twice_the_samples_or_twice_their_weight_are_one_and_the_same() -> None:
    features, labels = made(20, 30, 3)
    weights = torch.ones(20)
    weights[:8] = 2
    weights[8:10] = 0
    kept = [*range(8), *range(8), *range(10, 20)]
    one = solve(features, labels, 3, 1e-2, weights=weights, tolerance=1e-10)
    other = solve(features[kept], labels[kept], 3, 1e-2, tolerance=1e-10)
    torch.testing.assert_close(whole(one), whole(other), rtol=0, atol=1e-7)


@pytest.mark.parametrize("n", [30, 90])
def test_the_start_saves_time_and_does_not_matter(n: int) -> None:
    features, labels = made(n, 50, 4)
    found = solve(features, labels, 4, 1e-3, tolerance=1e-9)
    again = solve(features, labels, 4, 1e-3, start=whole(found), tolerance=1e-9)
    assert again.iterations <= 1
    # f is 2λ-strongly convex, so each is this close to the answer.
    bound = 1e-9 * unit(features, 4) / 2e-3
    near = whole(found) + 0.1 * torch.randn(4, 51, dtype=torch.float64)
    wild = torch.randn(4, 51, dtype=torch.float64)
    for start in (near, 1e3 * wild, 1e300 * wild, math.nan * wild):
        other = solve(features, labels, 4, 1e-3, start=start, tolerance=1e-9)
        assert other.converged
        assert float(torch.linalg.vector_norm(whole(other) - whole(found))) <= 2 * bound


def test_a_good_start_takes_fewer_steps() -> None:
    features, labels = made(200, 50, 5)
    earlier = solve(features[:190], labels[:190], 5, 1e-3)
    fresh = solve(features, labels, 5, 1e-3)
    assert solve(features, labels, 5, 1e-3, start=whole(earlier)).iterations < fresh.iterations


def test_the_same_bits_every_time() -> None:
    features, labels = made(120, 80, 7)
    one, other = (solve(features.clone(), labels.clone(), 7, 1e-3) for _ in range(2))
    assert torch.equal(whole(one), whole(other))
    assert (one.loss, one.gradient_norm, one.iterations) == (other.loss, other.gradient_norm, other.iterations)


def test_many_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = made(90, 8, 3)
    found = solve(features, labels, 3, 1e-2, tolerance=1e-10)
    monkeypatch.setattr("dalcli.training.softmax.AT_ONCE", 7)
    torch.testing.assert_close(
        whole(solve(features, labels, 3, 1e-2, tolerance=1e-10)), whole(found), rtol=0, atol=1e-8
    )


def test_too_few_steps_are_owned_up_to() -> None:
    features, labels = made(100, 30, 5)
    found = solve(features, labels, 5, 1e-4, max_iterations=2)
    assert (found.iterations, found.converged) == (2, False)
    assert found.gradient_norm > TOLERANCE


def test_a_tolerance_out_of_reach_ends_where_rounding_does() -> None:
    features, labels = made(100, 30, 5)
    found = solve(features, labels, 5, 1e-3, tolerance=0.0)
    assert not found.converged
    assert found.gradient_norm < 1e-12
    assert found.iterations < 500


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30, 1e200])
@pytest.mark.parametrize("n", [10, 40])
def test_features_of_any_size(scale: float, n: int) -> None:
    features, labels = made(n, 20, 3)
    features = features.double() * scale
    found = solve(features, labels, 3, 1e-3)
    assert bool(torch.isfinite(whole(found)).all())
    assert found.converged
    if scale < 1:  # nothing is left but the biases
        counts = solve(torch.zeros(n, 1), labels, 3, 1e-3)
        torch.testing.assert_close(found.bias, counts.bias, rtol=0, atol=1e-2)
    else:
        assert bool(((features @ found.weights.T + found.bias).argmax(1) == labels).all())


@pytest.mark.parametrize("penalty", [1e-12, 1e12])
def test_separable_labels_and_extreme_penalties_stay_finite(penalty: float) -> None:
    features = torch.tensor([[-1.0], [-1.1], [1.0], [1.1]]).repeat(5, 1)
    found = solve(features, torch.tensor([0, 0, 1, 1]).repeat(5), 2, penalty)
    assert found.converged
    assert bool(torch.isfinite(whole(found)).all())
    assert 0 <= found.loss <= math.log(2)


def test_a_thousand_classes() -> None:
    features, labels = made(60, 40, 1000)
    found = solve(features, labels, 1000, 1e-3)
    assert found.converged
    unseen = torch.ones(1000, dtype=torch.bool)
    unseen[labels] = False
    probabilities = (appended(features) @ whole(found).T).softmax(1)
    assert float(probabilities[:, unseen].max()) < float(probabilities[torch.arange(60), labels].min())
    # Nothing tells the classes without labels apart.
    assert float((whole(found)[unseen] - whole(found)[unseen][0]).abs().max()) < 1e-12


def test_contradicting_labels_on_features_that_are_not_scaled() -> None:
    features, labels = made(50, 40, 4)
    features, labels = 100 * features.repeat(2, 1), torch.cat([labels, (labels + 1) % 4])
    found = solve(features, labels, 4, 1e-4)
    assert found.converged
    assert found.iterations > 100  # else it is no hard case


@settings(max_examples=60)
@given(
    n=st.integers(1, 12),
    d=st.integers(0, 14),
    classes=st.integers(1, 6),
    exponent=st.integers(-8, 8),
    penalty=st.sampled_from([1e-5, 1e-3, 1e-1, 10.0]),
    kind=st.sampled_from(["random", "equal rows", "constant", "one class", "contradicting", "sparse"]),
    seed=st.integers(0, 2**20),
)
def test_odd_data_have_their_answer(
    n: int, d: int, classes: int, exponent: int, penalty: float, kind: str, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, d, generator=generator, dtype=torch.float64) * 10.0**exponent
    labels = torch.randint(classes, (n,), generator=generator)
    if kind == "equal rows":
        features = features[torch.randint(n, (n,), generator=generator)]
    elif kind == "constant":
        features = torch.full_like(features, 10.0**exponent)
    elif kind == "one class":
        labels = torch.full_like(labels, classes - 1)
    elif kind == "contradicting":
        features, labels = features.repeat(2, 1), torch.cat([labels, (labels + 1) % classes])
    elif kind == "sparse":
        features = features * (torch.rand(n, d, generator=generator) < 0.1)
    found = solve(features, labels, classes, penalty)
    assert found.converged
    norm = float(torch.linalg.vector_norm(autograd(whole(found), features, labels, penalty)))
    assert norm <= (TOLERANCE + 1e-9) * (unit(features, classes) if classes > 1 else 1)


def test_wrong_arguments_are_refused() -> None:
    features, labels = made(6, 3, 2)
    spoiled = features.clone()
    spoiled[2, 1] = math.nan
    for wrong in (
        lambda: solve(features[:0], labels[:0], 2, 1e-3),
        lambda: solve(features, labels[:5], 2, 1e-3),
        lambda: solve(features, labels + 1, 2, 1e-3),
        lambda: solve(features, labels - 1, 2, 1e-3),
        lambda: solve(features, labels, 2, 0.0),
        lambda: solve(features, labels, 2, math.inf),
        lambda: solve(spoiled, labels, 2, 1e-3),
        lambda: solve(features, labels, 2, 1e-3, weights=torch.zeros(6)),
        lambda: solve(features, labels, 2, 1e-3, weights=torch.ones(2)),
        lambda: solve(features, labels, 2, 1e-3, weights=-torch.ones(6)),
        lambda: solve(features, labels, 2, 1e-3, start=torch.zeros(2, 3)),
    ):
        with pytest.raises(ValueError, match=r"expected|must be"):
            wrong()


def test_balanced_weights_make_every_class_count_the_same() -> None:
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 2, 2, 3])
    weights = class_weights(labels, 5, "balanced")
    assert weights.tolist() == [0.5, 1.0, 1.5, 3.0, 1.0]
    assert float(weights[labels].sum()) == pytest.approx(9)
    assert class_weights(labels, 5, "none").tolist() == [1.0] * 5
