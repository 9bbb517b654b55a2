"""Models of the user's own, and every way they can be wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from dalcli.errors import BadInputError
from dalcli.models import zoo
from dalcli.models.spec import ModelSpec

GOOD = """
from torch import nn

def small_net(num_classes, image_size):
    height, width = image_size
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * height * width, num_classes))

def wrong_shape(num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * image_size[0] * image_size[1], num_classes + 1))

def not_a_model(num_classes, image_size):
    return "hello"

def raises(num_classes, image_size):
    raise KeyError("width")

def fails_later(num_classes, image_size):
    return nn.Linear(7, num_classes)

class Pair(nn.Module):
    def forward(self, x):
        return x.flatten(1), x

def gives_tuple(num_classes, image_size):
    return Pair()
"""


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    before = set(sys.modules)

    def writer(name: str, text: str) -> Path:
        (tmp_path / f"{name}.py").write_text(text)
        return tmp_path

    yield writer
    for name in set(sys.modules) - before:
        del sys.modules[name]


def spec(name: str) -> ModelSpec:
    return ModelSpec(name, 3, (4, 5))


def test_a_function_beside_the_workspace_is_found_and_seeded(write: Callable[[str, str], Path]) -> None:
    folder, path = write("nets_one", GOOD), list(sys.path)
    first, again, other = (zoo.build(spec("nets_one:small_net"), seed, folder) for seed in (1, 1, 2))
    assert first(torch.zeros(2, 3, 4, 5)).shape == (2, 3)
    assert torch.equal(first[1].weight, again[1].weight)  # type: ignore[index]
    assert not torch.equal(first[1].weight, other[1].weight)  # type: ignore[index]
    assert sys.path == path


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("smal_net", "has no function 'smal_net'"),
        ("wrong_shape", r"gives \(2, 4\) for two images where logits \(2, 3\) are needed"),
        ("not_a_model", r"returned str, not a torch\.nn\.Module"),
        ("raises", r"failed: KeyError: 'width' \(nets_two\.py, line 15\)"),
        ("fails_later", "failed: RuntimeError"),
        ("gives_tuple", "gives tuple"),
    ],
)
def test_mistakes_in_the_users_code_are_one_line_errors(
    write: Callable[[str, str], Path], function: str, message: str
) -> None:
    folder = write("nets_two", GOOD)
    for refuse in (
        lambda: zoo.build(spec(f"nets_two:{function}"), 0, folder),
        lambda: zoo.check(spec(f"nets_two:{function}"), folder),
    ):
        with pytest.raises(BadInputError, match=rf"model\.name: .*{message}"):
            refuse()


def test_a_close_function_is_suggested(write: Callable[[str, str], Path]) -> None:
    folder = write("nets_three", GOOD)
    with pytest.raises(BadInputError) as caught:
        zoo.check_name("nets_three:smal_net", folder)
    assert "nets_three:small_net" in str(caught.value)


def test_a_missing_module_and_a_missing_import_inside_a_module_differ(write: Callable[[str, str], Path]) -> None:
    folder = write("nets_four", "import surely_not_installed")
    with pytest.raises(BadInputError, match="no module named 'nets_none'"):
        zoo.check_name("nets_none:f", folder)
    with pytest.raises(BadInputError, match=r"surely_not_installed.*nets_four\.py, line 1"):
        zoo.check_name("nets_four:f", folder)


@pytest.mark.parametrize("name", ["a:b:c", ":f", "m:", "../m:f", "m:f()"])
def test_malformed_names_are_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="not of the form module:function"):
        zoo.check_name(name)
