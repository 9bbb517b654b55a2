"""How a workspace comes to its frozen network, and what is said where it does not."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from dalcli.config.loading import load
from dalcli.workspace import model_choice
from tests.frozen_pools import MODULE, network
from tests.small_pools import CLASSES, SmallPool, draw

CLASS_LIST = ("--classes", ",".join(CLASSES))


@pytest.fixture
def empty(tmp_path: Path) -> SmallPool:
    """Photographs of 80×80 pixels, a module with the tiny network, and no workspace yet."""
    root = tmp_path / "w"
    (root / "photos").mkdir(parents=True)
    for index in range(6):
        label = CLASSES[index % 3]
        draw(root / "photos" / f"{label}-{index:02d}.png", label, index, size=80)
    (root / "tinynet.py").write_text(MODULE)
    save_file(network().state_dict(), root / "tiny.safetensors")
    return SmallPool(root)


def init(pool: SmallPool, *options: str) -> tuple[int, str]:
    outcome = pool.run("init", str(pool.root / "photos"), *CLASS_LIST, *options)
    return outcome.code, outcome.err


def test_a_named_network_is_adopted_and_written_down(empty: SmallPool) -> None:
    code, err = init(empty, "--model", "tinynet:network", "--weights", "tiny.safetensors")
    assert code == 0, err
    assert "chose the frozen network tinynet:network at 224×224" in err
    settings = yaml.safe_load((empty.root / "dalcli.yaml").read_text())
    assert settings["model"] == {"name": "tinynet:network", "train": "head", "weights": "tiny.safetensors"}
    config = load(empty.root / "dalcli.yaml")
    assert settings["query"] == {"strategy": config.query.strategy, "cold_start": config.query.cold_start}
    (empty.root / "tiny.safetensors").unlink()
    assert empty.run("init", str(empty.root / "photos"), *CLASS_LIST).code == 0  # the same again changes nothing
    empty.ok("query", "--budget", "2")


def test_photographs_get_a_pretrained_network_where_its_weights_are_at_hand(
    empty: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_choice, "PHOTOGRAPHS", "tinynet:network")
    monkeypatch.setattr(model_choice, "PHOTOGRAPH_WEIGHTS", "tiny.safetensors")
    document = empty.json("init", str(empty.root / "photos"), *CLASS_LIST)
    assert (document["model"], document["train"], document["weights"]) == (
        "tinynet:network",
        "head",
        "tiny.safetensors",
    )
    assert yaml.safe_load((empty.root / "dalcli.yaml").read_text())["model"]["train"] == "head"


def test_where_no_weights_can_be_had_one_line_says_so(empty: SmallPool) -> None:
    code, err = init(empty)
    assert code == 0
    (line,) = (line for line in err.splitlines() if "no pretrained network" in line)
    assert "DALCLI_OFFLINE" in line
    assert "dalcli init --weights FILE" in line
    assert load(empty.root / "dalcli.yaml").model.train == "all"
    assert empty.json("status")["model_name"] == "resnet18"


def test_small_images_train_from_nothing_unless_asked(tmp_path: Path) -> None:
    root = tmp_path / "w"
    (root / "photos").mkdir(parents=True)
    draw(root / "photos" / "red-00.png", "red", 0)
    pool = SmallPool(root)
    code, err = init(pool)
    assert code == 0
    assert "pretrained" not in err
    assert pool.json("status")["model_name"] == "cnn"


def test_a_network_that_was_asked_for_and_cannot_be_had_is_an_error(empty: SmallPool) -> None:
    code, err = init(empty, "--weights", "DEFAULT")
    assert code == 1
    assert "https://" in err
    assert not (empty.root / ".dalcli").exists()
    assert not (empty.root / "dalcli.yaml").exists()


class _Runs:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("ran").touch, ())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("other network", "does not fit"),
        ("truncated", "cannot be read"),
        ("pickled code", "weights"),
        ("pickled model", "weights"),
        ("missing", "does not exist"),
        ("empty", "cannot be read"),
    ],
)
def test_weights_that_are_none_are_refused_and_nothing_changes(
    empty: SmallPool, damage: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty.root)
    file = empty.root / ("bad.safetensors" if damage in {"other network", "truncated"} else "bad.pth")
    if damage == "other network":
        save_file({"features.0.weight": torch.zeros(3, 3)}, file)
    elif damage == "truncated":
        file.write_bytes((empty.root / "tiny.safetensors").read_bytes()[:-40])
    elif damage == "pickled code":
        file.write_bytes(pickle.dumps({"state_dict": _Runs()}))
    elif damage == "pickled model":
        torch.save(network(), file)
    elif damage == "empty":
        file.touch()
    code, err = init(empty, "--model", "tinynet:network", "--weights", file.name)
    assert code == 3, err
    assert "model.weights" in err
    assert said in err
    assert "Traceback" not in err
    assert not (empty.root / "ran").exists()
    assert not (empty.root / ".dalcli").exists()
    assert not (empty.root / "dalcli.yaml").exists()


def test_a_pth_file_serves_as_well(empty: SmallPool) -> None:
    torch.save({"state_dict": {f"module.{k}": v for k, v in network().state_dict().items()}}, empty.root / "t.pth")
    code, err = init(empty, "--model", "tinynet:network", "--weights", "t.pth")
    assert code == 0, err


def test_a_model_without_a_linear_head_is_refused(empty: SmallPool) -> None:
    (empty.root / "headless.py").write_text(
        "from torch import nn\n\n\ndef network(num_classes, image_size):\n"
        "    return nn.Sequential(nn.Conv2d(3, num_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    save_file({"0.weight": torch.zeros(7, 3, 3, 3), "0.bias": torch.zeros(7)}, empty.root / "headless.safetensors")
    code, err = init(empty, "--model", "headless:network", "--weights", "headless.safetensors")
    assert code == 3
    assert "linear" in err


def test_timm_that_is_not_installed_is_named(empty: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    code, err = init(empty, "--model", "timm:resnet18", "--weights", "tiny.safetensors")
    assert code == 3
    assert "dalcli[timm]" in err


def test_the_model_is_said_in_one_place(empty: SmallPool) -> None:
    (empty.root / "dalcli.yaml").write_text("model: {name: cnn}\n")
    code, err = init(empty, "--model", "resnet18")
    assert code == 2
    assert "dalcli.yaml" in err
    assert not (empty.root / ".dalcli").exists()


def test_an_existing_workspace_keeps_its_model(empty: SmallPool) -> None:
    asked = ("--model", "tinynet:network", "--weights", "tiny.safetensors")
    assert init(empty, *asked)[0] == 0
    assert init(empty, *asked)[0] == 0
    code, err = init(empty, "--model", "resnet18")
    assert code == 3
    assert "edit its dalcli.yaml" in err


def test_own_models_without_weights_are_trained_as_a_whole(empty: SmallPool) -> None:
    assert init(empty, "--model", "resnet18")[0] == 0
    assert load(empty.root / "dalcli.yaml").model.train == "all"
    assert empty.json("status")["model_name"] == "resnet18"


def test_keys_of_the_head_are_checked(empty: SmallPool) -> None:
    (empty.root / "dalcli.yaml").write_text("training: {penalty: -1, class_weights: heavy}\nmodel: {train: some}\n")
    code, err = init(empty)
    assert code == 3
    for key in ("training.penalty", "training.class_weights", "model.train"):
        assert key in err
