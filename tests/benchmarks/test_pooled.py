"""The table over several simulations, against figures that can be computed by hand."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

HEADER = "variant,initial_choice,batch_size,strategy,seed,round,labels,accuracy\n"


def written(path: Path, accuracies: dict[tuple[str, int], tuple[float, float, float]]) -> Path:
    """Curves at 10, 20 and 40 labels by strategy and seed."""
    rows = [
        f"warm,random,10,{strategy},{seed},{number},{labels},{accuracy}\n"
        for (strategy, seed), curve in accuracies.items()
        for number, (labels, accuracy) in enumerate(zip((10, 20, 40), curve, strict=True))
    ]
    path.write_text(HEADER + "".join(rows))
    return path


def test_areas_differences_and_regret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = {("random", 0): (0.1, 0.3, 0.5), ("random", 1): (0.1, 0.3, 0.5), ("margin", 0): (0.1, 0.5, 0.7)}
    first = written(tmp_path / "first.csv", {**one, ("margin", 1): (0.1, 0.3, 0.5), ("margin", 2): (0, 0, 0)})
    second = written(tmp_path / "second.csv", {**one, ("margin", 1): (0.1, 0.1, 0.1)})
    importlib.import_module("pooled").main([str(first), str(second), "--reference", "margin"])
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    # random: (0.1 + 0.3) / 2 for 10 labels, (0.3 + 0.5) / 2 for 20: 33.3. margin: 50, 33.3; and 50, 10.
    assert lines["random"][1:5] == ["33.3", "33.3", "33.33", "8.33"]
    assert lines["margin"][1:5] == ["41.7", "30.0", "35.83", "3.33"]
    assert lines["margin"][5:] == ["+2.50", "+0.00"]  # two seeds have no interval
    assert lines["random"][5:] == ["+0.00", "-2.50"]


def test_three_seeds_have_an_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gains = (0.1, 0.2, 0.3)
    random = {("random", seed): (0.1, 0.1, 0.1) for seed in range(3)}
    margin = {("margin", seed): (0.1 + gain,) * 3 for seed, gain in enumerate(gains)}
    importlib.import_module("pooled").main(
        [str(written(tmp_path / "one.csv", {**random, **margin})), "--reference", "margin"]
    )
    (line,) = (line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("margin"))
    assert line[4:7] == ["+20.00", "[+10.00,", "+30.00]"]


def test_names_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "one.csv", {("random", 0): (0.1, 0.2, 0.3)})
    with pytest.raises(SystemExit, match="no strategy 'diverse-margin'; there are: random"):
        importlib.import_module("pooled").main([str(path)])
