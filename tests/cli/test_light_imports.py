"""Light commands never pay for torch: looked at in processes of their own, through the real ``main``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from dalcli_runner import environment, ok, write_labels
from planned_workspaces import planned
from promised_workspaces import promised
from safetensors.numpy import save_file
from workspaces import add_model, add_scores, image, make, photos

from dalcli.config.querying import QueryConfig
from dalcli.strategies.registry import STRATEGIES, create

RUN_ALL = """
import json, sys
from dalcli.cli.main import main
for argv in json.loads(sys.argv[1]):
    code = main(argv)
    heavy = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "torchvision", "scipy", "sklearn"})
    print("@", code, *heavy, file=sys.stderr)
"""


def heavy_modules(root: Path, *command_lines: tuple[str | Path, ...], first: str = "") -> list[str]:
    """After each command line: its exit status and the heavy modules that are loaded by then."""
    arguments = json.dumps([[str(argument) for argument in line] for line in command_lines])
    program = [sys.executable, "-c", first + RUN_ALL, arguments]
    ended = subprocess.run(program, cwd=root, env=environment(), capture_output=True, timeout=120)
    return [line[2:] for line in ended.stderr.decode().splitlines() if line.startswith("@ ")]


def test_no_light_command_imports_torch(tmp_path: Path) -> None:
    root = make(tmp_path / "work", reserve=0.5)
    rows = ok(root, "query", "--budget", "2").rows
    write_labels(root / "l.csv", rows, all_of_them="cat")
    image(root / "more" / "a.png", 500)
    image(root / "done" / "dog" / "x.png", 11)
    (tmp_path / "new").mkdir()
    lines: list[tuple[str | Path, ...]] = [
        ("--help",),
        ("--version",),
        ("query", "--help"),
        ("train", "--help"),
        ("export-model", "--help"),
        ("-C", tmp_path / "new", "init", root / "photos", "--classes", "a,b"),
        ("status",),
        ("status", "--json"),
        ("query", "--budget", "2"),
        ("query", "--budget", "2", "--format", "label-studio"),
        ("ingest-labels", "l.csv"),
        ("ingest-labels", "done", "--on-conflict", "keep"),
        ("query", "--budget", "1", "-o", "out.csv"),
        ("label", "--proposals"),
        ("label-studio", "config"),
        ("query", "--new", "--budget", "1", "--purpose", "evaluation"),
        ("batch", "list"),
        ("batch", "show", "b-0001"),
        ("batch", "release", "b-0002"),
        ("pool", "add", "more"),
        ("pool", "list"),
        ("pool", "quarantine"),
        ("pool", "relocate", "more", "more"),
        ("plan",),
        ("plan", "history"),
        ("report", "--output", "report.html"),
        ("report", "--mail", "--to", "a@example.org"),
        ("labels", "show", "photos/0.png"),
        ("labels", "log"),
        ("labels", "disputed"),
        ("labels", "annotators"),
        ("labels", "export"),
        ("labels", "export", "--format", "imagefolder", "--output", "set"),
        ("labels", "export", "--format", "label-studio"),
        ("run", "--dry-run", "--budget", "1"),
        ("run", "--help"),
        ("classes", "rename", "cat", "kitten"),
        ("classes", "list"),
    ]
    assert heavy_modules(root, *lines) == ["0"] * len(lines)


def test_init_with_a_model_of_ours_and_weights_in_a_file_does_not_either(tmp_path: Path) -> None:
    photos(tmp_path / "photos", 2)
    lines: list[tuple[str | Path, ...]] = []
    for name in ("cnn", "resnet18", "vgg11"):
        (tmp_path / name).mkdir()
        save_file({"weight": np.zeros(3, np.float32)}, tmp_path / name / "w.safetensors")
        (tmp_path / name / "dalcli.yaml").write_text(f"model:\n  name: {name}\n  weights: ./w.safetensors\n")
        lines.append(("-C", tmp_path / name, "init", tmp_path / "photos", "--classes", "a,b"))
    assert heavy_modules(tmp_path, *lines) == ["0"] * len(lines)


def test_a_query_on_stored_scores_does_not_either(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 30)
    rows = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows, all_of_them="cat"))
    add_model(root)
    add_scores(root)
    optional = {"sketch", "mc_probabilities"}
    strategies = [name for name in STRATEGIES if not optional & set(create(name, QueryConfig()).columns)]
    lines = [("query", "--new", "--budget", "1", "--strategy", strategy) for strategy in strategies]
    assert heavy_modules(root, *lines, ("status",)) == ["0"] * (len(lines) + 1)


def test_a_plan_from_measured_versions_does_not_either(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", [50, 100, 150, 200, 250])
    lines = [("plan", "--target", "0.9"), ("plan", "--budget", "10", "--json"), ("plan", "history")]
    assert heavy_modules(root, *lines) == ["0"] * len(lines)


def test_predictions_that_are_stored_do_not_either(tmp_path: Path) -> None:
    root = promised(tmp_path / "work").root
    lines = [
        ("predict", "--top", "2"),
        ("predict", "--auto", "--max-error", "0.02"),
        ("predict", "--check"),
        ("plan", "--finish", "--max-error", "0.02"),
        ("labels", "export", "--auto"),
        ("predict", "--withdraw"),
    ]
    assert heavy_modules(root, *lines) == ["0"] * len(lines)


def test_another_look_does_not_either(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 30)
    rows = ok(root, "query", "--budget", "4").rows
    for name, label in (("a", "cat"), ("b", "dog")):
        write_labels(root / f"{name}.csv", [{**row, "annotator": name} for row in rows], all_of_them=label)
        ok(root, "ingest-labels", f"{name}.csv")
    late = ok(root, "query", "--budget", "2").rows
    add_model(root)
    add_scores(root)
    write_labels(
        root / "c.csv", late, **{row["sample_id"]: name for row, name in zip(late, ("cat", "dog"), strict=True)}
    )
    ok(root, "ingest-labels", "c.csv")
    lines = [("query", "--relabel", "2"), ("labels", "suspects"), ("labels", "disputed")]
    assert heavy_modules(root, *lines) == ["0"] * 3


def test_a_wrong_option_of_a_heavy_command_does_not_either(tmp_path: Path) -> None:
    root = make(tmp_path / "work")
    lines = [("diagnose", "--budget", "0"), ("diagnose", "--labels", "nowhere.csv"), ("query", "--budget", "0")]
    assert heavy_modules(root, *lines) == ["2", "3", "2"]


def test_torch_would_be_seen(tmp_path: Path) -> None:
    root = make(tmp_path / "work")
    assert heavy_modules(root, ("status",), first="import torch") == ["0 torch"]
