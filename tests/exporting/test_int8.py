"""``export-model --int8``: what is said of eight bits is what its own program shows, in a process without dalcli."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.exporting.test_export_model import leftovers, printed, probabilities
from tests.small_pools import CLASSES, SmallPool, make_pool, truth

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript or onnxruntime is not installed (pip install 'dalcli[onnx]')",
)
WITHOUT = ("dalcli", "torch")


def made(root: Path) -> SmallPool:
    pool = make_pool(root, 120)
    pool.label(pool.pool()[:30])
    pool.label(pool.pool(purpose="evaluation"))
    pool.ok("train")
    return pool


def test_what_is_said_of_eight_bits_is_what_they_do(tmp_path: Path) -> None:
    pool, out = made(tmp_path / "w"), tmp_path / "out"
    measured = pool.json("evaluate")["report"]
    outcome = pool.ok("export-model", str(out), "--int8", "--json")
    result = json.loads(outcome.out)
    found = result["int8"]
    assert [form["form"] for form in result["forms"]] == ["onnx"]
    paths = [pool.path(row) for row in pool.pool(purpose="evaluation")]
    labels = np.array([CLASSES.index(truth(str(path))) for path in paths])
    eight = probabilities(printed(out, "onnx_int8", paths, WITHOUT))
    floats = probabilities(printed(out, "onnx", paths, WITHOUT))
    right, was_right = eight.argmax(1) == labels, floats.argmax(1) == labels
    assert found["examples"] == len(paths) == measured["examples"]
    assert found["float_accuracy"] == pytest.approx(measured["accuracy"]) == pytest.approx(was_right.mean())
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["low"] < found["accuracy"] < found["high"] or found["accuracy"] in (0.0, 1.0)
    assert found["changed"] == (eight.argmax(1) != floats.argmax(1)).sum()
    assert (found["better"], found["worse"]) == ((right & ~was_right).sum(), (was_right & ~right).sum())
    if discordant := found["better"] + found["worse"]:
        assert found["p_value"] == pytest.approx(binomtest(found["better"], discordant).pvalue)
    assert 0 < found["max_difference"] == pytest.approx(np.abs(eight - floats).max(), abs=1e-6)
    assert found["max_difference"] < 0.3, "eight bits of this network say much the same"
    assert found["calibrated_on"] == 30
    assert found["bytes"] == (out / "model.int8.onnx").stat().st_size < (out / "model.onnx").stat().st_size / 2
    assert min(found["images_per_second"], found["float_images_per_second"]) > 0
    document = json.loads((out / "model.json").read_text())
    assert document["int8"] == found
    assert document["files"]["model.int8.onnx"]["bytes"] == found["bytes"]
    assert "eight bits" in (out / "README.md").read_text()
    again = pool.ok("export-model", str(out), "--int8", "--json")
    assert again.out == outcome.out
    assert "up to date" in again.err
    shown = pool.ok("export-model", str(out), "--int8").out
    assert f"{100 * found['accuracy']:.1f}%" in shown


def test_labels_of_merged_classes_count_as_what_they_are_today(tmp_path: Path) -> None:
    pool, out = made(tmp_path / "w"), tmp_path / "out"
    pool.ok("classes", "merge", "blue", "red")
    pool.ok("evaluate")
    found = json.loads(pool.ok("export-model", str(out), "--int8", "--format", "torch-export", "--json").out)
    assert [form["form"] for form in found["forms"]] == ["torch-export", "onnx"]
    paths = [pool.path(row) for row in pool.pool(purpose="evaluation")]
    today = ["red" if (name := truth(str(path))) == "blue" else name for path in paths]
    said = [row["class"] for row in printed(out, "onnx_int8", paths, WITHOUT)]
    assert found["int8"]["accuracy"] == pytest.approx(
        np.mean([one == other for one, other in zip(said, today, strict=True)])
    )


def test_without_evaluation_labels_nothing_can_be_said(trained: SmallPool, tmp_path: Path) -> None:
    refused = trained.run("export-model", str(tmp_path / "out"), "--int8")
    assert (refused.code, "--purpose evaluation" in refused.err) == (5, True)
    assert leftovers(tmp_path) == []
