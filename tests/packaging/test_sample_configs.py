"""Every configuration we hand out must load, and say what its comments promise."""

from __future__ import annotations

from pathlib import Path

import pytest
from repository import ROOT

from dalcli.config.loading import load
from dalcli.simulation.config import load as load_simulation
from dalcli.strategies.registry import create

ALL = sorted((ROOT / "sample_configs").rglob("*.yaml"))
SIMULATIONS = [path for path in ALL if path.parent.name in {"simulate", "paper"}]
SAMPLES = [path for path in ALL if path not in SIMULATIONS]


def paper(name: str) -> Path:
    return ROOT / "sample_configs" / f"{name}.yaml"


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: str(path.relative_to(ROOT / "sample_configs")))
def test_sample_config_loads_and_names_known_strategies(path: Path) -> None:
    config = load(path)
    create(config.query.strategy, config.query)
    create(config.query.cold_start, config.query)


@pytest.mark.parametrize("path", SIMULATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_sample_simulation_loads_and_names_known_strategies(path: Path) -> None:
    assert load_simulation(path).config.title


@pytest.mark.parametrize("path", [path for path in SIMULATIONS if path.parent.name == "paper"], ids=lambda p: p.stem)
def test_paper_simulations_follow_the_papers_protocol(path: Path) -> None:
    simulation = load_simulation(path).config
    training = simulation.workspace.training
    assert (simulation.initial_labels, len(simulation.seeds), simulation.initial_choice) == (500, 5, ("random",))
    assert set(simulation.batch_sizes) <= {100, 250, 500, 1000}
    assert (training.optimizer, training.batch_size, training.weight_decay) == ("adam", 128, 0.0)
    assert (training.start, training.augmentation, training.hold_epochs) == ("warm", "none", 1)
    assert simulation.test_fraction == (0.2 if simulation.source.kind == "caltech101" else None)
    if path.stem.startswith("table1"):
        assert [(simulation.rounds_of(size), size) for size in simulation.batch_sizes] == [
            (10, 100), (4, 250), (2, 500), (1, 1000),
        ]  # fmt: skip


def test_there_is_a_simulation_for_every_figure_and_table_of_the_paper() -> None:
    names = {path.stem.split("_")[0] for path in SIMULATIONS}
    assert names >= {"figure1", "figure2", "figure3", "figure4", "figure5", "table1", "digits"}


def test_there_is_a_sample_for_each_use() -> None:
    names = {str(path.relative_to(ROOT / "sample_configs")) for path in SAMPLES}
    assert names >= {
        "minimal/dalcli.yaml",
        "nightly/dalcli.yaml",
        "cifar10_cnn.yaml",
        "svhn_vgg11.yaml",
        "caltech101_resnet18.yaml",
    }


@pytest.mark.parametrize(
    ("name", "model", "image_size", "classes"),
    [
        ("cifar10_cnn", "cnn", (32, 32), 10),
        ("svhn_vgg11", "vgg11", (32, 32), 10),
        ("caltech101_resnet18", "resnet18", (224, 224), None),
    ],
)
def test_paper_samples_follow_the_papers_protocol(
    name: str, model: str, image_size: tuple[int, int], classes: int | None
) -> None:
    config = load(paper(name))
    training = config.training
    assert (config.model.name, config.data.image_size) == (model, image_size)
    assert (len(config.classes) if config.classes else None) == classes
    assert (training.optimizer, training.batch_size, training.weight_decay) == ("adam", 128, 0.0)
    assert (training.start, training.augmentation, training.schedule) == ("warm", "none", "constant")
    assert 0.97 <= training.accuracy_threshold <= 0.99
    assert training.hold_epochs == 1
    assert (config.query.strategy, config.query.gamma, config.query.cold_start) == ("dynamical", 2.0, "random")
    assert config.query.budget in {250, 500, 1000}
    assert config.evaluation.reserve == 0.0
    assert config.model.weights is None


def test_svhn_classes_stay_text() -> None:
    assert load(paper("svhn_vgg11")).classes == tuple("0123456789")
