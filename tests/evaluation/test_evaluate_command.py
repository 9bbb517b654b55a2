"""``evaluate``: the numbers of scikit-learn on the same predictions, measured once per version and set of labels."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn import metrics

from tests import processes
from tests.processes import HangAtCall
from tests.scoring.test_score_oracle import Oracle
from tests.small_pools import CLASSES, SmallPool, copied, make_pool, truth


def predictions(pool: SmallPool, rows: list[dict[str, str]]) -> np.ndarray[Any, Any]:
    """Probabilities by the float64 oracle, one image at a time."""
    oracle = Oracle.of(pool)
    return torch.stack([oracle.gradient(pool.path(row), None)[1] for row in rows]).numpy()


def test_numbers_are_those_of_scikit_learn(trained: SmallPool) -> None:
    rows = trained.pool(purpose="evaluation")
    trained.label(rows)
    report = trained.json("evaluate")["report"]
    expected = predictions(trained, rows)
    true = np.array([CLASSES.index(truth(row["path"])) for row in rows])
    guessed = expected.argmax(1)
    every = list(range(len(CLASSES)))
    assert report["examples"] == len(rows) >= 10
    assert report["accuracy"] == metrics.accuracy_score(true, guessed)
    assert 0.3 < report["accuracy"] < 1, "a perfect model would prove little"
    assert report["confusion"] == metrics.confusion_matrix(true, guessed, labels=every).tolist()
    assert report["nll"] == pytest.approx(metrics.log_loss(true, expected, labels=every), rel=1e-5)
    assert report["brier"] == pytest.approx(((expected - np.eye(3)[true]) ** 2).sum(1).mean(), rel=1e-5)
    per_class = metrics.precision_recall_fscore_support(true, guessed, labels=every, zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), per_class, strict=True):
        assert [entry[name] or 0 for entry in report["classes"]] == pytest.approx(list(values))
    z, n, p = 1.959963984540054, len(rows), report["accuracy"]
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    assert report["accuracy_interval"]["low"] == pytest.approx(centre - half)
    assert report["accuracy_interval"]["high"] == pytest.approx(centre + half)


def test_a_second_run_prints_the_same(trained: SmallPool) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    first = trained.ok("evaluate")
    second = trained.ok("evaluate")
    assert first.out == second.out
    assert second.err == "up to date: measured before on the same labels\n"
    assert trained.ok("evaluate", "--json").out == trained.ok("evaluate", "--json").out


def test_each_missing_thing_has_its_own_remedy(labeled: SmallPool, trained: SmallPool, tmp_path: Path) -> None:
    outcome = labeled.run("evaluate")
    assert outcome.code == 5
    assert "dalcli train" in outcome.err
    outcome = trained.run("evaluate")
    assert outcome.code == 5
    assert "dalcli query --purpose evaluation" in outcome.err
    trained.ok("query", "--purpose", "evaluation", "--budget", "3")
    outcome = trained.run("evaluate")
    assert outcome.code == 5
    assert "dalcli ingest-labels FILE" in outcome.err
    pool = make_pool(tmp_path / "w", 9, evaluation={"reserve": 0}, training={"max_epochs": 1})
    pool.label(pool.pool()[:2])
    pool.ok("train")
    outcome = pool.run("evaluate")
    assert outcome.code == 5
    assert "pool add --test" in outcome.err


def test_new_evaluation_labels_make_a_new_measurement(trained: SmallPool) -> None:
    rows = trained.pool(purpose="evaluation")
    trained.label(rows[:4])
    assert trained.json("evaluate")["report"]["examples"] == 4
    trained.label(rows)
    outcome = trained.ok("evaluate")
    assert "up to date" not in outcome.err
    assert trained.json("evaluate")["report"]["examples"] == len(rows)


def test_versions_are_measured_apart(trained: SmallPool) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    first = trained.ok("evaluate")
    trained.label(trained.pool("unlabeled")[:1])
    stale = trained.ok("evaluate")
    assert "1 label is newer than model m-0001" in stale.err
    assert stale.out == first.out
    trained.ok("train")
    newest = trained.json("evaluate")
    assert newest["version"] == "m-0002"
    again = trained.ok("evaluate", "--model", "m-0001")
    assert again.out == first.out
    assert "newer" not in again.err
    curve = trained.json("status")["curve"]
    assert [point["version"] for point in curve] == ["m-0001", "m-0002"]
    assert curve[1]["accuracy"] == newest["report"]["accuracy"]


def test_an_unknown_version_is_a_usage_error(trained: SmallPool) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    outcome = trained.run("evaluate", "--model", "m-001")
    assert outcome.code == 2
    assert "m-0001" in outcome.err


def test_training_samples_are_never_used(trained: SmallPool, tmp_path: Path) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    other = copied(trained, tmp_path / "other")
    for row in other.pool():
        other.path(row).unlink()
    assert other.ok("evaluate").out == trained.ok("evaluate").out


def test_a_class_that_came_after_training_is_always_wrong(trained: SmallPool) -> None:
    rows = trained.pool(purpose="evaluation")
    trained.label(rows[1:])
    before = trained.json("evaluate")["report"]
    trained.label(rows[:1], "violet", "--allow-new-classes")
    report = trained.json("evaluate")["report"]
    assert report["examples"] == before["examples"] + 1
    assert report["correct"] == before["correct"]
    assert report["nll"] is None, "infinite: the model gives it no probability"
    assert [entry["name"] for entry in report["classes"]] == [*CLASSES, "violet"]
    assert report["classes"][3]["recall"] == 0


def test_it_does_not_wait_for_training(trained: SmallPool, tmp_path: Path) -> None:
    trained.label(trained.pool("unlabeled")[:2])
    trained.label(trained.pool(purpose="evaluation"))
    marker = tmp_path / "marker"
    running = processes.start(trained, ["train"], HangAtCall("dalcli.training.loop:train_epoch", marker))
    processes.wait_until(marker.exists)
    assert trained.json("evaluate")["version"] == "m-0001"
    marker.unlink()
    assert running.finish().code == 0


def test_a_damaged_model_is_named_with_a_remedy(trained: SmallPool) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    path = trained.version() / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    outcome = trained.run("evaluate")
    assert outcome.code == 1
    assert "model.safetensors" in outcome.err
    assert "backup" in outcome.err


def test_the_temperature_is_that_of_the_same_predictions(tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "w", 48, evaluation={"reserve": 0.6}, training={"max_epochs": 3})
    pool.label(pool.pool()[:8])
    pool.ok("train")
    rows = pool.pool(purpose="evaluation")
    pool.label(rows[:19])
    early = pool.json("evaluate")["report"]["temperature"]
    assert list(early) == ["value", "bounded", "nll", "ece", "folds", "reason"]
    assert (early["value"], early["reason"]) == (None, "19 evaluation labels, at least 20")
    assert "none (19 evaluation labels, at least 20)" in pool.ok("evaluate").out
    pool.label(rows)
    report = pool.json("evaluate")["report"]
    logits = np.log(predictions(pool, rows))  # but for a constant
    true = np.array([CLASSES.index(truth(row["path"])) for row in rows])
    span = {"bounds": (np.log(0.05), np.log(20)), "method": "bounded", "options": {"xatol": 1e-10}}
    best = minimize_scalar(
        lambda x: -log_softmax(logits / np.exp(x), axis=1)[np.arange(len(true)), true].mean(), **span
    )
    assert report["temperature"]["value"] == pytest.approx(np.exp(best.x), rel=1e-3)
    assert best.fun < report["temperature"]["nll"]
    with connected(pool) as database:
        stored = database.execute("SELECT temperature FROM evaluation ORDER BY id").fetchall()
    assert stored == [(None,), (report["temperature"]["value"],)]


def test_a_grown_set_keeps_old_measurements_and_versions_are_compared_on_what_is_common(trained: SmallPool) -> None:
    rows = trained.pool(purpose="evaluation")
    trained.label(rows[:6])
    first = trained.json("evaluate")
    assert first["paired"] is None
    trained.label(trained.pool("unlabeled")[:2])
    trained.ok("train")
    trained.label(rows)
    assert trained.json("status")["next_step"] == "dalcli evaluate"
    second = trained.json("evaluate")
    assert trained.json("status")["next_step"] != "dalcli evaluate"
    paired = second["paired"]
    keys = ["version", "against", "examples", "better", "worse", "difference", "p_value", "verdict", "level"]
    assert list(paired) == keys
    assert (paired["version"], paired["against"], paired["examples"]) == ("m-0002", "m-0001", 6)
    curve = trained.json("status")["curve"]
    assert [point["samples"] for point in curve] == [6, len(rows)]
    again = trained.json("evaluate", "--model", "m-0001")["report"]
    assert again["examples"] == len(rows)
    compared = trained.json("status")["paired"]
    assert compared["examples"] == len(rows)
    assert compared["better"] - compared["worse"] == second["report"]["correct"] - again["correct"]
    assert compared["difference"] == pytest.approx(second["report"]["accuracy"] - again["accuracy"])
    assert f"of {len(rows)} common examples)" in trained.ok("status").out
    with connected(trained) as database:
        assert database.execute("SELECT count(*) FROM evaluation").fetchone() == (3,), "the one on six is still there"


def test_what_an_older_program_measured_is_measured_again_while_its_files_are_there(trained: SmallPool) -> None:
    trained.label(trained.pool(purpose="evaluation"))
    whole = trained.json("evaluate")
    old = {key: value for key, value in whole["report"].items() if key != "temperature"}
    with connected(trained) as database:
        row = (json.dumps(old),)
        database.execute("UPDATE evaluation SET outcomes = NULL, temperature = NULL, report = ?", row)
    kept = trained.version() / "model.safetensors"
    away = kept.rename(kept.with_suffix(".away"))
    assert trained.json("evaluate")["report"] == old
    assert "with temperature" not in trained.ok("evaluate").out
    away.rename(kept)
    assert trained.json("evaluate") == whole
    with connected(trained) as database:
        stored = database.execute("SELECT length(outcomes), temperature FROM evaluation").fetchall()
    assert stored == [(12 * whole["report"]["examples"], whole["report"]["temperature"]["value"])]


@contextmanager
def connected(pool: SmallPool) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(pool.root / ".dalcli" / "state.db")
    try:
        with connection:
            yield connection
    finally:
        connection.close()
