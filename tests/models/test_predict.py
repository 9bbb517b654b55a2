"""Predictions: what the model says in eval mode, whatever the batch size."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dalcli.data.pixels import ArrayPixels
from dalcli.errors import BadInputError
from dalcli.models.predict import logit_blocks
from tests.training.training_runs import CPU, STATS, FailingPixels, Interrupted, build, striped


@pytest.mark.parametrize("batch_size", [1, 7, 30, 100])
def test_blocks_are_the_models_eval_mode_logits_in_order(batch_size: int) -> None:
    data, model = striped(30), build("resnet18", dropout=0.5)
    model.train()
    model.layer1.eval()  # type: ignore[operator, union-attr]  # a module with a mode of its own
    modes = [module.training for module in model.modules()]
    blocks = [block.numpy() for block in logit_blocks(model, data.pixels, STATS, CPU, batch_size)]
    assert [module.training for module in model.modules()] == modes
    assert [len(block) for block in blocks[:-1]] == [batch_size] * (len(blocks) - 1)
    logits = np.concatenate(blocks)
    assert logits.dtype == np.float32
    images = (data.pixels.read(np.arange(30)) / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = build("resnet18").double().eval()(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_it_streams_and_stops_cleanly_when_abandoned() -> None:
    before = threading.active_count()
    data, model = striped(64), build()
    model.train()
    blocks = logit_blocks(model, FailingPixels(data, at=6), STATS, CPU, 4)
    assert next(blocks).shape == (4, 3)
    blocks.close()  # type: ignore[attr-defined]
    assert model.training
    assert threading.active_count() == before
    with pytest.raises(Interrupted):
        list(logit_blocks(model, FailingPixels(data, at=6), STATS, CPU, 4))
    assert threading.active_count() == before


def test_no_images_give_no_blocks() -> None:
    empty = ArrayPixels(np.zeros((0, 8, 8, 3), np.uint8))
    assert list(logit_blocks(build(), empty, STATS, CPU, 4)) == []


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


def test_a_model_that_does_not_give_logits_is_refused() -> None:
    for model, found in ((Pair(), "tuple"), (nn.Identity(), r"shape \(4, 3, 8, 8\)")):
        with pytest.raises(BadInputError, match=f"returned {found}"):
            list(logit_blocks(model, striped(8).pixels, STATS, CPU, 4))
