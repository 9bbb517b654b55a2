"""docs/simulate.md: every key is described as the program describes it, and its example works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from dalcli.config.loading import parse_as
from dalcli.simulation.schema import ImbalanceConfig, SimulationConfig, SourceConfig, StrategyConfig
from dalcli.simulation.sources.registry import SOURCES

PAGE = (Path(__file__).parent.parent.parent / "docs" / "simulate.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", [SimulationConfig, SourceConfig, ImbalanceConfig, StrategyConfig])
def test_every_key_is_in_the_page(model: type[BaseModel]) -> None:
    inherited = model.__bases__[0].model_fields if model is StrategyConfig else {}
    for name, field in model.model_fields.items():
        if name not in inherited:
            line = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
            assert field.description
            assert field.description in PAGE, line


def test_every_kind_of_source_is_in_the_page() -> None:
    for kind in SOURCES:
        assert f"| `{kind}` |" in PAGE


def test_the_smallest_configuration_is_one() -> None:
    text = re.findall(r"```yaml\n(source:.*?)```", PAGE, re.DOTALL)[0]
    config, _ = parse_as(SimulationConfig, text, "example")
    assert config.rounds == 8
