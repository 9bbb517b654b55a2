"""``tracking.jsonl``: every measurement once, whatever happens in between."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.nights import QUICK, answer, night
from tests.processes import SignalAtCall
from tests.small_pools import SmallPool

COSTS = {"currency": "EUR", "price_per_vote": 0.5, "price_per_round": 2}


@pytest.fixture
def measured(trained: SmallPool) -> SmallPool:
    """m-0001 and eight evaluation labels; nothing is measured."""
    trained.label(trained.pool(purpose="evaluation")[:8])
    return trained


def configure(pool: SmallPool, **sections: Any) -> None:
    pool.configure(tracking={"jsonl": "measured.jsonl"}, **sections)


def lines(pool: SmallPool) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (pool.root / "measured.jsonl").read_text().splitlines()]


def test_what_is_logged_is_what_evaluate_says(measured: SmallPool) -> None:
    configure(measured, costs=COSTS)
    report = measured.json("evaluate")["report"]
    (line,) = lines(measured)
    assert (line["version"], line["labels"], line["strategies"]) == ("m-0001", 14, [""])
    assert line["accuracy"] == report["accuracy"]
    assert (line["accuracy_low"], line["accuracy_high"]) == (
        report["accuracy_interval"]["low"], report["accuracy_interval"]["high"],
    )  # fmt: skip
    assert (line["nll"], line["ece"], line["macro_recall"]) == (
        report["nll"], report["ece"], report["macro"]["recall"],
    )  # fmt: skip
    assert line["evaluation_examples"] == 8
    assert (line["votes_bought"], line["cost"]) == (0, 0)  # nothing was handed out: no label was bought
    assert line["params"]["seed"] == "3"
    assert line["params"]["strategy"] == "diverse-margin"


def test_once(measured: SmallPool) -> None:
    configure(measured)
    for _ in range(3):
        measured.ok("evaluate")
    assert len(lines(measured)) == 1
    measured.label(measured.pool("unlabeled", purpose="evaluation"))
    measured.ok("evaluate")  # on other labels: another measurement
    assert lines(measured)[0]["evaluation_examples"] == 8
    assert len({line["measurement"] for line in lines(measured)}) == 2


def test_measurements_from_before_tracking_was_configured_are_logged_then(measured: SmallPool) -> None:
    measured.ok("evaluate")
    assert not (measured.root / "measured.jsonl").exists()
    configure(measured)
    measured.ok("evaluate")
    assert len(lines(measured)) == 1


def test_money_is_that_of_the_time_of_the_measurement(measured: SmallPool) -> None:
    batch = measured.ok("query", "--budget", "3").out.splitlines()[1:]
    measured.ok("evaluate")
    import time

    time.sleep(1.1)  # times are kept in seconds
    measured.label([{"sample_id": row.split(",")[0], "path": row.split(",")[1]} for row in batch])
    configure(measured, costs=COSTS)
    measured.ok("train")
    measured.ok("evaluate")
    assert [line["cost"] for line in lines(measured)] == [2.0, 2.0 + 3 * 0.5]
    assert [line["votes_bought"] for line in lines(measured)] == [0, 3]
    assert measured.json("plan")["standing"]["spent"]["money"] == 3.5


def test_killed_between_the_line_and_the_database(measured: SmallPool) -> None:
    configure(measured)
    outcome = processes.run(measured, ["evaluate"], SignalAtCall("dalcli.state.tracking:remember"))
    assert outcome.code == -signal.SIGKILL
    assert len(lines(measured)) == 1
    measured.ok("evaluate")
    assert len(lines(measured)) == 1


@pytest.mark.parametrize("name", ["no/folder.jsonl", "photos"])
def test_a_file_that_cannot_be_written_is_warned_of_and_tried_again(measured: SmallPool, name: str) -> None:
    measured.configure(tracking={"jsonl": name})
    outcome = measured.run("evaluate")
    assert outcome.code == 0
    assert f"warning: {name}: " in outcome.err
    assert "1 measurement waits for the next time" in outcome.err
    configure(measured)
    measured.ok("evaluate")
    assert len(lines(measured)) == 1


def test_a_night_logs_too(measured: SmallPool) -> None:
    configure(measured, run=QUICK)
    (measured.root / "inbox").mkdir()
    night(measured)
    answer(measured)
    found = night(measured)
    assert [line["version"] for line in lines(measured)] == ["m-0001", "m-0002"]
    assert lines(measured)[1]["strategies"] == ["", "diverse-margin"]
    (track,) = (step for step in found["steps"] if step["step"] == "track")
    assert track["details"]["logged"] == {"measured.jsonl": 1}


def test_the_hash_of_the_configuration_tells_what_shapes_models(measured: SmallPool, tmp_path: Path) -> None:
    from dalcli.config.loading import parse
    from dalcli.tracking.entry import config_hash

    plain = config_hash(parse("seed: 1"))
    assert config_hash(parse("seed: 1\ncosts: {price_per_vote: 3}\nrun: {inbox: other}\nplan: {target: 0.9}")) == plain
    assert config_hash(parse("seed: 2")) != plain
    assert config_hash(parse("seed: 1\nquery: {strategy: badge}")) != plain
