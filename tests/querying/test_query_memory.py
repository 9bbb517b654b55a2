"""A strategy that learns from its own batches: what it remembers, and when that counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import Outcome, environment, ok, run, write_labels
from simulations import things, write
from workspaces import add_model, add_scores, ask, dump, make

ALBL = ("query", "--budget", "4", "--strategy", "albl")


def learn(root: Path, asked: Outcome, label: str = "cat") -> None:
    """Label a batch, and pretend that a model was trained and has scored the pool."""
    ok(root, "ingest-labels", write_labels(root / "labels.csv", asked.rows, all_of_them=label))
    add_model(root)
    add_scores(root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = make(tmp_path / "work", 30)
    learn(made, ok(made, "query", "--budget", "4"))
    return made


def memory(root: Path) -> dict[str, Any]:
    [(found,)] = ask(root, "SELECT memory FROM strategy_memory")
    return dict(json.loads(str(found)))


def test_weights_change_once_labels_have_come(root: Path) -> None:
    """The model agrees with every answer: who advised more of them gains more."""
    first = ok(root, *ALBL)
    assert memory(root)["experts"] == ["coreset", "confidence"]
    assert (memory(root)["weights"], memory(root)["round"]) == ([1.0, 1.0], 1)
    shares = [sum(expert in row[2] for row in memory(root)["asked"]) for expert in (0, 1)]
    assert shares[0] != shares[1]  # else equal rewards would be right
    agreed = {row["sample_id"]: row["pseudo_label"] for row in first.rows}
    ok(root, "ingest-labels", write_labels(root / "labels.csv", first.rows, **agreed))
    add_model(root)
    add_scores(root)
    second = ok(root, *ALBL)
    assert second.rows[0]["batch_id"] != first.rows[0]["batch_id"]
    assert not {row["sample_id"] for row in first.rows} & {row["sample_id"] for row in second.rows}
    after = memory(root)
    assert after["round"] == 2
    assert len(after["asked"]) == 8
    assert (after["weights"][0] > after["weights"][1]) == (shares[0] > shares[1])
    assert after["weights"][0] != after["weights"][1]


def test_what_the_model_gets_wrong_is_no_reward(root: Path) -> None:
    """All samples answered with the class the model deems less likely: every expert gains nothing, and none moves."""
    first = ok(root, *ALBL)
    predicted = {row["sample_id"]: row["pseudo_label"] for row in first.rows}
    wrong = {name: "dog" if label == "cat" else "cat" for name, label in predicted.items()}
    ok(root, "ingest-labels", write_labels(root / "labels.csv", first.rows, **wrong))
    add_model(root)
    add_scores(root)
    ok(root, *ALBL)
    assert memory(root)["weights"] == [1.0, 1.0]


def test_the_same_query_again_prints_the_same_bytes_and_learns_nothing(root: Path) -> None:
    first = ok(root, *ALBL)
    before = dump(root)
    assert ok(root, *ALBL).out == first.out
    assert dump(root) == before


def test_a_released_batch_teaches_nothing(root: Path) -> None:
    first = ok(root, *ALBL)
    ok(root, "batch", "release", first.rows[0]["batch_id"])
    ok(root, *ALBL)
    assert (memory(root)["weights"], memory(root)["round"]) == ([1.0, 1.0], 2)


def test_batches_side_by_side_and_of_other_strategies_leave_the_chain_whole(root: Path) -> None:
    first = ok(root, *ALBL)
    ok(root, "query", "--new", "--budget", "2", "--strategy", "margin")
    second = ok(root, *ALBL, "--new")
    asked = [row[0] for row in memory(root)["asked"]]
    assert len(set(asked)) == 8
    assert [row[3] for row in memory(root)["asked"]] == [1] * 4 + [2] * 4
    learn(root, Outcome(0, first.out + second.out.split(b"\n", 1)[1], ""))
    ok(root, *ALBL, "--new")
    assert memory(root)["round"] == 3


@pytest.mark.parametrize("where", ["dalcli.querying.issuing.issue", "dalcli.state.memories.remember"])
def test_a_query_killed_before_its_batch_is_issued_leaves_the_old_memory(root: Path, where: str) -> None:
    learn(root, ok(root, *ALBL))
    before = dump(root)
    module, _, name = where.rpartition(".")
    program = (
        f"import os, sys, {module}; {module}.{name} = lambda *a: os._exit(9);"
        "from dalcli.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    killed = subprocess.run([sys.executable, "-c", program, *ALBL], cwd=root, env=environment(), capture_output=True)
    assert killed.returncode == 9, killed.stderr
    assert dump(root) == before
    ok(root, *ALBL)
    assert memory(root)["round"] == 2


def test_other_experts_start_afresh(root: Path) -> None:
    learn(root, ok(root, *ALBL))
    (root / "dalcli.yaml").write_text("query:\n  experts: [margin, random, entropy]\n")
    ok(root, *ALBL)
    assert memory(root)["experts"] == ["margin", "random", "entropy"]
    assert memory(root)["weights"] == [1.0] * 3


@pytest.mark.parametrize(
    ("experts", "said"),
    [
        ("[margin, albl]", "query.experts: albl cannot be its own expert"),
        ("[margin, marginn]", "query.experts: unknown strategy 'marginn': did you mean 'margin'?"),
        ("[margin]", "query.experts"),
        ("[margin, margin]", "the same strategy is named twice"),
    ],
)
def test_experts_that_make_no_sense_are_refused(root: Path, experts: str, said: str) -> None:
    (root / "dalcli.yaml").write_text(f"query:\n  experts: {experts}\n")
    refused = run(root, *ALBL)
    assert refused.code == 3
    assert said in refused.err


def test_a_simulation_carries_it_from_round_to_round(tmp_path: Path) -> None:
    things(tmp_path / "things", 10)
    keys: dict[str, Any] = {"strategies": ["random", "albl"], "seeds": 1, "rounds": 3, "batch_sizes": 3}
    ok(tmp_path, "simulate", write(tmp_path / "c.yaml", **keys), "--jobs", "1", "--keep", "-q")
    [cell] = (tmp_path / "c-results" / "work" / "cells").glob("albl*")
    kept = memory(cell)
    assert (kept["round"], len(kept["asked"])) == (3, 9)
    assert kept["weights"] != [1.0, 1.0]
