"""The proof of forecasts: curves of a known law give known figures; what is learned covers what it claims."""

from __future__ import annotations

import csv
import importlib
import json

import numpy as np
import pytest

from dalcli.forecasting.calibration import packaged
from dalcli.forecasting.hindsight import own_errors


@pytest.fixture
def curves(tmp_path):
    """Eight curves of a data set that nobody has seen, ten sizes each, with the noise of 1,000 examples."""
    generator = np.random.default_rng(3)
    path = tmp_path / "curves.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["source", "data_set", "strategy", "seed", "labels", "accuracy"])
        for seed in range(8):
            for labels in (50, 100, 150, 200, 300, 400, 600, 800, 1200, 1600):
                true = 0.9 - 0.4 * (labels / 50) ** -0.5
                rows.writerow(["here", "new", "random", seed, labels, generator.binomial(1000, true) / 1000])
    return path


def test_it_judges_curves_that_it_has_not_seen(curves, capsys):
    forecasts = importlib.import_module("forecasts")
    forecasts.main([str(curves), "--json", "--jobs", "1"])
    report = json.loads(capsys.readouterr().out)
    assert report["trajectories"] == 8
    assert report["forecasts"] == 8 * 6
    assert report["coverage"]["all"]["n"] == 8 * (6 * 7 // 2)
    assert 0.5 < report["coverage"]["all"]["covered"] <= 1
    errors = report["error_at_twice"]["all"]
    assert errors["forecast"] < 0.7 * errors["last value"]
    for spending in ("orders", "going_on"):
        costs = report[spending]["all"]
        assert costs["always stop"] == pytest.approx(np.mean([0.5, 1, 2, 4]))
        assert costs["forecast"] < costs["always stop"]
    forecasts.main([str(curves), "--jobs", "1"])
    assert "| source here | 168 |" in capsys.readouterr().out


def test_what_is_learned_holds_as_much_as_it_says_and_finds_shares_and_scale():
    learning = importlib.import_module("curve_backtests")
    generator = np.random.default_rng(4)
    count = 20_000
    alike = np.full((count, 5), -6.0)
    features = np.column_stack([generator.normal(-4, 1, count), generator.normal(-5, 1, count), alike, np.ones(count)])
    promises = generator.normal(0, 0.03, (count, 2))
    shares = np.array([0.5, 0.2])
    off = np.exp(0.7 * features[:, 0] + 0.3 * features[:, 1]) * generator.laplace(size=count)
    of = generator.uniform(size=count)
    known = learning.Errors(
        features,
        promises,
        np.full(count, 0.5),
        0.5 + promises @ shares + off,
        4 + 20 * of,
        1.1 + 10 * generator.uniform(size=count),
        of > 2,
        np.full(count, "a"),
        np.full(count, "b"),
    )
    table = learning.learn(known)
    assert table.shares == pytest.approx(shares, abs=0.02)
    assert table.coefficients[:2] == pytest.approx([0.7, 0.3], abs=0.05)
    levels = table.levels.tolist()
    low, high = (table.quantiles[..., levels.index(level)].mean() for level in (0.1, 0.9))
    scale = np.exp(features @ table.coefficients)
    assert np.mean((off > low * scale) & (off < high * scale)) == pytest.approx(0.8, abs=0.02)


def test_rules_stop_where_they_want_or_where_the_target_was_measured():
    decisions = importlib.import_module("curve_decisions")
    assert decisions._stops([True, True, False, True], 4) == 2
    assert decisions._stops([True, True, True], 2) == 2
    assert decisions._stops([False], 3) == 0
    assert decisions._first(np.array([0.9, 0.5, 0.7, 0.8]), 0.7) == 2
    assert decisions._first(np.array([0.9, 0.5]), 0.7) is None


def test_own_errors_are_those_that_a_workspace_would_have(curves):
    """The benchmark has all prefixes' ensembles already; `plan` makes them anew."""
    learning, files = importlib.import_module("curve_backtests"), importlib.import_module("curve_files")
    (run, *_) = files.read([curves])
    tests = learning.backtests(run)
    found = learning.own_errors(tests, packaged())
    assert [len(each) for each in found][:3] == [0, 1, 3]
    for test, own in zip(tests, found, strict=True):
        again = own_errors(test.known, 0.0, packaged(), np.random.default_rng(1))
        assert len(own) == len(again)
        assert own == pytest.approx(again, abs=0.3)  # other copies of the curve


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a,b,random,0,0.5,0.3"], "labels 0.5 must be a whole number, 1 or more"),
        (["a,b,random,0,1000.1,0.3"], "labels 1000.1 must be a whole number, 1 or more"),
        (["a,b,random,0,10,30"], "a share, not per cent"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path, rows, said):
    forecasts = importlib.import_module("forecasts")
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(["source,data_set,strategy,seed,labels,accuracy", *rows]))
    with pytest.raises(SystemExit, match=f"bad.csv:2: .*{said}"):
        forecasts.main([str(path), "--jobs", "1"])


def test_perfect_curves_have_no_decisions_and_no_nan(tmp_path, capsys):
    """And a spreadsheet's byte order mark is no part of a name."""
    forecasts = importlib.import_module("forecasts")
    path = tmp_path / "ones.csv"
    lines = ["source,data_set,strategy,seed,labels,accuracy", *(f"a,b,random,0,{n}00,1" for n in range(1, 9))]
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    forecasts.main([str(path), "--jobs", "1", "--json"])
    document = capsys.readouterr().out
    assert "NaN" not in document
    assert json.loads(document)["orders"] == {}
    forecasts.main([str(path), "--jobs", "1"])
    assert "nan" not in capsys.readouterr().out


def test_the_band_is_tried_against_laws_that_are_known(capsys, monkeypatch):
    truth = importlib.import_module("forecast_truth")
    monkeypatch.setattr("sys.argv", ["forecast_truth", "--runs", "10", "--examples", "50"])
    truth.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].strip("| ") for row in rows] == [name for name in ("power", "flat", "plateau") for _ in range(3)]
    shares = np.array([[float(cell.strip("|% ")) for cell in row[3:]] for row in rows])
    assert shares.shape == (9, 8)
    assert shares[:, :3].mean() > 75
