"""Frozen networks of timm, where it is installed: small ones, random weights."""

from __future__ import annotations

import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.models import downloading, networks, timm_models, zoo
from dalcli.models.downloading import DownloadError

try:
    import timm
except ImportError:
    timm = None

needs_timm = pytest.mark.skipif(timm is None, reason="timm is not installed (pip install 'dalcli[timm]')")

CNN = "tf_efficientnet_lite0"
VIT = "vit_tiny_patch16_224"


@pytest.fixture(autouse=True)
def _nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DALCLI_OFFLINE", "1")
    if timm is not None:
        import huggingface_hub.file_download

        monkeypatch.setattr(huggingface_hub.file_download.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def plain(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model(name, **options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
    return model.eval()


def saved(state: dict[str, Tensor], path: Path) -> str:
    torch.save(state, path)
    return path.name


def images(size: tuple[int, int]) -> Tensor:
    return torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(7))


def entering(model: nn.Module, inputs: Tensor) -> Tensor:
    """What a hook sees before the classifier, in float64."""
    seen: list[Tensor] = []
    classifier = model.double().get_classifier()  # type: ignore[operator, union-attr]
    classifier.register_forward_pre_hook(lambda _, args: seen.append(args[0]))  # type: ignore[union-attr]
    with torch.no_grad():
        model(inputs.double())
    return seen[0]


@needs_timm
@pytest.mark.parametrize(("name", "dimension"), [(CNN, 1280), (VIT, 192), ("deit_tiny_patch16_224.fb_in1k", 192)])
def test_features_are_what_enters_the_classifier(tmp_path: Path, name: str, dimension: int) -> None:
    model = plain(name)
    weights = saved(model.state_dict(), tmp_path / "w.pth")
    size = (64, 64) if name == CNN else None
    frozen = networks.load(f"timm:{name}", weights, tmp_path, tmp_path, size)
    assert (frozen.record.dimension, frozen.notes) == (dimension, ())
    inputs = images(size or (224, 224))
    features = frozen.features(inputs)
    torch.testing.assert_close(features.double(), entering(model, inputs), rtol=1e-3, atol=1e-4)
    networks.store(tmp_path / "networks", frozen)
    assert torch.equal(networks.read(tmp_path / "networks", frozen.record)(inputs), features)
    whole = networks.whole(frozen.record, frozen.tensors(), 4, seed=1).eval()
    assert whole(inputs).shape == (3, 4)
    torch.testing.assert_close(entering(whole, inputs).float(), features, rtol=1e-3, atol=1e-4)


@needs_timm
def test_tables_of_positions_follow_the_image_size(tmp_path: Path) -> None:
    model = plain(VIT)
    with torch.no_grad():
        model.pos_embed.copy_(torch.ones_like(model.pos_embed) / 7)  # type: ignore[operator, union-attr, arg-type]
    weights = saved(model.state_dict(), tmp_path / "w.pth")
    frozen = networks.load(f"timm:{VIT}", weights, tmp_path, tmp_path, (64, 96))
    positions = frozen.tensors()["pos_embed"]
    torch.testing.assert_close(positions, torch.full((1, 1 + 4 * 6, 192), 1 / 7))
    networks.store(tmp_path / "networks", frozen)
    again = networks.read(tmp_path / "networks", frozen.record)
    assert torch.equal(again(images((64, 96))), frozen(images((64, 96))))
    with pytest.raises(BadInputError, match=r"data\.image_size: timm:vit_tiny_patch16_224 cannot take"):
        networks.load(f"timm:{VIT}", weights, tmp_path, tmp_path, (8, 8))


@needs_timm
@pytest.mark.parametrize("classes", [0, 7])
def test_files_may_have_no_classifier_or_another(tmp_path: Path, classes: int) -> None:
    model = plain(CNN, num_classes=classes)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    frozen = networks.load(f"timm:{CNN}", "w.safetensors", tmp_path, tmp_path, (64, 64))
    expected = model(images((64, 64))) if classes == 0 else entering(model, images((64, 64)))
    torch.testing.assert_close(frozen(images((64, 64))).double(), expected.detach().double(), rtol=1e-3, atol=1e-4)


@needs_timm
def test_names_by_another_program_are_matched_by_order(tmp_path: Path) -> None:
    state = plain(CNN).state_dict()
    theirs = OrderedDict(
        (f"_{name.replace('conv', 'c')}", tensor) for name, tensor in state.items() if "num_batches" not in name
    )
    expected = networks.load(f"timm:{CNN}", saved(state, tmp_path / "w.pth"), tmp_path, tmp_path, (64, 64))
    frozen = networks.load(f"timm:{CNN}", saved(theirs, tmp_path / "theirs.pth"), tmp_path, tmp_path, (64, 64))
    assert torch.equal(frozen(images((64, 64))), expected(images((64, 64))))
    assert "other names" in frozen.notes[0]
    theirs.popitem()
    with pytest.raises(BadInputError, match=r"model\.weights: w.pth does not fit timm:tf_efficientnet_lite0: missing"):
        networks.load(f"timm:{CNN}", saved(theirs, tmp_path / "w.pth"), tmp_path, tmp_path)
    with pytest.raises(
        BadInputError, match=r"does not fit timm:resnet18: bn1\.bias: \(32,\) in the file, \(64,\) in the model"
    ):
        networks.load("timm:resnet18", saved(state, tmp_path / "w.pth"), tmp_path, tmp_path)


@needs_timm
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        (CNN, Recipe((224, 224), "crop", 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)),
        ("resnet18.tv_in1k", Recipe((224, 224), "crop", 0.875, "bilinear")),
        ("mobilevit_xxs", Recipe((256, 256), "crop", 256 / 284, "bicubic", (0.0,) * 3, (1.0,) * 3)),
        ("dm_nfnet_f0", Recipe((192, 192), "stretch", 192 / 213, "bicubic")),
    ],
)
def test_recipes_are_timms(name: str, recipe: Recipe) -> None:
    assert timm_models.recipe(timm_models.config(f"timm:{name}")) == recipe


@needs_timm
def test_published_weights_are_looked_for_before_they_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, asked = plain(CNN).state_dict(), []

    def fetch(url: str, target: Path, remedy: str, feedback: Feedback, sha256: str) -> None:
        asked.append(url)
        if not url.endswith(".bin"):
            raise DownloadError("not there", remedy, missing=True)
        target.parent.mkdir()
        torch.save(state, target)

    def load() -> Tensor:
        return networks.load(f"timm:{CNN}", None, tmp_path, tmp_path / "downloads", (64, 64))(images((64, 64)))

    with pytest.raises(DownloadError, match="DALCLI_OFFLINE") as caught:
        load()
    address = "https://huggingface.co/timm/tf_efficientnet_lite0.in1k/resolve/main/"
    assert f"{address}model.safetensors" in (caught.value.remedy or "")
    monkeypatch.setattr(downloading, "fetch", fetch)
    first = load()
    assert [url.removeprefix(address) for url in asked] == [
        "model.safetensors",
        "open_clip_model.safetensors",
        "pytorch_model.bin",
    ]
    assert torch.equal(load(), first)
    assert len(asked) == 3, "what is there is downloaded again"
    (tmp_path / "downloads" / "tf_efficientnet_lite0.in1k.bin").unlink()
    repository = tmp_path / "hub" / "models--timm--tf_efficientnet_lite0.in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0123")
    (repository / "snapshots" / "0123").mkdir(parents=True)
    save_file(state, repository / "snapshots" / "0123" / "model.safetensors")
    assert torch.equal(load(), first)
    assert len(asked) == 3, "the hub's cache is not looked into"


@needs_timm
@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("timm:resnett18", None, "model.name: timm has no model 'resnett18': did you mean 'timm:resnet"),
        ("timm:resnet18.nowhere", None, "model.weights: timm:resnet18 has no weights 'nowhere'"),
        ("timm:resnet18", "a1_in2k", "model.weights: timm:resnet18 has no weights 'a1_in2k': did you mean 'a1_in1k'"),
        ("timm:resnet18", "none.pth", "model.weights: .*none.pth does not exist"),
    ],
)
def test_what_timm_does_not_have_is_refused(tmp_path: Path, name: str, weights: str | None, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        networks.check(name, weights, tmp_path)


@needs_timm
def test_tags_choose_among_weights(tmp_path: Path) -> None:
    for name, weights, tag in [("resnet18.tv_in1k", None, "tv_in1k"), ("resnet18", "a3_in1k", "a3_in1k")]:
        networks.check(f"timm:{name}", weights, tmp_path)
        assert timm_models.config(f"timm:{name}", weights or "DEFAULT")["tag"] == tag


def test_without_timm_its_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BadInputError, match=r"model\.name: timm:resnet18 needs the timm package") as caught:
        networks.check("timm:resnet18", None, tmp_path)
    assert "pip install 'dalcli[timm]'" in (caught.value.remedy or "")


def test_timms_networks_are_not_trained_as_a_whole() -> None:
    with pytest.raises(BadInputError, match=r"model\.name: timm:resnet18 can only be used as a frozen network"):
        zoo.check_name("timm:resnet18")
