"""docs/strategies.md names every strategy, in its table and with a paragraph, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from dalcli.config.loading import parse
from dalcli.config.querying import ComposeConfig, QueryConfig
from dalcli.strategies.composed import composed
from dalcli.strategies.registry import STRATEGIES, create

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")


def test_every_strategy_has_a_row_and_a_paragraph() -> None:
    table = PAGE.split("\n\n")[3]
    assert set(re.findall(r"\[`([a-z-]+)`\]\(#", table)) == set(STRATEGIES)
    headings = [name for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE) for name in line.split(", ")]
    assert set(STRATEGIES) <= set(headings)
    anchors = {line.replace(",", "").replace(" ", "-").lower() for line in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", table)) <= anchors


def test_the_example_is_a_configuration() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert composed(parse(example).query).columns == ("probabilities", "features")


def test_the_compositions_listed_are_the_named_strategies() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (`[a-z_]+: .*`) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 10
    for name, settings in rows:
        parts = yaml.safe_load("{" + settings.replace("`", "") + "}")
        own = composed(QueryConfig(compose=ComposeConfig.model_validate(parts)))
        named = create(name, QueryConfig())
        assert own.columns == named.columns
        if name != "cluster-margin":  # whose scores nobody asks for otherwise
            assert own == named
