"""A workspace whose model is the head of a tiny frozen network of the user's own, with weights made here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from tests.small_pools import CLASSES, SETTINGS, SmallPool, draw

MODULE = """
from torch import nn


def network(num_classes, image_size):
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, num_classes)
    )


network.recipe = {"crop_fraction": 1.0}
"""
DIMENSION = 24


def network(num_classes: int = 7) -> nn.Sequential:
    """What ``MODULE`` says, with the weights that :func:`make_frozen_pool` gives it."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, num_classes)
    )


def frozen_settings(**settings: Mapping[str, Any] | int) -> dict[str, Any]:
    """Sections of a configuration for the tiny network."""
    model = {"name": "tinynet:network", "train": "head", "weights": "tiny.safetensors"}
    return {"model": model, "scoring": {"shard_size": 8}} | settings


def make_frozen_pool(root: Path, count: int = 48, **settings: Mapping[str, Any] | int) -> SmallPool:
    """``count`` images, a third of each class; nothing is labeled, and no feature is computed."""
    photos = root / "photos"
    photos.mkdir(parents=True)
    for index in range(count):
        label = CLASSES[index % 3]
        draw(photos / f"{label}-{index:02d}.png", label, index)
    (root / "tinynet.py").write_text(MODULE)
    save_file(network().state_dict(), root / "tiny.safetensors")
    pool = SmallPool(root)
    write_settings(pool, **settings)
    pool.ok("init", str(photos), "--classes", ",".join(CLASSES))
    return pool


def write_settings(pool: SmallPool, **settings: Mapping[str, Any] | int) -> None:
    """``dalcli.yaml`` for the tiny network, with some sections changed."""
    import yaml

    kept = {name: SETTINGS[name] for name in ("seed", "threads", "data", "evaluation")}
    merged: dict[str, Any] = {**kept, **frozen_settings()}
    for name, value in settings.items():
        merged[name] = {**merged.get(name, {}), **value} if isinstance(value, Mapping) else value
    (pool.root / "dalcli.yaml").write_text(yaml.safe_dump(merged))
