"""How a network is built without dalcli: the lines of Python that do it, by the library that has it."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.data.recipe import Recipe
from dalcli.models import network_sources, networks, torchvision_models
from dalcli.models.spec import ModelSpec, is_timm, is_user_model


@dataclass(frozen=True)
class Architecture:
    """A network in somebody else's library.

    Attributes:
        library: torch, torchvision or timm; ``name``: what it is called there.
        imports: what the lines need; ``lines``: they make ``network``, with fresh weights.
    """

    library: str
    name: str
    imports: tuple[str, ...]
    lines: tuple[str, ...]


def architecture_of(spec: ModelSpec, recipe: Recipe) -> Architecture | None:
    """What builds the whole network of ``spec``; None for a user's own function."""
    record = spec.frozen or spec.origin
    count = spec.num_classes
    name = spec.name if record is None else record.name
    if is_user_model(name):
        return None
    if record is not None and is_timm(name):
        return _timm(record.name, record.weights, recipe, count)
    whole = spec if record is None else networks.spec_of(record).with_classes(count)
    own = {"cnn": _cnn, "resnet18": _resnet18, "vgg11": _vgg11}
    return own[name](whole) if name in own else _torchvision(whole)


def _timm(name: str, weights: str, recipe: Recipe, count: int) -> Architecture:
    found = network_sources.timm_config(name, weights)
    size = f", img_size={tuple(recipe.image_size)}" if found.get("fixed_input_size") else ""
    known = ".".join(filter(None, (found["architecture"], found.get("tag"))))
    return Architecture(
        "timm", known, ("import timm",), (f"network = timm.create_model({known!r}, num_classes={count}{size})",)
    )


def _torchvision(spec: ModelSpec) -> Architecture:
    options = "".join(f", {key}={value!r}" for key, value in torchvision_models.options(spec).items())
    lines = [
        f"network = torchvision.models.get_model({spec.name!r}, weights=None, num_classes={spec.num_classes}{options})"
    ]
    if spec.name.startswith("squeezenet"):
        lines.append("network.classifier[2] = torch.nn.Identity()  # logits, not ReLU of them")
    return Architecture("torchvision", spec.name, ("import torchvision",), tuple(lines))


def _resnet18(spec: ModelSpec) -> Architecture:
    lines = [f"network = torchvision.models.resnet18(num_classes={spec.num_classes})"]
    if spec.stem == "small":
        lines += [
            "network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)  # a stem for small images",
            "network.maxpool = torch.nn.Identity()",
        ]
    return Architecture("torchvision", "resnet18", ("import torchvision",), tuple(lines))


def _vgg11(spec: ModelSpec) -> Architecture:
    lines = (
        "network = torch.nn.Sequential()",
        "network.features = make_layers(cfgs['A'], batch_norm=True)",
        "network.pool, network.flatten = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()",
        f"network.head = torch.nn.Linear(512, {spec.num_classes})",
    )
    imports = ("from torchvision.models.vgg import cfgs, make_layers",)
    return Architecture("torchvision", "vgg11 with batch normalisation and one linear layer", imports, lines)


def _cnn(spec: ModelSpec) -> Architecture:
    lines = (
        "network = torch.nn.Sequential()",
        "for n, (inward, outward) in enumerate([(3, 32), (32, 64), (64, 128)], 1):",
        "    network.add_module(f'conv{n}', torch.nn.Conv2d(inward, outward, 3, padding=1))",
        "    network.add_module(f'relu{n}', torch.nn.ReLU())",
        "network.pool, network.flatten = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()",
        f"network.head = torch.nn.Linear(128, {spec.num_classes})",
    )
    return Architecture("torch", "cnn", (), lines)
