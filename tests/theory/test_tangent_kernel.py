"""Θ against one backward pass per sample and class in float64; the sketch against the exact Θ."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dalcli.theory import ntk
from dalcli.theory.ntk import Network, NtkSketch, Samples, exact_ntk, sketched_ntk
from dalcli.theory.probes import class_groups
from tests.theory.small_networks import CLASSES, images, jacobians, network, seeded, tangent_kernel

COUNT = 9
PLENTY = 2**30


def reading(inputs: Tensor) -> Samples:
    return Samples(len(inputs), lambda piece: inputs[piece])


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square over entries, relative to √(Θ_ii Θ_jj)."""
    size = np.sqrt(np.diag(expected))
    return float(np.sqrt(np.mean(((found - expected) / (size[:, None] * size)) ** 2)))


@pytest.mark.parametrize("samples_at_once", [COUNT, 4, 1])
def test_the_exact_kernel_is_the_definition_whatever_fits_memory(samples_at_once: int) -> None:
    model, inputs = network(dropout=0.5), images(COUNT)
    expected = tangent_kernel(copy.deepcopy(model), inputs)
    limit = PLENTY if samples_at_once == COUNT else 2 * samples_at_once * ntk.COPIES * 4 * ntk.trainable_size(model)
    asked = Network(model, CLASSES, limit)
    assert (asked.samples_that_fit() >= COUNT) == (samples_at_once == COUNT)
    counted: list[int] = []
    found = exact_ntk(asked, reading(inputs), counted.append)
    np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6 * np.abs(expected).max())
    assert model.training
    if samples_at_once == COUNT:
        assert sum(counted) == COUNT * CLASSES


def test_only_trainable_parameters_count() -> None:
    model, inputs = network(), images(3)
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    found = exact_ntk(Network(model, CLASSES, PLENTY), reading(inputs))
    np.testing.assert_allclose(found, tangent_kernel(copy.deepcopy(model), inputs), rtol=2e-5)


class Moody(nn.Module):
    """Reads a number out of its data, which vmap refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.unused = nn.Linear(108, CLASSES), nn.Parameter(torch.ones(3))

    def forward(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        return self.layer(flat) * (2.0 if float(flat.sum()) > 0 else 1.0)


def test_models_that_cannot_be_vectorised_are_done_one_by_one() -> None:
    model, inputs = Moody(), images(5)
    found = exact_ntk(Network(model, CLASSES, PLENTY), reading(inputs))
    np.testing.assert_allclose(found, tangent_kernel(copy.deepcopy(model), inputs), rtol=2e-5)


@pytest.mark.parametrize("groups", [CLASSES, 10 * CLASSES])
def test_the_sketched_kernel_comes_close_and_has_the_exact_diagonal(groups: int) -> None:
    model, inputs = network(dropout=0.5), images(COUNT)
    exact = tangent_kernel(copy.deepcopy(model), inputs)
    errors = []
    for dimension in (64, 1024):
        sketch = NtkSketch(seed=5, dimension=dimension, groups=groups)
        found = sketched_ntk(Network(model, CLASSES, PLENTY), reading(inputs), sketch, batch=4)
        np.testing.assert_allclose(np.diag(found), np.diag(exact), rtol=1e-5)
        assert np.linalg.eigvalsh(found)[0] > -1e-9 * exact.max()
        errors.append(relative_error(found, exact))
    assert errors[1] < errors[0] / 2
    assert errors[1] < 0.03
    assert model.training


def test_mixing_classes_is_unbiased() -> None:
    """Over many random groupings Σ_r (J_i v_r)·(J_j v_r) averages to the sum over classes."""
    rows = jacobians(network(), images(2))
    products = rows[0] @ rows[1].T
    random = np.random.default_rng(0)
    found = []
    for _ in range(4000):
        weights = class_groups(CLASSES, 2, random)
        found.append(np.einsum("rk,kl,rl->", weights, products, weights))
    spread = np.std(found) / np.sqrt(len(found))
    assert spread > 0
    assert abs(np.mean(found) - np.trace(products)) < 4 * spread
    assert spread < 0.05 * abs(np.trace(products))


@pytest.mark.parametrize(("classes", "groups"), [(5, 5), (5, 9), (7, 3), (1, 1)])
def test_every_class_is_in_one_group_and_groups_are_even(classes: int, groups: int) -> None:
    weights = class_groups(classes, groups, np.random.default_rng(3))
    assert weights.shape == (min(groups, classes), classes)
    assert (np.count_nonzero(weights, axis=0) == 1).all()
    assert set(np.abs(weights).ravel()) <= {0.0, 1.0}
    sizes = np.count_nonzero(weights, axis=1)
    assert sizes.max() - sizes.min() <= 1


def test_mixed_classes_give_a_rougher_kernel_of_the_right_size() -> None:
    model, inputs = network(), images(COUNT)
    exact = tangent_kernel(copy.deepcopy(model), inputs)
    found = [
        sketched_ntk(Network(model, CLASSES, PLENTY), reading(inputs), NtkSketch(seed, 512, 2), batch=COUNT)
        for seed in range(12)
    ]
    assert relative_error(np.mean(found, axis=0), exact) < 0.5 * np.mean([relative_error(f, exact) for f in found])


def test_token_models_work_too() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(7, 5), nn.Flatten(), nn.Linear(20, 3))
    tokens = torch.randint(7, (6, 4), generator=seeded())
    asked = Network(model, 3, PLENTY)
    exact = exact_ntk(asked, reading(tokens))
    found = sketched_ntk(asked, reading(tokens), NtkSketch(0, 2048, 3), batch=6)
    assert relative_error(found, exact) < 0.03
