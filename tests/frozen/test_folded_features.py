"""Features by a published architecture, whose normalisations are folded meanwhile, against plain torch in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from dalcli.data.file_pixels import FilePixels
from dalcli.feedback import SilentFeedback
from dalcli.models import networks
from dalcli.models.preprocess import PixelStats, to_input
from dalcli.workspace import network_features
from dalcli.workspace.network import frozen_network
from dalcli.workspace.session import open_session
from tests.small_pools import CLASSES, SmallPool, draw

NAME = "mobilenet_v3_small"


@pytest.fixture
def pool(tmp_path: Path) -> SmallPool:
    """Nine images, and a network whose normalisations have seen some."""
    photos = tmp_path / "w" / "photos"
    photos.mkdir(parents=True)
    for index in range(9):
        draw(photos / f"{index}.png", CLASSES[index % 3], index)
    torch.manual_seed(3)
    network = models.get_model(NAME, weights=None).train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(4, 3, 64, 64))
    save_file(network.state_dict(), tmp_path / "w" / "some.safetensors")
    found = SmallPool(tmp_path / "w")
    settings = {"model": {"name": NAME, "train": "head", "weights": "some.safetensors"}, "data": {"image_size": 64}}
    (found.root / "dalcli.yaml").write_text(yaml.safe_dump(settings))
    found.ok("init", str(photos), "--classes", ",".join(CLASSES))
    return found


def test_features_are_those_of_the_network_as_it_was_published(
    pool: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_features, "PROCESSOR_BATCH", 4)
    files = sorted(str(path) for path in (pool.root / "photos").iterdir())
    with open_session(pool.root, SilentFeedback()) as session:
        record = frozen_network(session)
        assert record is not None
        source = network_features.NetworkFeatures(session, record, files)
        found = source.read(np.arange(len(files)))
        kept = networks.read(session.workspace.networks, record)
    normalisations = [sum(isinstance(m, nn.BatchNorm2d) for m in each.modules()) for each in (kept, source._network)]
    assert normalisations == [34, 0]
    recipe = record.recipe
    pixels = FilePixels(
        files,
        recipe.image_size,
        recipe.resize,
        session.config.data.alpha_background,
        crop_fraction=recipe.crop_fraction,
        interpolation=recipe.interpolation,
    ).read(np.arange(len(files)))
    inputs = to_input(pixels, PixelStats(recipe.mean, recipe.std), torch.device("cpu")).double()
    with torch.no_grad():
        expected = kept.body.double()(inputs).flatten(1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
