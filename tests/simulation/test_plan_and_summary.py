"""The plan, what names a cell, and the summary made of its rows."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dalcli.cli import render_simulation
from dalcli.simulation import records
from dalcli.simulation.cells import Cell, bases, plan
from dalcli.simulation.plot import draw_curves, ticks
from dalcli.simulation.records import CellRecord, RoundRecord, Seconds, balance
from dalcli.simulation.run import SimulateEstimate, SimulateResult
from dalcli.simulation.schema import SimulationConfig
from dalcli.simulation.summary import Question, summarise

KEYS: dict[str, Any] = {
    "source": "digits", "strategies": ["random", "margin"], "initial_labels": 10, "batch_sizes": 5, "rounds": 2,
    "seeds": 3,
}  # fmt: skip


def cells(**keys: Any) -> list[Cell]:
    return plan(SimulationConfig.model_validate(KEYS | keys), "data")


def names(**keys: Any) -> set[str]:
    return {cell.name for cell in cells(**keys)}


def test_every_combination_is_a_cell_and_strategies_share_a_base() -> None:
    planned = cells(batch_sizes=[5, 10], variants={"warm": {}, "fresh": {"training": {"start": "reinit"}}})
    assert len({cell.name for cell in planned}) == len(planned) == 3 * 2 * 2 * 2
    assert len(bases(planned)) == 3 * 2
    assert [cell.seed for cell in planned] == sorted(cell.seed for cell in planned)


@pytest.mark.parametrize(
    "keys",
    [
        {"strategies": ["entropy", "random", "margin"]}, {"seeds": [0, 7, 1, 2]}, {"rounds": 9},
        {"rounds": None, "budget": 20},
        {"baseline": "margin"}, {"accuracies": [0.5]}, {"title": "x"}, {"batch_sizes": [7, 5], "rounds": 1},
        {"initial_choice": ["random", "margin"]}, {"confidence": 0.5},
        {"strategies": [{"name": "random", "label": "uniform"}, "margin"]},
    ],
)  # fmt: skip
def test_what_does_not_concern_a_cell_leaves_it_what_it_is(keys: dict[str, Any]) -> None:
    assert names() <= names(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"initial_labels": 11}, {"label_noise": 0.1}, {"pool_size": 90}, {"test_fraction": 0.3}, {"seeds": [8]},
        {"imbalance": {"shape": "power"}}, {"workspace": {"training": {"max_epochs": 3}}}, {"batch_sizes": 6},
        {"workspace": {"threads": 2}}, {"workspace": {"query": {"gamma": 1.0}}},
        {"strategies": [{"name": "dynamical", "gamma": 0}]},
    ],
)  # fmt: skip
def test_what_changes_numbers_makes_other_cells(keys: dict[str, Any]) -> None:
    assert not names() & names(**keys)
    assert not names() & {cell.name for cell in plan(SimulationConfig.model_validate(KEYS), "other data")}


def test_cell_settings_are_the_workspaces_with_the_strategys_keys_over_them() -> None:
    [cell] = cells(
        strategies=[{"name": "dynamical", "gamma": math.inf}],
        seeds=[4],
        initial_choice="margin",
        workspace={"query": {"gamma": 1.0, "budget": 9}, "data": {"image_size": 8}},
    )
    assert cell.strategy == "dynamical gamma=inf"
    assert cell.query == {"strategy": "dynamical", "gamma": math.inf}
    assert cell.base.settings == {
        "seed": 4,
        "threads": 1,
        "data": {"image_size": [8, 8]},
        "query": {"gamma": 1.0, "strategy": "margin", "cold_start": "margin"},
    }


def row(number: int, accuracy: float, **keys: Any) -> RoundRecord:
    base = RoundRecord(
        number, 10 + 5 * number, accuracy, accuracy, None, 50, (3, 2), (4, 4), 7, True, Seconds(0.1, 2.0, 0.5, 0.3)
    )
    return replace(base, **keys)


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    record = CellRecord((row(0, 0.5), row(1, 0.1 + 0.2, macro_accuracy=None)))
    records.write(tmp_path / "a.json", record, {"cell": "é"})
    assert records.read(tmp_path / "a.json") == record
    assert records.read(tmp_path / "none.json") is None
    (tmp_path / "a.json").write_text((tmp_path / "a.json").read_text()[:-20])
    assert records.read(tmp_path / "a.json") is None
    (tmp_path / "b.json").write_text(json.dumps({"format": 99, "rounds": []}))
    assert records.read(tmp_path / "b.json") is None


def test_balance_is_normalised_entropy() -> None:
    assert balance((5, 5, 5)) == pytest.approx(1)
    assert balance((5, 0, 0)) == 0
    assert balance((3, 1)) == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))
    assert math.isnan(balance((0, 0)))


CURVES = {
    "random": {0: (0.50, 0.60, 0.70), 1: (0.40, 0.50, 0.60), 2: (0.45, 0.55, 0.68)},
    "margin": {0: (0.50, 0.70, 0.80), 1: (0.40, 0.55, 0.75), 2: (0.45,)},
}


def found(planned: list[Cell]) -> dict[str, CellRecord]:
    return {
        cell.name: CellRecord(tuple(row(n, a) for n, a in enumerate(CURVES[cell.strategy][cell.seed])))
        for cell in planned
        if cell.strategy in CURVES
    }


def test_summary_compares_within_seeds_that_both_have() -> None:
    planned = cells(strategies=["random", "margin", "entropy"])
    [setting] = summarise(planned, found(planned), Question("random", (0.65,), 0.95))
    assert setting.labels == (10, 15, 20)
    random, margin, entropy = setting.strategies
    assert (random.done, margin.done, entropy.done) == (3, 2, 0)
    assert [e.mean for e in random.accuracy if e] == pytest.approx([0.45, 0.55, 1.98 / 3])
    assert [e.seeds for e in margin.accuracy if e] == [3, 2, 2]
    area = {
        s: {seed: np.trapezoid(c, [10, 15, 20]) / 10 for seed, c in v.items() if len(c) == 3} for s, v in CURVES.items()
    }
    assert random.area is not None
    assert random.area.mean == pytest.approx(np.mean(list(area["random"].values())))
    versus = margin.versus_baseline
    assert versus is not None
    assert versus.area is not None
    assert versus.area.mean == pytest.approx(np.mean([area["margin"][s] - area["random"][s] for s in (0, 1)]))
    assert (versus.area.seeds, versus.area.low) == (2, None)
    assert random.versus_best_other is not None
    assert random.versus_best_other.strategy == "margin"
    assert random.versus_baseline is None
    assert (entropy.accuracy, entropy.versus_best_other) == ((None,) * 3, None)
    need = margin.needed[0]
    assert need is not None
    assert need.labels == pytest.approx(15 + 5 * (0.65 - 0.625) / 0.15)
    assert random.seconds is not None
    assert asdict(random.seconds) == pytest.approx({"select": 0.1, "train": 2.0, "score": 0.5, "evaluate": 0.3})
    json.dumps(asdict(setting), allow_nan=False)


def test_summary_of_one_seed_has_no_interval_and_fewer_rounds_are_a_shorter_curve() -> None:
    planned = cells(seeds=[0], rounds=1)
    [setting] = summarise(planned, found(planned), Question("random", (), 0.95))
    assert setting.labels == (10, 15)
    for strategy in setting.strategies:
        assert strategy.area is not None
        assert (strategy.area.sd, strategy.area.low, strategy.area.seeds) == (None, None, 1)
        assert strategy.done == 1


def test_interrupted_rounds_do_not_count_as_time() -> None:
    planned = cells(seeds=[0], strategies=["random"], rounds=1)
    slow = CellRecord((row(0, 0.5), row(1, 0.6, interrupted=True)))
    [setting] = summarise(planned, {planned[0].name: slow}, Question("random", (), 0.95))
    assert setting.strategies[0].seconds is None


def test_plot_is_well_formed_and_has_a_line_per_strategy_that_ran() -> None:
    planned = cells(strategies=["random", {"name": "margin", "label": "margin"}, {"name": "entropy", "label": "<&>"}])
    settings = summarise(planned, found(planned), Question("random", (), 0.95))
    picture = ET.fromstring(draw_curves(settings, "a < b", 0.95))
    space = "{http://www.w3.org/2000/svg}"
    assert len(picture.findall(f".//{space}polyline")) == 2
    assert len(picture.findall(f".//{space}polygon")) == 2  # three seeds have a band
    words = [text.text or "" for text in picture.iter(f"{space}text")]
    assert "a < b" in words
    assert any(word.startswith("margin: ") and "%" in word and word.endswith("2 seeds") for word in words)
    for line in picture.iter(f"{space}polyline"):
        places = [float(p) for point in line.attrib["points"].split() for p in point.split(",")]
        assert all(0 <= place <= 560 for place in places)


def test_one_thing_is_no_plural() -> None:
    planned = cells(seeds=[0], rounds=1, strategies=["random"], batch_sizes=1)
    rounds = (row(0, 0.5, test_images=1), row(1, 0.5, test_images=1))
    settings = summarise(planned, {planned[0].name: CellRecord(rounds)}, Question("random", (0.4,), 0.95))
    result = SimulateResult("one", "results", 1, 1, 1, "random", 0.95, settings, ("results.csv",))
    estimate = SimulateEstimate("results", 1, 1, 1, 1, 1, 1, starts=1, rounds=1, jobs=1, seconds=None)
    texts = (
        render_simulation.simulation(result),
        render_simulation.estimate(estimate),
        draw_curves(settings, "", 0.95),
    )
    for text in texts:
        assert not re.findall(
            r"\b1 (?:test |shared )?(?:labels|images|seeds|rounds|starts|cells|classes|are)\b|\(s\)", text
        )
    said = " ".join(texts)
    for words in ("1 label a round", "1 test image", "1 seed:", "1 round and 1 shared start", "1 is done", "1 class"):
        assert words in said


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.6, 0.62), (40, 280), (3, 3), (0.1, 99999), (0.333, 0.334)])
def test_ticks_are_few_round_numbers_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 1 <= len(found) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    if high > low:
        assert len(found) >= 2
