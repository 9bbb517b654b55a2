"""Features on one scale, whatever the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dalcli.models.frozen_head import FrozenHead
from dalcli.models.head import penultimate
from dalcli.training.standardisation import Standardisation


def raw(n: int, d: int) -> Tensor:
    """As a network with a ReLU at its end gives them: far from centred."""
    return torch.relu(torch.randn(n, d) * 0.7 + 2) * torch.linspace(0.1, 5, d)


@pytest.mark.parametrize("shift", [0, 1000])
def test_features_are_centred_with_a_mean_squared_length_of_root_d(shift: float) -> None:
    features = raw(300, 64) + shift
    found = Standardisation.of(features)
    applied = found(features)
    assert applied.dtype == torch.float32
    assert float(applied.double().mean(0).abs().max()) < 1e-3  # 1000 has 6e-5 between neighbours
    assert float(applied.double().square().sum(1).mean()) == pytest.approx(8.0, rel=1e-4)
    torch.testing.assert_close(found.centre, features.double().mean(0).float())


def test_one_factor_for_all_directions() -> None:
    features = raw(100, 8)
    found = Standardisation.of(features)
    before, after = features[0] - features, found(features)[0] - found(features)
    torch.testing.assert_close(after, found.factor * before, rtol=1e-4, atol=1e-5)


def test_the_order_of_the_samples_does_not_matter() -> None:
    features = raw(300, 8)
    one, other = Standardisation.of(features), Standardisation.of(features[torch.randperm(300)])
    assert other.factor == pytest.approx(one.factor, rel=1e-12)
    torch.testing.assert_close(other.centre, one.centre, rtol=1e-7, atol=0)


@pytest.mark.parametrize("rows", [1, 5, 77])
def test_features_that_are_all_alike_are_only_centred(rows: int) -> None:
    features = raw(1, 30).repeat(rows, 1)
    found = Standardisation.of(features)
    assert found.factor == 1.0
    assert torch.equal(found(features), torch.zeros(rows, 30))


def test_the_head_reads_just_these() -> None:
    features = raw(50, 12)
    found = Standardisation.of(features)
    head = FrozenHead(12, 3)
    head.standardise(found.centre, found.factor)
    with penultimate(head, 3) as captured, torch.no_grad():
        assert torch.equal(captured.take(head(features)), found(features))
