"""Modes are switched for a while, and every module's own is put back."""

from __future__ import annotations

import pytest
from torch import nn

from dalcli.runtime.modes import batch_statistics, eval_mode


def mixed() -> nn.Sequential:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(), nn.BatchNorm1d(2)).train()
    model[2].eval()
    model[3].eval()
    return model


def modes(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@pytest.mark.parametrize("fails", [False, True])
def test_every_mode_is_put_back_whatever_happens_meanwhile(fails: bool) -> None:
    model = mixed()
    before = modes(model)
    try:
        with eval_mode(model):
            assert not any(modes(model))
            model[2].train()
            if fails:
                raise ArithmeticError
    except ArithmeticError:
        assert fails
    assert modes(model) == before == [True, True, True, False, False]


@pytest.mark.parametrize("samples", [1, 2])
def test_one_image_has_no_batch_statistics(samples: int) -> None:
    model = mixed()
    before = modes(model)
    with batch_statistics(model, samples):
        assert modes(model) == [True, True, samples > 1, False, False]
    assert modes(model) == before
