"""The examples of docs/extending.md do what the page says, and the places it names are there."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from repository import ROOT
from torch import nn

from dalcli.data.text import TextInput
from dalcli.formats import registry as formats
from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.oracle import reference_labeled_gradient, reference_scores
from dalcli.gradients.rules import base as rules
from dalcli.models import zoo
from dalcli.models.spec import ModelSpec
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreBlock
from dalcli.strategies import registry as strategies
from dalcli.strategies.base import Request
from dalcli.strategies.diverse import Diverse
from dalcli.strategies.selection import TopValues
from dalcli.strategies.spaces import Features

PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^```python\n# (\S+?\.py)\b[^\n]*\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The block of the page whose first line is the given path, as a module of that name."""
    path: str = request.param
    module = ModuleType(f"example_{Path(path).stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look their module up
    exec(compile(EXAMPLES[path], path, "exec"), vars(module))
    return module


def example_of(path: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("example", [path], indirect=True)


class Table:
    """One block in memory."""

    def __init__(self, block: ScoreBlock) -> None:
        self.block = block
        self.layout = {name: (str(array.dtype), array.shape[1:]) for name, array in block.columns.items()}

    def blocks(self, columns: object) -> Iterator[ScoreBlock]:
        yield self.block


@example_of("dalcli/strategies/ratio.py")
def test_strategy_example_asks_for_the_closest_race(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (50, 16), dtype=np.uint8)
    probabilities = rng.dirichlet(np.ones(4), 50).astype(np.float32)
    probabilities[7] = math.nan
    request = Request(5, SampleSet(digests), seed=1, table=Table(ScoreBlock(digests, {"probabilities": probabilities})))
    selection = TopValues(example.Ratio()).select(request)
    ratios = [-1.0 if math.isnan(p[0]) else sorted(map(float, p))[-2] / max(map(float, p)) for p in probabilities]
    expected = sorted(range(50), key=lambda row: -ratios[row])[:5]
    np.testing.assert_array_equal(selection.digests, digests[expected])
    assert selection.non_finite == 1


@example_of("dalcli/strategies/central.py")
def test_picker_example_asks_for_what_is_central(example: ModuleType) -> None:
    rng = np.random.default_rng(0)
    digests = rng.integers(0, 256, (50, 16), dtype=np.uint8)
    features = rng.standard_normal((50, 3)).astype(np.float32)
    table = Table(ScoreBlock(digests, {"features": features}))
    selection = Diverse(Features(), example.Central()).select(Request(5, SampleSet(digests), seed=1, table=table))
    expected = np.argsort(np.linalg.norm(features - features.mean(axis=0), axis=1))[:5]
    np.testing.assert_array_equal(selection.digests, digests[expected])


@example_of("dalcli/gradients/rules/channel_scale.py")
def test_layer_rule_example_is_exact_and_used(example: ModuleType) -> None:
    try:
        torch.manual_seed(0)
        layers = (nn.Conv2d(3, 4, 3), example.ChannelScale(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))
        model = nn.Sequential(*layers).double().eval()
        inputs, labels = torch.randn(5, 3, 8, 8).double(), torch.tensor([0, 1, 2, 0, 1])
        direction = reference_labeled_gradient(model, [(inputs, labels)])
        engine = GradientEngine(model, head=None, memory_limit_bytes=2**28)
        scores, expected = engine.score(inputs, direction), reference_scores(model, inputs, direction)
        torch.testing.assert_close(scores.sq_norm, expected.sq_norm, rtol=1e-10, atol=0)
        torch.testing.assert_close(scores.inner, expected.inner, rtol=1e-9, atol=1e-9)
        assert engine.coverage()["1.scale"].startswith("rule")
    finally:
        del rules._RULES[example.ChannelScale]


@example_of("dalcli/formats/arrows.py")
def test_format_example_is_detected_and_read(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FORMATS", {"arrows": example.Arrows(), **formats.FORMATS})
    text = b"a/1.png -> cat\nnonsense\n\nb.png -> \n"
    found = formats.read_labels(TextInput("labels.txt", text))
    assert found.format == "arrows"
    assert [(row.line, row.sample_ref, row.label) for row in found.rows] == [(1, "a/1.png", "cat")]
    assert [problem.line for problem in found.problems] == [2, 4]


def test_own_model_example_builds_from_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text(EXAMPLES["my_models.py"], encoding="utf-8")
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    try:
        model = zoo.build(ModelSpec("my_models:small_net", 5, (12, 10)), seed=0, folder=tmp_path)
    finally:
        sys.modules.pop("my_models", None)
    assert model(torch.zeros(2, 3, 12, 10)).shape == (2, 5)
    assert sum(parameter.numel() for parameter in model.parameters()) == (27 + 1) * 16 + 17 * 5


@example_of("dalcli/models/tiny.py")
def test_shipped_model_example_builds_by_name(example: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "OWN", {**zoo.OWN, "tiny": example})
    model = zoo.build(ModelSpec("tiny", 3, (4, 4)), seed=0)
    assert model(torch.zeros(2, 3, 4, 4)).shape == (2, 3)
    assert sum(parameter.numel() for parameter in model.parameters()) == 49 * 3


def test_registry_lines_have_the_form_of_those_there_are() -> None:
    assert '"ratio": lambda query: TopValues(' in EXAMPLES["dalcli/strategies/registry.py"]
    assert isinstance(strategies.STRATEGIES["margin"](strategies.QueryConfig()), TopValues)
    assert '"arrows": Arrows(),' in EXAMPLES["dalcli/formats/registry.py"]
    assert list(formats.FORMATS)[-3:] == ["jsonl", "tsv", "csv"]


def test_every_path_that_the_page_names_is_there() -> None:
    examples = {path for path in EXAMPLES if not path.endswith("registry.py")}
    named = set(re.findall(r"`((?:dalcli|tests|docs)/[\w/.]+)`", PAGE)) - examples
    assert len(named) > 10
    assert [path for path in named if not (ROOT / path).exists()] == []
