"""Stored scores against a plain oracle: float64, one sample at a time, ordinary autograd, from the files alone."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torchvision.models.resnet import resnet18
from torchvision.models.vgg import cfgs, make_layers

from tests.small_pools import CLASSES, SmallPool, make_pool, truth

GAMMAS = (0.0, 1.0, 2.0, math.inf)
TOLERANCE = 1e-4


def cnn(classes: int) -> nn.Module:
    """The paper's vanilla CNN, written out once more."""
    widths = [(3, 32), (32, 64), (64, 128)]
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(*width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes))


def small_resnet18(classes: int) -> nn.Module:
    model = resnet18(num_classes=classes)
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = nn.Identity()
    return model


def vgg11(classes: int) -> nn.Module:
    layers = make_layers(cfgs["A"], batch_norm=True)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


ARCHITECTURES = {"cnn": cnn, "resnet18": small_resnet18, "vgg11": vgg11}


@dataclass(frozen=True)
class Oracle:
    """What the stored files of one version say about images."""

    model: nn.Module
    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, pool: SmallPool) -> Oracle:
        meta = pool.meta()
        model = ARCHITECTURES[meta["spec"]["name"]](len(meta["classes"])).double().eval()
        stored = load_file(pool.version() / "model.safetensors")
        mine = model.state_dict()
        assert len(mine) == len(stored)
        # The layers come in the same order here and there; only their names differ.
        names = order(stored, meta["spec"]["name"])
        model.load_state_dict({key: stored[name].to(mine[key].dtype) for key, name in zip(mine, names, strict=True)})
        stats = meta["pixel_stats"]
        return cls(model, torch.tensor(stats["mean"]).double(), torch.tensor(stats["std"]).double())

    def gradient(self, path: Path, label: int | None) -> tuple[Tensor, Tensor]:
        """∇ℓ for ``label`` (None: the pseudo-label) as one long vector, and the probabilities."""
        pixels = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).double() / 255
        logits = self.model(((pixels - self.mean) / self.std).permute(2, 0, 1)[None])
        target = logits.argmax(1) if label is None else torch.tensor([label])
        self.model.zero_grad()
        cross_entropy(logits, target).backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad.reshape(-1).clone() for p in self.model.parameters() if p.grad is not None]
        return torch.cat(gradients), logits.detach().softmax(1)[0]


def order(stored: dict[str, Tensor], name: str) -> list[str]:
    """The stored names in the order of the layers."""
    if name == "resnet18":
        return list(resnet18().state_dict())
    kinds = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]

    def place(key: str) -> tuple[int, int, int]:
        module, _, kind = key.rpartition(".")
        digits = "".join(character for character in module if character.isdigit())
        return (module.startswith("head"), int(digits or 0), kinds.index(kind))

    return sorted(stored, key=place)


@pytest.mark.parametrize(
    ("name", "size", "images", "labels"), [("cnn", 8, 24, 8), ("resnet18", 8, 14, 4), ("vgg11", 32, 7, 2)]
)
def test_scores_agree_with_float64_autograd(tmp_path: Path, name: str, size: int, images: int, labels: int) -> None:
    pool = make_pool(
        tmp_path / "w",
        images,
        size,
        model={"name": name, "dropout": 0},
        data={"image_size": size},
        training={"max_epochs": 2},
        evaluation={"reserve": 0.1},
        scoring={"batch_size": 3, "shard_size": 5},
    )
    pool.label(pool.pool()[:labels])
    pool.ok("train")
    result = pool.json("score", "--full")
    oracle = Oracle.of(pool)
    seen = [oracle.gradient(pool.path(row), CLASSES.index(truth(row["path"])))[0] for row in pool.pool("labeled")]
    total = torch.stack(seen).sum(0)
    assert result["labeled"] == labels
    assert result["labeled_gradient_norm"] == pytest.approx(float(total.norm()), rel=TOLERANCE)
    scores = pool.scores()
    rows = pool.pool()
    assert len(rows) == len(scores) > labels
    for row in rows:
        gradient, probabilities = oracle.gradient(pool.path(row), None)
        found = scores[row["sample_id"]]
        assert found["probabilities"] == pytest.approx(probabilities.numpy(), abs=1e-5)
        for gamma in GAMMAS:
            expected, allowed = delta(gradient, total, gamma)
            assert abs(value(found, gamma) - expected) <= allowed


def delta(gradient: Tensor, total: Tensor, gamma: float) -> tuple[float, float]:
    """Δ of Eq. 15 and the error that method.md allows in it."""
    square, inner = float(gradient @ gradient), float(gradient @ total)
    size = float(gradient.norm() * total.norm())
    if math.isinf(gamma):
        return inner, TOLERANCE * size
    return square + gamma * inner, TOLERANCE * (square + gamma * size)


def value(columns: dict[str, Any], gamma: float) -> float:
    inner = float(columns["grad_inner"])
    return inner if math.isinf(gamma) else float(columns["grad_sq_norm"]) + gamma * inner


@pytest.mark.parametrize("gamma", [None, *GAMMAS])
def test_query_ranks_by_delta_from_the_shards(scored: SmallPool, gamma: float | None) -> None:
    options = [] if gamma is None else ["--gamma", str(gamma)]
    eligible = [row["sample_id"] for row in scored.pool("unlabeled")]
    batch = query(scored, "--strategy", "dynamical", *options)
    scores = scored.scores()
    used = 2.0 if gamma is None else gamma
    best = sorted(eligible, key=lambda sample: -value(scores[sample], used))[:5]
    assert [row["sample_id"] for row in batch] == best
    assert [float(row["score"]) for row in batch] == [value(scores[sample], used) for sample in best]
    check_predictions(batch, scores)


@pytest.mark.parametrize("strategy", ["margin", "entropy", "confidence"])
def test_query_ranks_by_the_stored_probabilities(scored: SmallPool, strategy: str) -> None:
    eligible = [row["sample_id"] for row in scored.pool("unlabeled")]
    batch = query(scored, "--strategy", strategy)
    scores = scored.scores()

    def uncertainty(sample: str) -> float:
        p = np.sort(scores[sample]["probabilities"].astype(np.float64))
        return float({"margin": -(p[-1] - p[-2]), "entropy": -(p * np.log(p)).sum(), "confidence": -p[-1]}[strategy])

    best = sorted(eligible, key=uncertainty, reverse=True)[:5]
    assert [row["sample_id"] for row in batch] == best
    check_predictions(batch, scores)


def test_a_random_query_says_what_the_model_thinks_all_the_same(scored: SmallPool) -> None:
    batch = query(scored, "--strategy", "random")
    assert {row["score"] for row in batch} == {""}
    assert {row["sample_id"] for row in batch} <= {row["sample_id"] for row in scored.pool("in flight")}
    check_predictions(batch, scored.scores())


def query(pool: SmallPool, *options: str) -> list[dict[str, str]]:
    """The rows of a batch of five."""
    return list(csv.DictReader(io.StringIO(pool.ok("query", "--budget", "5", "--new", *options).out)))


def check_predictions(batch: list[dict[str, str]], scores: dict[str, dict[str, Any]]) -> None:
    assert len(batch) == 5
    for row in batch:
        probabilities = scores[row["sample_id"]]["probabilities"]
        assert row["pseudo_label"] == CLASSES[int(probabilities.argmax())]
        assert np.float32(row["confidence"]) == probabilities.max()
