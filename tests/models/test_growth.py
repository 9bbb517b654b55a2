"""New classes: what was learned stays."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dalcli.errors import DalcliError
from dalcli.models import zoo
from dalcli.models.growth import grow
from dalcli.models.head import find_head, penultimate
from dalcli.models.spec import ModelSpec

CASES = [
    ("cnn", 8),
    ("resnet18", 8),
    ("vgg11", 32),
    ("squeezenet1_1", 32),
    ("mobilenet_v3_small", 32),
    ("mnasnet0_5", 32),
]


@pytest.mark.parametrize(("name", "side"), CASES)
def test_old_logits_stay_and_new_ones_are_zero_but_learn(name: str, side: int) -> None:
    spec = ModelSpec(name, 3, (side, side))
    parent = zoo.build(spec, seed=1)
    parent.train()(torch.randn(8, 3, side, side))  # BatchNorm statistics that are not the initial ones
    child = zoo.build(spec.with_classes(5), seed=2)
    head = find_head(child, 5)
    assert grow(child, parent.state_dict(), 3, 5) == (f"{head}.bias", f"{head}.weight")
    images = torch.randn(4, 3, side, side)
    old, new = parent.eval()(images), child.eval()(images)
    # The weights are the same bit for bit; a matrix product may round a wider result differently.
    state = child.state_dict()
    for key, tensor in parent.state_dict().items():
        assert torch.equal(state[key][: len(tensor)] if tensor.ndim else state[key], tensor)
    with penultimate(parent, 3) as before, penultimate(child, 5) as after, torch.no_grad():
        assert torch.equal(before.take(parent(images)), after.take(child(images)))
    torch.testing.assert_close(new[:, :3], old, rtol=1e-5, atol=1e-6 * float(old.detach().abs().max()))
    assert torch.equal(new[:, 3:], torch.zeros(4, 2))
    nn.functional.cross_entropy(new, torch.full((4,), 4)).backward()
    gradient = child.get_submodule(head or "").weight.grad
    assert gradient is not None
    assert gradient[4].abs().sum() > 0  # type: ignore[index, union-attr]


def test_the_same_number_of_classes_is_a_plain_copy() -> None:
    parent, child = (zoo.build(ModelSpec("cnn", 3, (8, 8)), seed) for seed in (1, 2))
    assert grow(child, parent.state_dict(), 3, 3) == ()
    assert all(
        torch.equal(a, b) for a, b in zip(parent.state_dict().values(), child.state_dict().values(), strict=True)
    )


def test_a_misfit_is_named_and_changes_nothing() -> None:
    child = zoo.build(ModelSpec("cnn", 5, (8, 8)), 2)
    before = {name: tensor.clone() for name, tensor in child.state_dict().items()}
    parent = zoo.build(ModelSpec("cnn", 3, (8, 8)), 1).state_dict()
    for spoil, name in [
        (lambda state: state.pop("conv1.bias"), "conv1.bias"),
        (lambda state: state.update({"extra": torch.zeros(1)}), "extra"),
        (lambda state: state.update({"conv2.weight": torch.zeros(3, 32, 3, 3)}), "conv2.weight"),
        (lambda state: state.update({"head.weight": torch.zeros(4, 128)}), "head.weight"),
    ]:
        spoiled = dict(parent)
        spoil(spoiled)
        with pytest.raises(DalcliError, match=name):
            grow(child, spoiled, 3, 5)
    assert all(torch.equal(before[name], tensor) for name, tensor in child.state_dict().items())


def test_classes_are_never_dropped() -> None:
    parent = zoo.build(ModelSpec("cnn", 5, (8, 8)), 1).state_dict()
    with pytest.raises(DalcliError, match=r"head\.weight"):
        grow(zoo.build(ModelSpec("cnn", 3, (8, 8)), 1), parent, 5, 3)
