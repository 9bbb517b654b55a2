"""``query --control``: a uniform draw, issued, printed, answered and released like any other row of a batch."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import message, ok, run, write_labels
from scipy.stats import chi2
from workspaces import add_model, add_scores, ask, dump, make

from dalcli.config.querying import QueryConfig
from dalcli.querying.control import control_size, select_with_control
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request
from dalcli.strategies.memory_table import MemoryTable
from dalcli.strategies.registry import create

MARGIN = ("--strategy", "margin")


def scored(root: Path, count: int = 40, config: str = "", reserve: float = 0.0) -> Path:
    make(root, count, reserve=reserve, config=config)
    rows = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "first.csv", rows, all_of_them="cat"))
    add_model(root)
    add_scores(root)
    return root


def test_a_part_of_the_batch_is_drawn_at_random_and_the_strategy_chooses_the_rest(tmp_path: Path) -> None:
    root = scored(tmp_path / "work")
    answer = ok(root, "query", "--budget", "10", *MARGIN, "--control", "0.3")
    assert "10 samples (margin, model m-0001; 3 drawn at random as control arm)" in answer.err
    rows = answer.rows
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 11)]
    control = [row for row in rows if row["arm"] == "control"]
    active = [row for row in rows if row["arm"] == "active"]
    assert (len(control), len(active)) == (3, 7)
    assert {(row["strategy"], row["score"]) for row in control} == {("random", "")}
    assert all(row["pseudo_label"] and row["confidence"] for row in rows)
    ok(root, "batch", "release", "b-0002")
    without = ok(root, "query", "--budget", "10", *MARGIN).rows  # of everything, the control samples too
    drawn = {row["sample_id"] for row in control}
    expected = [row["score"] for row in without if row["sample_id"] not in drawn]
    assert [row["score"] for row in active] == expected[:7]


def test_the_same_options_print_it_again_and_others_are_refused(tmp_path: Path) -> None:
    root = scored(tmp_path / "work")
    first = ok(root, "query", "--budget", "5", *MARGIN, "--control", "0.4")
    before = dump(root)
    assert ok(root, "query", "--budget", "5", *MARGIN, "--control", "0.4").out == first.out
    for other in ((), ("--control", "0.2"), ("--control", "0")):
        refused = run(root, "query", "--budget", "5", *MARGIN, *other)
        assert refused.code == 5
        assert "b-0002" in message(refused)[0]
    assert dump(root) == before
    (root / "dalcli.yaml").write_text("query: {control: 0.4, strategy: margin}\n")
    assert ok(root, "query", "--budget", "5").out == first.out  # the same in effect


def test_the_draw_depends_on_the_seed_and_the_round_alone(tmp_path: Path) -> None:
    def drawn(name: str, seed: int, *options: str) -> list[str]:
        root = scored(tmp_path / name, config=f"seed: {seed}\n")
        rows = ok(root, "query", "--budget", "10", "--control", "0.3", *options).rows
        return sorted(row["sample_id"] for row in rows if row["arm"] == "control")

    one = drawn("one", 1, *MARGIN)
    assert drawn("again", 1, *MARGIN) == one
    assert drawn("entropy", 1, "--strategy", "entropy") == one
    assert drawn("other", 2, *MARGIN) != one


def test_it_is_labeled_released_and_never_issued_twice_as_any_other_row(tmp_path: Path) -> None:
    root = scored(tmp_path / "work", 20)
    rows = ok(root, "query", "--budget", "6", *MARGIN, "--control", "0.5").rows
    other = ok(root, "query", "--new", "--budget", "6", *MARGIN, "--control", "0.5").rows
    assert not {row["sample_id"] for row in rows} & {row["sample_id"] for row in other}
    control = [row for row in rows if row["arm"] == "control"]
    ok(root, "ingest-labels", write_labels(root / "l.csv", control, all_of_them="dog"))
    assert ok(root, "batch", "list", "--json").json["batches"][1]["answered"] == 3
    ok(root, "batch", "release", "b-0002")
    everything = ok(root, "query", "--new", "--budget", "20", *MARGIN, "--control", "0.5", "--stale-ok").rows
    assert len(everything) == 20 - 2 - 3 - 6
    assert Counter(row["arm"] for row in everything) in ({"control": 4, "active": 5}, {"control": 5, "active": 4})


def test_a_batch_of_the_control_arm_alone(tmp_path: Path) -> None:
    root = scored(tmp_path / "work")
    rows = ok(root, "query", "--budget", "3", *MARGIN, "--control", "1").rows
    assert [row["arm"] for row in rows] == ["control"] * 3


def test_a_cold_start_at_random_says_that_it_needs_none(tmp_path: Path) -> None:
    root = make(tmp_path / "work", config="query: {control: 0.5}\n")
    answer = ok(root, "query", "--budget", "4")
    assert {row["arm"] for row in answer.rows} == {"active"}
    assert "no control arm: the whole batch is drawn at random" in answer.err


def test_a_cold_start_by_features_has_one(tmp_path: Path) -> None:
    root = make(tmp_path / "work", config="query: {control: 0.5, cold_start: maxherding}\n")
    rows = ok(root, "query", "--budget", "4").rows
    assert Counter(row["arm"] for row in rows) == {"active": 2, "control": 2}
    assert {row["strategy"] for row in rows if row["arm"] == "control"} == {"random"}


def test_evaluation_samples_have_none(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 40, reserve=0.5, config="query: {control: 0.5}\n")
    refused = run(root, "query", "--purpose", "evaluation", "--budget", "4", "--control", "0.1")
    assert refused.code == 2
    assert "all drawn at random" in message(refused)[1]
    answer = ok(root, "query", "--purpose", "evaluation", "--budget", "4")
    assert {row["arm"] for row in answer.rows} == {"evaluation"}
    assert "control" not in answer.err


@pytest.mark.parametrize("fraction", ["-0.1", "1.5", "nan", "10%"])
def test_a_fraction_that_is_none_is_a_usage_error(tmp_path: Path, fraction: str) -> None:
    root = make(tmp_path / "work")
    assert run(root, "query", "--budget", "4", f"--control={fraction}").code == 2
    assert ask(root, "SELECT * FROM batch") == []


def test_a_configured_fraction_that_is_none_names_its_key(tmp_path: Path) -> None:
    root = make(tmp_path / "work")
    (root / "dalcli.yaml").write_text("query: {control: 10}\n")
    refused = run(root, "query", "--budget", "4")
    assert refused.code == 3
    assert "query.control" in refused.err


def test_a_batch_too_small_for_it_says_so_and_some_of_many_have_it(tmp_path: Path) -> None:
    root = scored(tmp_path / "work")
    arms = []
    for _ in range(12):
        answer = ok(root, "query", "--new", "--budget", "1", *MARGIN, "--control", "0.4")
        (row,) = answer.rows
        arms.append(row["arm"])
        assert ("0.4 of 1 was rounded down to none" in answer.err) == (row["arm"] == "active")
    assert set(arms) == {"active", "control"}


def test_sizes_are_the_fraction_on_average() -> None:
    assert [control_size(30, 0.1, chance) for chance in (0.0, 0.999)] == [3, 3]
    assert [control_size(250, 0.1, 0.5), control_size(10, 1.0, 0.0), control_size(7, 0.0, 0.0)] == [25, 10, 0]
    chances = (np.arange(1000) + 0.5) / 1000
    assert np.mean([control_size(17, 0.1, chance) for chance in chances]) == pytest.approx(1.7)


def test_every_sample_and_every_rank_is_control_equally_often() -> None:
    """Rounds as draws: chi-squared over the samples of a pool, and over the ranks of a batch."""
    pool, rounds, budget = 20, 600, 8
    digests = np.random.default_rng(0).integers(0, 256, (pool, 16)).astype(np.uint8)
    values = np.linspace(0.5, 0.99, pool, dtype=np.float32)
    table = MemoryTable(digests, {"probabilities": np.stack([values, 1 - values], axis=1)})
    strategy = create("margin", QueryConfig())
    request = Request(budget, SampleSet(digests), seed=5, table=table)
    samples, ranks = np.zeros(pool), np.zeros(budget)
    for number in range(rounds):
        drawn = select_with_control(strategy, "margin", request, 0.25, 3, f"b-{number:04d}")
        assert drawn.control.sum() == 2
        assert len(np.unique(drawn.selection.digests, axis=0)) == budget
        samples[request.eligible.find(drawn.selection.digests[drawn.control])] += 1
        ranks += drawn.control
    for counts in (samples, ranks):
        expected = counts.mean()
        assert ((counts - expected) ** 2 / expected).sum() < chi2.ppf(0.999, len(counts) - 1)
