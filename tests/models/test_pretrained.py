"""Pretrained weights: local files and torchvision's names; no network."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import Feedback
from dalcli.models import downloading, pretrained, zoo
from dalcli.models.preprocess import IMAGENET
from dalcli.models.spec import ModelSpec


def published_state(name: str, **options: Any) -> OrderedDict[str, Tensor]:
    """A state dict as torchvision publishes it for ``name``, with random weights."""
    torch.manual_seed(0)
    kinds = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    return OrderedDict(models.get_model(name, weights=None, **kinds, **options).state_dict())


def save(state: OrderedDict[str, Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)


def loaded(spec: ModelSpec, folder: Path) -> tuple[nn.Module, tuple[str, ...]]:
    model = zoo.build(spec, seed=0)
    return model, pretrained.load(model, spec, folder)


@pytest.mark.parametrize(
    ("name", "side", "head"),
    [
        ("resnet18", 96, "fc"),
        ("vgg11", 32, "head"),
        ("densenet121", 32, "classifier"),
        ("mnasnet0_5", 32, "classifier.1"),
        ("googlenet", 32, "fc"),
        ("squeezenet1_1", 32, "classifier.1"),
        ("mobilenet_v3_small", 32, "classifier.3"),
    ],
)
def test_a_local_imagenet_file_fills_all_but_the_head(tmp_path: Path, name: str, side: int, head: str) -> None:
    state = published_state("vgg11_bn" if name == "vgg11" else name)
    save(state, tmp_path / "w.safetensors")
    spec = ModelSpec(name, 3, (side, side), stem="large", weights="w.safetensors")
    model, notes = loaded(spec, tmp_path)
    fresh = zoo.build(spec, seed=0).state_dict()
    for key, tensor in model.state_dict().items():
        source = fresh if key.startswith(f"{head}.") else state
        assert torch.equal(tensor, source[key]), key
    assert notes == (f"{name} starts from w.safetensors; {head} starts fresh for 3 classes",)
    assert pretrained.pixel_stats(spec) == IMAGENET


def test_a_file_with_the_same_classes_fills_the_head_too(tmp_path: Path) -> None:
    state = published_state("squeezenet1_1", num_classes=3)
    save(state, tmp_path / "w.safetensors")
    model, notes = loaded(ModelSpec("squeezenet1_1", 3, (32, 32), weights="w.safetensors"), tmp_path)
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())
    assert "fresh" not in notes[0]


def test_old_densenet_names_are_understood(tmp_path: Path) -> None:
    state = published_state("densenet121")
    old = OrderedDict((re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key), t) for key, t in state.items())
    assert old.keys() != state.keys()
    save(old, tmp_path / "w.safetensors")
    model, _ = loaded(ModelSpec("densenet121", 3, (32, 32), weights="w.safetensors"), tmp_path)
    body = [key for key in state if not key.startswith("classifier")]
    assert all(torch.equal(model.state_dict()[key], state[key]) for key in body)


def test_vit_positions_are_interpolated_to_the_image_size(tmp_path: Path) -> None:
    small = {"hidden_dim": 24, "num_heads": 2, "mlp_dim": 24, "num_layers": 1, "patch_size": 16}
    state = OrderedDict(models.VisionTransformer(image_size=64, **small).state_dict())
    model = models.VisionTransformer(image_size=96, num_classes=3, **small)
    spec = ModelSpec("vit_b_16", 3, (96, 96), weights="w.safetensors")
    state["encoder.pos_embedding"] = torch.ones(1, 17, 24)
    save(state, tmp_path / "w.safetensors")
    pretrained.load(model, spec, tmp_path)
    torch.testing.assert_close(model.encoder.pos_embedding.detach(), torch.ones(1, 37, 24))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.pop("layer1.0.conv1.weight"), "missing: layer1.0.conv1.weight"),
        (lambda s: s.update({"surplus": torch.zeros(1)}), "unexpected: surplus"),
        (lambda s: s.update({"bn1.weight": torch.zeros(3)}), "bn1.weight: (3,) in the file, (64,) in the model"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path: Path, change: Any, problem: str) -> None:
    state = published_state("resnet18")
    change(state)
    save(state, tmp_path / "w.safetensors")
    with pytest.raises(BadInputError) as caught:
        loaded(ModelSpec("resnet18", 3, (96, 96), stem="large", weights="w.safetensors"), tmp_path)
    assert caught.value.problems == (problem,)
    assert "model.weights" in caught.value.message
    assert problem in caught.value.message


def test_files_that_are_missing_damaged_or_pickled_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    (tmp_path / "w.pth").write_bytes(b"pickle")
    model = zoo.build(ModelSpec("cnn", 3, (8, 8)), 0)
    for weights, message in [
        ("none.safetensors", "does not exist"),
        ("bad.safetensors", "cannot be read"),
        ("w.pth", "not a .safetensors file"),
    ]:
        with pytest.raises(BadInputError, match=f"model.weights: .*{message}"):
            pretrained.load(model, ModelSpec("cnn", 3, (8, 8), weights=weights), tmp_path)
    with pytest.raises(BadInputError, match="does not exist"):
        pretrained.check(ModelSpec("cnn", 3, (8, 8), weights="none.safetensors"), tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec("cnn", 3, (8, 8), weights="DEFAULT"), "torchvision has no weights for cnn"),
        (ModelSpec("resnet18", 3, (96, 96), "large", weights="IMAGENET1K_V3"), "IMAGENET1K_V1, DEFAULT"),
        (ModelSpec("resnet18", 3, (96, 96), "large", weights="IMAGENET1K_V3"), "did you mean 'IMAGENET1K_V1'"),
        (ModelSpec("resnet50", 3, (96, 96), weights="imagenet1k_v2"), "IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT"),
        (ModelSpec("resnet18", 3, (32, 32), "small", weights="DEFAULT"), r"model\.stem: large"),
    ],
)
def test_wrong_torchvision_names_list_the_valid_ones(spec: ModelSpec, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        pretrained.check(spec)


@pytest.mark.parametrize("name", ["DEFAULT", "ResNet18_Weights.IMAGENET1K_V1"])
def test_torchvision_weights_come_with_a_fresh_head_even_for_1000_classes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    state, asked = published_state("resnet18"), []

    def download(url: str, target: Path, remedy: str, feedback: Feedback, sha256: str) -> None:
        asked.append((url, target, sha256))
        target.parent.mkdir()
        torch.save(state, target)

    monkeypatch.setattr(downloading, "fetch", download)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    spec = ModelSpec("resnet18", 1000, (96, 96), "large", weights=name)
    model = zoo.build(spec, 0)
    fresh = model.get_submodule("fc").weight.clone()  # type: ignore[operator, union-attr]
    notes = pretrained.load(model, spec, downloads=tmp_path / "here")
    assert torch.equal(model.get_submodule("fc").weight, fresh)  # type: ignore[arg-type]
    assert torch.equal(model.get_submodule("conv1").weight, state["conv1.weight"])  # type: ignore[arg-type]
    assert "fc starts fresh" in notes[0]
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    assert asked == [(url, tmp_path / "here" / "resnet18-f37072fd.pth", "f37072fd")]
    assert capsys.readouterr().out == ""


def test_a_failed_download_says_how_to_bring_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("DALCLI_OFFLINE", "1")
    spec = ModelSpec("mobilenet_v3_small", 3, (32, 32), weights="DEFAULT")
    with pytest.raises(DalcliError, match="downloaded") as caught:
        pretrained.load(zoo.build(spec, 0), spec)
    remedy = caught.value.remedy or ""
    assert "https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth" in remedy
    assert str(tmp_path / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth") in remedy


def test_without_weights_nothing_happens() -> None:
    spec = ModelSpec("cnn", 3, (8, 8))
    model = zoo.build(spec, 0)
    assert pretrained.load(model, spec) == ()
    assert pretrained.pixel_stats(spec) is None
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), zoo.build(spec, 0).parameters(), strict=True))
