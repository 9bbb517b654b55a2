"""The same commands on a GPU: close to the processor's numbers, over a whole round."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.small_pools import SmallPool, copied

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]
MODELS = ["cnn", "resnet18"]


@pytest.mark.parametrize("name", MODELS)
def test_scores_agree_with_the_processors(labeled: SmallPool, tmp_path: Path, name: str) -> None:
    gpu = copied(labeled, tmp_path / "gpu")
    for pool, device in ((labeled, "cpu"), (gpu, "cuda")):
        pool.configure(device=device, model={"name": name, "dropout": 0}, training={"max_epochs": 1})
    labeled.ok("train")
    # The very same weights, scored on both.
    shutil.rmtree(gpu.root / ".dalcli")
    shutil.copytree(labeled.root / ".dalcli", gpu.root / ".dalcli")
    norm = labeled.json("score", "--full")["labeled_gradient_norm"]
    assert gpu.json("score", "--full")["labeled_gradient_norm"] == pytest.approx(norm, rel=1e-4)
    reference, found = labeled.scores(), gpu.scores()
    assert reference.keys() == found.keys()
    for sample, columns in reference.items():
        length = float(columns["grad_sq_norm"]) ** 0.5
        error = abs(delta(found[sample]) - delta(columns))
        assert error <= 1e-4 * (length**2 + 2 * length * norm)


def delta(columns: dict[str, Any]) -> float:
    return float(columns["grad_sq_norm"]) + 2 * float(columns["grad_inner"])


@pytest.mark.parametrize("mixed_precision", ["off", "auto"])
def test_the_whole_round_runs_on_a_gpu(labeled: SmallPool, mixed_precision: str) -> None:
    labeled.configure(device="cuda", training={"mixed_precision": mixed_precision})
    assert labeled.json("train")["model"]["device"] == "cuda"
    assert "up to date" in labeled.ok("train").err
    labeled.ok("score", "--full")
    labeled.label(labeled.pool(purpose="evaluation"))
    assert labeled.json("evaluate")["report"]["accuracy"] > 0
    assert len(labeled.ok("query", "--budget", "3").out.splitlines()) == 4
