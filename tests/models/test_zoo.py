"""Models by name: shapes, sizes, refusals, and initialisation that depends on the seed alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from dalcli.errors import BadInputError
from dalcli.models import dry_run, torchvision_models, zoo
from dalcli.models.spec import ModelSpec, resolve_stem

TORCHVISION = torchvision_models.names()


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def conv(inputs: int, outputs: int, kernel: int = 3, bias: bool = True) -> int:
    return inputs * outputs * kernel**2 + (outputs if bias else 0)


VGG11_WIDTHS = [3, 64, 128, 256, 256, 512, 512, 512, 512]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cnn", 94_538),  # stated by the paper's code
        ("resnet18", 11_173_962),  # the usual CIFAR ResNet18
        # eight convolutions with bias, two BatchNorm parameters per channel, one linear layer
        (
            "vgg11",
            sum(conv(a, b) + 2 * b for a, b in pairwise(VGG11_WIDTHS)) + 512 * 10 + 10,
        ),
    ],
)
def test_paper_models_have_the_papers_parameters(name: str, expected: int) -> None:
    assert parameters(zoo.build(ModelSpec(name, 10, (32, 32)), seed=0)) == expected


@pytest.mark.parametrize(
    ("name", "size", "stem"),
    [
        ("cnn", (1, 1), "small"),
        ("cnn", (8, 8), "small"),
        ("cnn", (17, 5), "small"),
        ("resnet18", (1, 1), "small"),
        ("resnet18", (8, 8), "small"),
        ("resnet18", (33, 20), "small"),
        ("resnet18", (96, 128), "large"),
        ("resnet18", (1, 1), "large"),
        ("vgg11", (32, 32), "small"),
        ("vgg11", (40, 75), "small"),
    ],
)
def test_paper_models_give_logits_at_many_sizes(name: str, size: tuple[int, int], stem: str) -> None:
    model = zoo.build(ModelSpec(name, 3, size, stem=stem, dropout=0.5), seed=0)  # type: ignore[arg-type]
    for training in (False, True):
        logits = model.train(training)(torch.randn(2, 3, *size))
        assert logits.shape == (2, 3)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", ["cnn", "resnet18", "vgg11"])
def test_dropout_acts_between_features_and_head_in_training_only(name: str) -> None:
    size = (32, 32)
    with_dropout = zoo.build(ModelSpec(name, 5, size, dropout=0.9), seed=1)
    without = zoo.build(ModelSpec(name, 5, size), seed=1)
    images = torch.randn(4, 3, *size)
    assert torch.equal(with_dropout.eval()(images), without.eval()(images))
    assert not torch.equal(with_dropout.train()(images), without.train()(images))


@pytest.mark.parametrize(("size", "stem"), [((95, 400), "small"), ((96, 96), "large"), ((32, 32), "small")])
def test_auto_stem_is_large_from_96_pixels_on_the_shorter_side(size: tuple[int, int], stem: str) -> None:
    assert resolve_stem(size) == stem
    assert resolve_stem(size, "small") == "small"
    assert resolve_stem(size, "large") == "large"


def test_large_stem_is_imagenets() -> None:
    small, large = (zoo.build(ModelSpec("resnet18", 2, (96, 96), stem=stem), 0) for stem in ("small", "large"))
    with torch.no_grad():
        assert small.layer1(small.maxpool(small.conv1(torch.zeros(1, 3, 96, 96)))).shape[-1] == 96  # type: ignore[operator]
        assert large.layer1(large.maxpool(large.conv1(torch.zeros(1, 3, 96, 96)))).shape[-1] == 24  # type: ignore[operator]


@pytest.mark.parametrize("name", ["cnn", "resnet18", "vgg11", "mobilenet_v3_small", "regnet_y_400mf"])
def test_initialisation_depends_on_the_seed_and_leaves_the_global_generator_alone(name: str) -> None:
    spec = ModelSpec(name, 4, (32, 32))
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = zoo.build(spec, seed=1).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    again, other = zoo.build(spec, seed=1).state_dict(), zoo.build(spec, seed=2).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_torchvision_classification_model_passes_the_check_and_gives_plain_logits(name: str) -> None:
    side = 299 if name == "inception_v3" else 224
    spec = ModelSpec(name, 7, (side, side))
    zoo.check(spec)
    with dry_run.without_weights():
        model = torchvision_models.build(spec)
    assert {parameter.device.type for parameter in model.parameters()} <= {"meta", "cpu"}
    model = model.to("meta").train()
    assert model(torch.empty(2, 3, side, side, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "squeezenet1_1", "vit_b_32", "regnet_x_400mf"])
def test_torchvision_models_really_run_in_both_modes(name: str) -> None:
    side = 96
    model = zoo.build(ModelSpec(name, 3, (side, side)), seed=0)
    for training in (False, True):
        logits = model.train(training)(torch.randn(2, 3, side, side))
        assert isinstance(logits, torch.Tensor)
        assert logits.shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("resnet81", "resnet18"), ("CNN", "cnn"), ("vgg12", "vgg1"), ("efficientnet", "efficientnet")],
)
def test_unknown_names_are_refused_with_a_suggestion(name: str, suggestion: str) -> None:
    with pytest.raises(BadInputError, match=rf"model\.name: unknown model '{name}': did you mean '{suggestion}"):
        zoo.build(ModelSpec(name, 2, (32, 32)), seed=0)


def test_detection_models_are_not_offered() -> None:
    with pytest.raises(BadInputError, match="unknown model"):
        zoo.check_name("fasterrcnn_resnet50_fpn")


def test_vgg11_names_its_minimum() -> None:
    with pytest.raises(BadInputError, match=r"data\.image_size: vgg11 needs at least 32×32 pixels, not 31×64"):
        zoo.build(ModelSpec("vgg11", 2, (31, 64)), seed=0)


@pytest.mark.parametrize(
    ("name", "size", "fitting"),
    [
        ("alexnet", (32, 32), 64),
        ("inception_v3", (32, 32), 96),
        ("convnext_tiny", (8, 8), 32),
        ("maxvit_t", (32, 32), 224),
        ("vit_b_16", (33, 33), 64),
        ("vit_b_16", (32, 64), 64),
        ("densenet121", (16, 16), 32),
    ],
)
def test_models_that_cannot_take_the_size_say_so_and_name_one_they_take(
    name: str, size: tuple[int, int], fitting: int
) -> None:
    with pytest.raises(BadInputError, match=rf"data\.image_size: {name} cannot take") as caught:
        zoo.build(ModelSpec(name, 2, size), seed=0)
    assert f"data.image_size: {fitting}," in (caught.value.remedy or "")
    zoo.check(ModelSpec(name, 2, (fitting, fitting)))


def test_dropout_is_refused_where_it_would_be_ignored() -> None:
    with pytest.raises(BadInputError, match=r"model\.dropout"):
        zoo.check(ModelSpec("resnet50", 2, (64, 64), dropout=0.1))
