"""``evaluate --control`` by the real commands: on a tiny frozen network, and on a model trained as a whole."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dalcli.data.network import from_json
from dalcli.gain.learners import Heads, Learner, learner
from dalcli.models.frozen_head import FrozenHead
from dalcli.state.database import Database
from tests.frozen_pools import make_frozen_pool
from tests.small_pools import CLASSES, SmallPool, copied, make_pool, truth

KEYS = [
    "version", "common_labels", "active_labels", "control_labels", "compared", "active_accuracy", "control_accuracy",
    "gain", "gain_interval", "examples", "trainings", "reason",
]  # fmt: skip


def asked(pool: SmallPool, *options: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(pool.ok("query", "--new", *options).out)))


def two_rounds(pool: SmallPool, budget: int, *options: str) -> SmallPool:
    """A cold start of 10, a model, a batch with half of it control, and a model on both."""
    pool.label(pool.pool(purpose="evaluation"))
    pool.label(asked(pool, "--budget", "10"))
    pool.ok("train")
    rows = asked(pool, "--budget", str(budget), "--strategy", "margin", "--control", "0.5")
    assert {row["arm"] for row in rows} == {"active", "control"}
    pool.label(rows)
    pool.ok("train", *options)
    return pool


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    return two_rounds(make_frozen_pool(tmp_path_factory.mktemp("gain") / "w", 150, query={"cold_start": "random"}), 64)


@pytest.fixture
def frozen(made: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(made, tmp_path / "w")


def test_the_gain_is_measured_kept_and_shown(frozen: SmallPool) -> None:
    assert frozen.json("status")["control_gain"] is None
    assert frozen.json("evaluate")["control_gain"] is None
    first = frozen.ok("evaluate", "--control")
    assert "gain over random" in first.out
    assert "with 32 labels of either kind, m-0002" in first.out
    again = frozen.ok("evaluate", "--control")
    assert again.out == first.out
    assert "the gain was measured before on the same labels" in again.err
    gain = frozen.json("evaluate", "--control")["control_gain"]
    assert list(gain) == KEYS
    assert (gain["version"], gain["common_labels"], gain["active_labels"], gain["control_labels"]) == (
        "m-0002",
        10,
        32,
        32,
    )
    assert (gain["compared"], gain["trainings"], gain["reason"]) == (32, 1 + 1 + 20 + 20, None)
    assert gain["examples"] == len(frozen.pool("labeled", "evaluation"))
    interval = gain["gain_interval"]
    assert list(interval) == ["low", "high", "level"]
    assert -1 <= interval["low"] <= gain["gain"] <= interval["high"] <= 1
    assert gain["gain"] == pytest.approx(gain["active_accuracy"] - gain["control_accuracy"])
    status = frozen.ok("status")
    assert frozen.json("status")["control_gain"] == gain
    assert "gain over random: " in status.out


def test_the_same_on_another_day_and_without_a_cache(frozen: SmallPool, tmp_path: Path) -> None:
    other = copied(frozen, tmp_path / "other")
    shutil.rmtree(other.root / ".dalcli" / "cache")
    assert other.ok("evaluate", "--control").out == frozen.ok("evaluate", "--control").out


def test_too_few_of_either_kind_give_a_reason_and_no_error(frozen: SmallPool) -> None:
    early = frozen.json("evaluate", "--control", "--model", "m-0001")["control_gain"]
    assert early["reason"] == "not enough control labels: 0, at least 30"
    assert early["gain"] is early["gain_interval"] is early["compared"] is None
    assert (early["common_labels"], early["control_labels"]) == (10, 0)
    said = frozen.ok("evaluate", "--control", "--model", "m-0001").out
    assert "not enough control labels: 0, at least 30" in said
    assert frozen.json("status")["control_gain"] is None


def test_new_evaluation_labels_make_a_new_comparison(frozen: SmallPool) -> None:
    before = frozen.json("evaluate", "--control")["control_gain"]
    rows = frozen.pool("labeled", "evaluation")
    wrong = [{**row, "path": row["path"]} for row in rows[:3]]
    for row in wrong:
        frozen.label([row], next(name for name in CLASSES if name != truth(row["path"])), "--on-conflict", "replace")
    after = frozen.json("evaluate", "--control")["control_gain"]
    assert after["examples"] == before["examples"]
    assert (after["active_accuracy"], after["control_accuracy"]) != (
        before["active_accuracy"], before["control_accuracy"],
    )  # fmt: skip


def test_a_head_trained_on_all_rows_is_the_versions(frozen: SmallPool) -> None:
    """The oracle of the learner: on all of its labels it gets right what ``evaluate`` says that the version does."""
    from dalcli.feedback import SilentFeedback
    from dalcli.gain import run
    from dalcli.workspace.images import PoolImages
    from dalcli.workspace.loading import load_version
    from dalcli.workspace.session import open_session

    with open_session(frozen.root, SilentFeedback()) as session:
        with session.database.read() as connection:
            situation = run._situation(connection, session.config, None)
        loaded = load_version(session, situation.model, torch.device("cpu"))
        seen = from_json(situation.model.network)
        with (
            PoolImages.open(session, situation.images, seen) as images,
            PoolImages.open(session, situation.evaluation, seen) as examples,
        ):
            judge = learner(
                session, situation.model, loaded, (images, situation.labels), (examples, situation.examples)
            )
            right = judge(np.arange(len(judge.labeled)))
    assert right.mean() == frozen.json("evaluate")["report"]["accuracy"]


def test_arms_of_one_law_have_intervals_that_contain_nothing() -> None:
    """Real heads on real numbers: active labels that were drawn at random, too."""
    random = np.random.default_rng(5)
    from dalcli.gain.comparison import Arms, compare

    contain = []
    for _ in range(20):
        labels = random.integers(0, 3, 110)
        features = (random.normal(0, 1, (110, 6)) + 1.2 * np.eye(3, 6)[labels]).astype(np.float32)
        truth_ = random.integers(0, 3, 200)
        examples = (random.normal(0, 1, (200, 6)) + 1.2 * np.eye(3, 6)[truth_]).astype(np.float32)
        judge = Learner(Heads(FrozenHead(6, 3), 1e-2, "balanced", features, labels, examples), (), truth_)
        arms = Arms(np.arange(10), np.arange(10, 70), np.arange(70, 110))
        found = compare(arms, judge, 6, random)
        assert 0.5 < found.control_accuracy < 0.95
        contain.append(found.interval.low <= 0 <= found.interval.high)
    assert sum(contain) >= 17


def test_a_whole_model_says_what_it_costs_and_does_it_only_when_told(tmp_path: Path) -> None:
    pool = two_rounds(make_pool(tmp_path / "w", 130, training={"max_epochs": 1, "batch_size": 16}), 62)
    told = pool.json("evaluate", "--control")["control_gain"]
    assert told["reason"].startswith("m-0002 is trained as a whole: this takes 16 trainings (the last one took ")
    assert told["reason"].endswith("pass --retrain to do them")
    assert (told["trainings"], told["gain"]) == (4 * 4, None)
    found = pool.json("evaluate", "--control", "--retrain")["control_gain"]
    assert (found["reason"], found["compared"], found["trainings"]) == (None, 31, 16)
    assert pool.json("status")["control_gain"] == found
    assert pool.json("evaluate", "--control")["control_gain"] == found  # known by now
    with Database(pool.root / ".dalcli" / "state.db") as database, database.read() as connection:
        assert connection.execute("SELECT count(*) FROM model_version").fetchone()[0] == 2


def test_retrain_alone_is_a_usage_error(frozen: SmallPool) -> None:
    outcome = frozen.run("evaluate", "--retrain")
    assert outcome.code == 2
    assert "--control --retrain" in outcome.err
