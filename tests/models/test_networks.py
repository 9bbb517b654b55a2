"""Frozen networks against the plain models they come from; small images and random weights."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import models

from dalcli.data import network
from dalcli.data.recipe import Recipe
from dalcli.errors import BadInputError, DalcliError
from dalcli.feedback import Feedback
from dalcli.models import downloading, networks, published, torchvision_models, user_models, weights_reader
from dalcli.models.downloading import DownloadError
from dalcli.models.frozen_network import FrozenNetwork
from dalcli.models.preprocess import IMAGENET
from dalcli.models.spec import ModelSpec
from dalcli.models.tensorfile import DamagedFileError

SMALL = "mobilenet_v3_small"
SIZE = (64, 64)

OWN_MODELS = """
from torch import nn
from torch.nn import functional

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers = [nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(5, classes)

    def forward(self, x):
        return self.out(self.drop(self.body(x)))

class Soft(Net):
    def forward(self, x):
        return functional.log_softmax(super().forward(x), 1)

class Added(Net):
    def forward(self, x):
        return super().forward(x) + x.mean((1, 2, 3))[:, None]

def net(num_classes, image_size):
    return Net(num_classes)

def soft(num_classes, image_size):
    return Soft(num_classes)

def added(num_classes, image_size):
    return Added(num_classes)

def changed(num_classes, image_size):
    net = Net(num_classes)
    net.body[0] = nn.Conv2d(3, 5, 1)
    return net

def linear(num_classes, image_size):
    width = 3 * (image_size[0] // 8) * (image_size[1] // 8)
    return nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(width, num_classes))

def headless(num_classes, image_size):
    return nn.Sequential(nn.Conv2d(3, num_classes, 3, groups=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

def grey(num_classes, image_size):
    return Net(num_classes)
grey.recipe = {"image_size": (20, 24), "mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "resize": "stretch"}

def wrong_key(num_classes, image_size):
    return Net(num_classes)
wrong_key.recipe = {"size": 20}

def wrong_value(num_classes, image_size):
    return Net(num_classes)
wrong_value.recipe = {"crop_fraction": 1.5}
"""


@pytest.fixture(autouse=True)
def _nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DALCLI_OFFLINE", "1")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in the workspace with models of the user's; new for every test."""
    name = f"frozen_models_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(OWN_MODELS)
    return name


def plain(name: str, seed: int = 0) -> nn.Module:
    """torchvision's model with random weights and with statistics of normalisation that matter."""
    torch.manual_seed(seed)
    model: nn.Module = models.get_model(name, weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.8, 1.2)  # type: ignore[arg-type]
    return model.eval()


def saved(model: nn.Module, path: Path) -> str:
    torch.save(model.state_dict(), path)
    return path.name


def small(folder: Path, seed: int = 0, size: tuple[int, int] = SIZE) -> FrozenNetwork:
    return networks.load(SMALL, saved(plain(SMALL, seed), folder / "w.pth"), folder, folder / "downloads", size)


def images(count: int, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(7))


def entering(model: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """What a hook sees before ``layer``, in float64."""
    seen: list[Tensor] = []
    model = model.double()
    model.get_submodule(layer).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        model(inputs.double())
    (features,) = seen
    return features.mean((2, 3)) if features.ndim == 4 else features


@pytest.mark.parametrize(
    ("name", "head", "dimension"),
    [(SMALL, "classifier.3", 1024), ("resnet18", "fc", 512), ("squeezenet1_1", "classifier.1", 512)],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_features_are_what_enters_the_last_layer(
    tmp_path: Path, name: str, head: str, dimension: int, suffix: str
) -> None:
    model = plain(name)
    if suffix == ".pth":
        saved(model, tmp_path / "w.pth")
    else:
        save_file(model.state_dict(), tmp_path / "w.safetensors")
    frozen = networks.load(name, f"w{suffix}", tmp_path, tmp_path / "downloads", SIZE)
    features = frozen.features(images(5))
    assert frozen.record.dimension == dimension
    assert features.shape == (5, dimension)
    assert features.dtype == torch.float32
    expected = entering(model, head, images(5))
    torch.testing.assert_close(features.double(), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert float(expected.std()) > 1e-3, "all features alike would prove nothing"
    alone = torch.cat([frozen(image[None]) for image in images(5)])
    torch.testing.assert_close(alone, features, rtol=1e-4, atol=1e-5)


def test_it_stays_frozen(tmp_path: Path, own: str) -> None:
    torch.manual_seed(0)
    source = user_models.find_function(f"{own}:net", tmp_path)(num_classes=4, image_size=SIZE)
    assert isinstance(source, nn.Module)
    frozen = networks.load(f"{own}:net", saved(source, tmp_path / "w.pth"), tmp_path, tmp_path, (16, 16))
    before = frozen.features(images(4, (16, 16)))
    frozen.train()
    assert torch.equal(frozen.features(images(4, (16, 16))), before), "dropout or batch statistics are at work"
    assert not before.requires_grad
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert frozen.device == torch.device("cpu")


def test_what_is_kept_gives_the_same_features_without_the_weights(tmp_path: Path) -> None:
    first = small(tmp_path)
    path = networks.store(tmp_path / "networks", first)
    assert path.name == f"{first.record.fingerprint}.safetensors"
    (tmp_path / "w.pth").unlink()
    again = networks.read(tmp_path / "networks", network.from_json(network.to_json(first.record)))
    assert again.record == first.record
    assert torch.equal(again.features(images(3)), first.features(images(3)))
    content = path.read_bytes()
    networks.store(tmp_path / "networks", again)
    assert path.read_bytes() == content


def test_a_network_of_the_users_is_kept_too(tmp_path: Path, own: str) -> None:
    function = user_models.find_function(f"{own}:grey", tmp_path)
    weights = saved(function(num_classes=3, image_size=SIZE), tmp_path / "w.pth")  # type: ignore[arg-type]
    first = networks.load(f"{own}:grey", weights, tmp_path, tmp_path)
    expected = Recipe((20, 24), "stretch", 0.875, "bilinear", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert first.record.recipe == expected
    networks.store(tmp_path / "networks", first)
    again = networks.read(tmp_path / "networks", first.record, tmp_path)
    assert torch.equal(again(images(3, (20, 24))), first(images(3, (20, 24))))
    other = dataclasses.replace(first.record, name=f"{own}:changed")
    with pytest.raises(DalcliError, match=r"not the network any more.*body\.0\.weight"):
        networks.read(tmp_path / "networks", other, tmp_path)


def test_a_body_without_a_single_tensor_is_a_network_too(tmp_path: Path, own: str) -> None:
    inputs = images(3)
    width = 3 * (SIZE[0] // 8) * (SIZE[1] // 8)
    save_file({"2.weight": torch.randn(2, width), "2.bias": torch.zeros(2)}, tmp_path / "w.safetensors")
    made = networks.load(f"{own}:linear", "w.safetensors", tmp_path, tmp_path, SIZE)
    assert made.device.type == "cpu"
    networks.store(tmp_path / "kept", made)
    again = networks.read(tmp_path / "kept", made.record, tmp_path)
    expected = nn.functional.avg_pool2d(inputs, 8).flatten(1)
    assert torch.equal(made.features(inputs), expected)
    assert torch.equal(again.features(inputs), expected)


def test_a_kept_network_that_is_damaged_or_gone_says_what_to_do(tmp_path: Path) -> None:
    frozen = small(tmp_path)
    path = networks.store(tmp_path / "networks", frozen)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="damaged") as caught:
        networks.read(tmp_path / "networks", frozen.record)
    assert "from the weights" in (caught.value.remedy or "")
    path.unlink()
    with pytest.raises(DamagedFileError, match="does not exist"):
        networks.read(tmp_path / "networks", frozen.record)
    other = networks.store(tmp_path / "networks", small(tmp_path, seed=1))
    other.rename(path)
    with pytest.raises(DamagedFileError, match="another network"):
        networks.read(tmp_path / "networks", frozen.record)


def test_the_fingerprint_is_that_of_everything_features_depend_on(tmp_path: Path, own: str) -> None:
    def made(state: dict[str, Tensor], size: tuple[int, int] = SIZE, model: str = "net") -> str:
        torch.save(state, tmp_path / "w.pth")
        return networks.load(f"{own}:{model}", "w.pth", tmp_path, tmp_path, size).record.fingerprint

    torch.manual_seed(0)
    function = user_models.find_function(f"{own}:net", tmp_path)
    state = function(num_classes=3, image_size=SIZE).state_dict()  # type: ignore[attr-defined]
    first = made(state)
    counted = {**state, "body.1.num_batches_tracked": torch.tensor(9)}
    headless = {name: tensor for name, tensor in state.items() if not name.startswith("out")}
    for same in (
        dict(reversed(state.items())),
        counted,
        headless,
        {"model": {f"module.{n}": t for n, t in state.items()}},
    ):
        assert made(same) == first
    changed = {**state, "body.0.bias": state["body.0.bias"] + 1e-6}
    moved = {**state, "body.1.running_mean": state["body.1.running_mean"] + 1e-6}
    others = {made(changed), made(moved), made(state, (64, 65)), made(state, model="grey")}
    assert len({first, *others}) == 5
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in others)


def renamed(state: dict[str, Tensor]) -> OrderedDict[str, Tensor]:
    return OrderedDict(
        (f"_block{index}.{name.rsplit('.', 1)[-1]}", tensor)
        for index, (name, tensor) in enumerate(state.items())
        if not name.endswith("num_batches_tracked")
    )


def test_the_same_network_by_another_program_is_recognised_by_order(tmp_path: Path) -> None:
    expected = small(tmp_path)
    torch.save(renamed(plain(SMALL).state_dict()), tmp_path / "theirs.pth")
    frozen = networks.load(SMALL, "theirs.pth", tmp_path, tmp_path, SIZE)
    assert torch.equal(frozen(images(2)), expected(images(2)))
    assert any("other names" in note for note in frozen.notes)
    assert frozen.record.fingerprint == expected.record.fingerprint
    assert not any("other names" in note for note in expected.notes)


def test_names_of_safetensors_are_all_there_is(tmp_path: Path) -> None:
    """Such files sort their tensors: equal layers under other names could be taken for each other."""
    save_file(renamed(plain(SMALL).state_dict()), tmp_path / "theirs.safetensors")
    with pytest.raises(BadInputError, match=r"theirs\.safetensors does not fit"):
        networks.load(SMALL, "theirs.safetensors", tmp_path, tmp_path, SIZE)


@pytest.mark.parametrize("file", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("prefix", ["backbone.", "model.encoder."])
def test_part_of_something_larger_is_found(tmp_path: Path, file: str, prefix: str) -> None:
    expected = small(tmp_path)
    state = OrderedDict((f"{prefix}{name}", tensor) for name, tensor in plain(SMALL).state_dict().items())
    if file.endswith("pth"):
        torch.save(state, tmp_path / file)
    else:
        save_file(state, tmp_path / file)
    frozen = networks.load(SMALL, file, tmp_path, tmp_path, SIZE)
    assert torch.equal(frozen(images(2)), expected(images(2)))
    assert any(f"below '{prefix}'" in note for note in frozen.notes)


def drop(state: OrderedDict[str, Tensor]) -> None:
    state.popitem()


def reshape(state: OrderedDict[str, Tensor]) -> None:
    name = next(iter(state))
    state[name] = state[name][:, :, :2]


def rename_last_part(state: OrderedDict[str, Tensor]) -> None:
    """A scale and a shift that change places have the same shapes."""
    names = list(state)
    assert [name.rsplit(".", 1)[-1] for name in names[1:3]] == ["weight", "bias"]
    items = list(state.items())
    items[1], items[2] = items[2], items[1]
    state.clear()
    state.update(items)


@pytest.mark.parametrize("change", [drop, reshape, rename_last_part])
def test_what_agrees_only_nearly_is_refused(tmp_path: Path, change: Callable[[OrderedDict[str, Tensor]], None]) -> None:
    state = renamed(plain(SMALL).state_dict())
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=r"model\.weights: w.pth does not fit mobilenet_v3_small: missing"):
        networks.load(SMALL, "w.pth", tmp_path, tmp_path, SIZE)


def test_another_networks_weights_are_refused_by_name(tmp_path: Path) -> None:
    weights = saved(plain("squeezenet1_1"), tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=r"does not fit resnet18: .*conv1\.weight") as caught:
        networks.load("resnet18", weights, tmp_path, tmp_path, SIZE)
    assert "missing: conv1.weight" in caught.value.problems
    assert "unexpected: features.0.weight" in caught.value.problems


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("soft", "logits of .*:soft are not what its last linear layer gives"),
        ("added", "logits of .*:added are not what its last linear layer gives"),
        ("headless", "has no linear layer that makes its logits"),
        ("wrong_key", "recipe of .*:wrong_key cannot be understood: unknown: size"),
        ("wrong_value", "recipe of .*:wrong_value cannot be understood: crop_fraction"),
    ],
)
def test_networks_without_a_last_layer_to_train_are_refused(tmp_path: Path, own: str, model: str, message: str) -> None:
    function = user_models.find_function(f"{own}:{model}", tmp_path)
    weights = saved(function(num_classes=3, image_size=SIZE), tmp_path / "w.pth")  # type: ignore[arg-type]
    with pytest.raises(BadInputError, match=rf"model\.name: .*{message}"):
        networks.load(f"{own}:{model}", weights, tmp_path, tmp_path, SIZE)


def test_weights_without_numbers_are_refused(tmp_path: Path) -> None:
    model = plain(SMALL)
    with torch.no_grad():
        model.get_submodule("classifier.0").weight[3] = torch.nan  # type: ignore[operator, union-attr]
    weights = saved(model, tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=r"model\.weights: .*NaN or infinite\) in classifier\.0\.weight"):
        networks.load(SMALL, weights, tmp_path, tmp_path, SIZE)


def test_an_image_size_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    weights = saved(plain("squeezenet1_1"), tmp_path / "w.pth")
    with pytest.raises(BadInputError, match=r"data\.image_size: squeezenet1_1 cannot take images of 8×8"):
        networks.load("squeezenet1_1", weights, tmp_path, tmp_path, (8, 8))


def test_the_whole_network_gets_a_fresh_last_layer(tmp_path: Path) -> None:
    frozen = small(tmp_path)
    networks.store(tmp_path / "networks", frozen)
    tensors = networks.stored(tmp_path / "networks", frozen.record)
    model = networks.whole(frozen.record, tensors, 3, seed=5).eval()
    torch.testing.assert_close(
        entering(model, "classifier.3", images(2)).float(), frozen(images(2)), rtol=1e-4, atol=1e-5
    )
    model = networks.whole(frozen.record, tensors, 3, seed=5)
    assert all(parameter.requires_grad for parameter in model.parameters())
    head, other = (networks.whole(frozen.record, tensors, 3, seed=s).get_submodule("classifier.3") for s in (5, 6))
    assert head.weight.shape == (3, 1024)  # type: ignore[union-attr]
    assert torch.equal(head.weight, model.get_submodule("classifier.3").weight)  # type: ignore[arg-type]
    assert not torch.equal(head.weight, other.weight)  # type: ignore[arg-type]
    with torch.no_grad():
        model.get_submodule("features.0.0").weight.zero_()  # type: ignore[operator, union-attr]
    assert float(frozen.tensors()["features.0.0.weight"].abs().max()) > 0, "training would change the frozen network"


@pytest.mark.parametrize(
    ("name", "weights", "recipe"),
    [
        ("resnet50", "IMAGENET1K_V1", Recipe((224, 224), "crop", 224 / 256)),
        ("resnet50", "DEFAULT", Recipe((224, 224), "crop", 224 / 232)),
        ("efficientnet_b0", "DEFAULT", Recipe((224, 224), "crop", 224 / 256, "bicubic")),
        ("efficientnet_v2_l", "DEFAULT", Recipe((480, 480), "crop", 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3)),
        ("vgg11", "DEFAULT", Recipe((224, 224), "crop", 224 / 256)),
    ],
)
def test_published_weights_say_what_images_they_want(name: str, weights: str, recipe: Recipe) -> None:
    assert published.recipe(published.named(ModelSpec(name, 2, (224, 224), "large"), weights)) == recipe


def test_every_published_recipe_is_understood() -> None:
    for name in torchvision_models.names():
        for member in models.get_model_weights(name):
            recipe = published.recipe(member)
            assert 0.8 < recipe.crop_fraction <= 1, member
            assert len(downloading.digits_in(published.file_name(member))) >= 8, member
    assert (Recipe((1, 1)).mean, Recipe((1, 1)).std) == (IMAGENET.mean, IMAGENET.std)


def test_a_published_file_brought_by_hand_keeps_its_recipe(tmp_path: Path) -> None:
    for file, fraction in [("mobilenet_v3_large-5c1a4163.pth", 224 / 232), ("other.pth", 224 / 256)]:
        saved(plain("mobilenet_v3_large"), tmp_path / file)
        frozen = networks.load("mobilenet_v3_large", file, tmp_path, tmp_path)
        assert frozen.record.recipe.crop_fraction == fraction
        assert file in frozen.notes[0]


def test_weights_are_looked_for_before_they_are_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = plain(SMALL).state_dict()
    (name,) = {published.file_name(member) for member in models.get_model_weights(SMALL)}
    cached = tmp_path / "torch" / "hub" / "checkpoints" / name
    downloaded = tmp_path / "downloads" / name

    def load() -> Tensor:
        return networks.load(SMALL, None, tmp_path, tmp_path / "downloads", SIZE)(images(2))

    def fetch(url: str, target: Path, remedy: str, feedback: Feedback, sha256: str) -> None:
        assert (url, target, sha256) == (f"https://download.pytorch.org/models/{name}", downloaded, "047dcff4")
        target.parent.mkdir(exist_ok=True)
        torch.save(state, target)

    with pytest.raises(DownloadError, match="DALCLI_OFFLINE") as caught:
        load()
    assert f"download.pytorch.org/models/{name}" in (caught.value.remedy or "")
    assert "--weights FILE" in (caught.value.remedy or "")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"what another program was killed over")
    monkeypatch.setattr(downloading, "fetch", fetch)
    first = load()
    monkeypatch.setattr(downloading, "matches", lambda path, digits: digits == "047dcff4" and path == cached)
    monkeypatch.setattr(downloading, "fetch", None)
    downloaded.rename(cached)
    assert torch.equal(load(), first)
    monkeypatch.setattr(downloading, "matches", lambda path, digits: digits == "047dcff4" and path == downloaded)
    cached.rename(downloaded)
    assert torch.equal(load(), first)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("resnett18", None, "model.name: unknown model 'resnett18': did you mean 'resnet18'"),
        ("resnet50", "IMAGENET1K_V3", "model.weights: resnet50 has no weights"),
        ("cnn", None, "model.weights: torchvision has no weights for cnn"),
        ("resnet50", "none.pth", "model.weights: .*none.pth does not exist"),
        ("resnet50", "bad.pth", "model.weights: .*bad.pth cannot be read"),
        ("resnet50", "bad.safetensors", "model.weights: .*bad.safetensors cannot be read"),
        ("OWN:net", None, "model.weights: .*:net needs a file of weights"),
        ("OWN:nett", "good.pth", "model.name: .*no function 'nett'"),
        ("OWN:wrong_key", "good.pth", "model.name: the recipe"),
    ],
)
def test_what_does_not_exist_is_refused_before_anything_is_read(
    tmp_path: Path, own: str, name: str, weights: str | None, message: str
) -> None:
    (tmp_path / "bad.pth").write_bytes(b"no weights")
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    torch.save({}, tmp_path / "good.pth")
    with pytest.raises(BadInputError, match=message):
        networks.check(name.replace("OWN", own), weights, tmp_path)


def test_what_exists_is_not_read_by_the_check(tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any, **__: Any) -> None:
        raise AssertionError("tensors were read")

    torch.save({}, tmp_path / "good.pth")
    monkeypatch.setattr(weights_reader, "read", read)
    monkeypatch.setattr(torch, "load", read)
    for name, weights in [("resnet50", None), ("vit_h_14", "IMAGENET1K_SWAG_LINEAR_V1"), (f"{own}:net", "good.pth")]:
        networks.check(name, weights, tmp_path)
