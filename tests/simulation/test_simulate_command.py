"""``dalcli simulate`` from the command line, on a folder of tiny images."""

from __future__ import annotations

import csv
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from dalcli_runner import message, ok, problems, run
from simulations import rows, things, write
from workspaces import ask

from dalcli.simulation.tasks import BaseTask, TaskFailed
from dalcli.simulation.workers import Workers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images, a configuration whose cells are all done, and its results."""
    root = tmp_path_factory.mktemp("simulation")
    things(root / "things")
    ok(root, "simulate", write(root / "small.yaml"), "--jobs", "2", "--keep", "-q")
    return root


@pytest.fixture
def results(folder: Path) -> Path:
    return folder / "small-results"


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    yield


def test_every_round_of_every_cell_is_there(results: Path) -> None:
    by_cell = defaultdict(list)
    for row in rows(results):
        by_cell[row["strategy"], row["seed"]].append(row)
    assert set(by_cell) == {(s, n) for s in ("random", "margin") for n in ("0", "1")}
    for found in by_cell.values():
        assert [row["labels"] for row in found] == ["6", "10", "14"]
        assert [row["round"] for row in found] == ["0", "1", "2"]
        assert {row["test_images"] for row in found} == {"9"}  # a fifth of 14, three times


def samples(root: Path, purpose: str) -> set[object]:
    return {row[0] for row in ask(root, f"SELECT sample_id FROM sample WHERE purpose = '{purpose}'")}


def test_strategies_of_a_seed_share_start_and_test_set_and_seeds_do_not(results: Path) -> None:
    starts = {}
    for root in (results / "work" / "cells").iterdir():
        seed = yaml.safe_load((root / "dalcli.yaml").read_text())["seed"]
        first = ok(root, "query", "--new", "--key", "round-0", "--budget", "6", "-q").rows
        starts[root.name.split("-")[0], seed] = ({row["sample_id"] for row in first}, samples(root, "evaluation"))
    assert len(starts) == 4
    assert starts["random", 0] == starts["margin", 0]
    assert starts["random", 1] == starts["margin", 1]
    assert starts["random", 0][0] != starts["random", 1][0]
    assert starts["random", 0][1] != starts["random", 1][1]


def test_cells_are_what_the_commands_themselves_give(folder: Path, results: Path, tmp_path: Path) -> None:
    """One engine: the same workspace driven by hand, command after command, measures the same."""
    [cell] = (results / "work" / "cells").glob("margin*seed-0-*")
    settings = yaml.safe_load((cell / "dalcli.yaml").read_text())
    (tmp_path / "dalcli.yaml").write_text(yaml.safe_dump(settings))
    truths = [_truth(draw) for draw in (results / "work" / "draws").iterdir()]
    [(draw, truth)] = [(draw, truth) for draw, truth in truths if truth.keys() == samples(cell, "training")]
    ok(tmp_path, "init", draw / "pool.csv", "--test", draw / "test.csv", "-q")
    measured = []
    for budget in ("6", "4", "4"):
        batch = ok(tmp_path, "query", "--budget", budget, "-q").rows
        text = "".join(f"{row['sample_id']},{truth[row['sample_id']]}\n" for row in batch)
        (tmp_path / "answers.csv").write_text("sample_id,label\n" + text)
        ok(tmp_path, "ingest-labels", "answers.csv", "-q")
        ok(tmp_path, "train", "-q")
        measured.append(ok(tmp_path, "evaluate", "--json", "-q").json["report"])
    simulated = [row for row in rows(results) if (row["strategy"], row["seed"]) == ("margin", "0")]
    assert [str(report["accuracy"]) for report in measured] == [row["accuracy"] for row in simulated]
    assert [report["nll"] for report in measured] == pytest.approx([float(row["nll"]) for row in simulated], rel=1e-6)


def _truth(draw: Path) -> tuple[Path, dict[str, str]]:
    with (draw / "answers.csv").open(newline="") as file:
        return draw, {row["sample_id"]: row["truth"] for row in csv.DictReader(file)}


@pytest.mark.usefixtures("no_process")
def test_once_done_it_only_prints_and_prints_the_same(folder: Path, results: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.*")}
    first = ok(folder, "simulate", "small.yaml")
    assert "up to date: all 4 cells are done" in first.err
    assert ok(folder, "simulate", "small.yaml").out == first.out == ok(folder, "simulate", "small.yaml", "--report").out
    text = first.out.decode()
    for words in ("4 of 4 cells done", "minus random [95%]", "labels needed (saved versus random)", "for 50%"):
        assert words in text
    assert "fewer than 3 give no interval" in text
    kept = {path: path.stat().st_mtime_ns for path in results.rglob("*.*")}
    assert {path: kept.get(path) for path in before if "work" not in path.parts} == {
        path: time for path, time in before.items() if "work" not in path.parts
    }
    document = ok(folder, "simulate", "small.yaml", "--json").json
    assert list(document) == [
        "title", "output", "cells", "done", "seeds", "baseline", "confidence", "settings", "files",
    ]  # fmt: skip
    assert list(document["settings"][0]) == ["setting", "labels", "test_images", "strategies"]
    assert list(document["settings"][0]["strategies"][0]) == [
        "strategy", "cells", "done", "accuracy", "area", "macro_accuracy", "balance", "batch_balance",
        "versus_baseline", "versus_best_other", "needed", "seconds", "converged",
    ]  # fmt: skip
    assert json.loads((results / "summary.json").read_text())["settings"] == document["settings"]
    assert (results / "curves.svg").read_text().startswith("<svg")


@pytest.mark.usefixtures("no_process")
@pytest.mark.parametrize(
    ("keys", "left", "starts"),
    [
        ({"strategies": ["entropy", "random", "margin"]}, 4, 0),
        ({"seeds": 3}, 4, 1),
        ({"rounds": 1, "baseline": "margin"}, 0, 0),
        ({"label_noise": 0.2}, 8, 2),
    ],
)
def test_other_cells_leave_finished_ones_alone(folder: Path, keys: dict[str, object], left: int, starts: int) -> None:
    changed = write(folder / "changed.yaml", **keys)
    told = ok(folder, "simulate", changed, "-o", "small-results", "--dry-run", "--json").json
    assert (told["rounds"], told["starts"]) == (left, starts)
    assert (told["seconds"] is None) == ("label_noise" in keys)  # nothing of that kind is known yet


@pytest.mark.usefixtures("no_process")
def test_a_round_more_keeps_what_is_known(folder: Path) -> None:
    more = write(folder / "more.yaml", rounds=3)
    told = ok(folder, "simulate", more, "-o", "small-results", "--dry-run", "--json").json
    assert (told["done"], told["rounds"]) == (0, 4)  # the workspaces were kept: a round each
    report = ok(folder, "simulate", more, "-o", "small-results", "--report", "--json").json
    [setting] = report["settings"]
    assert setting["labels"] == [6, 10, 14, 18]
    assert [e and e["seeds"] for e in setting["strategies"][0]["accuracy"]] == [2, 2, 2, None]
    ok(folder, "simulate", "small.yaml", "--report", "-q")


def test_failed_cells_are_told_with_their_log_and_the_others_are_done(tmp_path: Path) -> None:
    things(tmp_path / "things", 6)
    diverging = {"training": {"learning_rate": 1e30, "optimizer": "sgd"}}
    config = write(
        tmp_path / "c.yaml", seeds=1, rounds=1, strategies=["random"], variants={"bad": diverging, "good": {}}
    )
    outcome = run(tmp_path, "simulate", config, "--jobs", "1")
    assert outcome.code == 1
    said = message(outcome)[0]
    assert "1 of 2 cells failed, first random, bad, 4 a round, seed 0: its start (seed 0, bad, start random): " in said
    assert "training diverged" in said
    log = Path(outcome.err.split("log: ")[1].splitlines()[0])
    assert "training diverged" in log.read_text()
    output = tmp_path / "c-results"
    assert [row["variant"] for row in rows(output)] == ["good", "good"]
    assert not list((output / "work").glob("cells/*"))  # what is finished leaves no workspace


def crashing(tmp_path: Path) -> BaseTask:
    """A task that no worker expects to fail: it ends the process with a traceback."""
    (tmp_path / "draw").mkdir()
    (tmp_path / "draw" / "answers.csv").write_text("sample_id,truth\n0,cat\n")  # no answer
    log, cache = tmp_path / "log", tmp_path / "cache"
    return BaseTask(tmp_path / "root", tmp_path / "draw", cache, log, classes=("cat", "dog"), settings={}, budget=1)


def test_a_process_that_dies_is_a_failure_and_another_takes_its_place(tmp_path: Path) -> None:
    task = crashing(tmp_path)
    with Workers(1, 1) as workers:
        for _ in range(2):
            workers.give(task)
            assert not workers.any_free
            assert workers.next_event() == (0, TaskFailed("its process ended with status 1"))
            assert "KeyError: 'answer'" in task.log.read_text()
            assert workers.any_free


def test_a_process_that_died_between_two_tasks_does_not_fail_the_next_one(tmp_path: Path) -> None:
    task = crashing(tmp_path)
    with Workers(1, 1) as workers:
        workers.give(task)
        workers.next_event()
        died = workers._processes[0]
        workers._events.put((0, died, TaskFailed("its process was killed by signal 9")))
        workers.give(task)
        assert workers.next_event() == (0, TaskFailed("its process ended with status 1"))  # its own end
        assert workers.any_free


def test_broken_configurations_say_where_and_what(tmp_path: Path) -> None:
    things(tmp_path / "things", 4)
    (tmp_path / "c.yaml").write_text(
        "source: {kind: folder, path: things}\n"
        "strategies:\n  - random\n  - {name: dynamical, gama: 1}\n"
        "initial_labels: 4\nbatch_size: 4\nrounds: 1\nworkspace:\n  modle: {name: cnn}\n"
    )
    outcome = run(tmp_path, "simulate", "c.yaml")
    assert (outcome.code, message(outcome)[0]) == (3, "error: c.yaml: 4 problems")
    assert problems(outcome) == [
        "line 1: batch_sizes: Field required",
        "line 4: strategies.1.gama: unknown key: did you mean 'gamma'?",
        "line 6: batch_size: unknown key: did you mean 'batch_sizes'?",
        "line 9: workspace.modle: unknown key: did you mean 'model'?",
    ]
    assert not (tmp_path / "c-results").exists()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"strategies": ["random", "margn"]}, "line 6: strategies.1: unknown strategy 'margn': did you mean 'margin'?"),
        ({"initial_choice": "randon"}, "initial_choice.0: unknown strategy 'randon': did you mean 'random'?"),
        ({"strategies": ["margin", "margin"]}, "strategies.1: 'margin' is there twice: give one of them a label"),
        ({"baseline": "marginn"}, "baseline: 'marginn' is none of the strategies: did you mean 'margin'?"),
        ({"budget": 8}, "budget: says the same as rounds: remove one"),
        ({"rounds": None, "budget": 9}, "batch_sizes.0: 4 does not divide the budget of 9"),
        ({"seeds": [1, 1]}, "seeds.1: 1 is there twice"),
        ({"workspace": {"seed": 1}}, "workspace: seed is set by the simulation: remove it"),
        (
            {"variants": {"a": {"training": {"min_epochs": 5}}}},
            "variants.a: with the keys of workspace: min_epochs (5) is larger than max_epochs (3)",
        ),
    ],
)
def test_contradictions_are_found_before_anything_runs(tmp_path: Path, keys: dict[str, object], expected: str) -> None:
    outcome = run(tmp_path, "simulate", write(tmp_path / "c.yaml", **keys))
    assert outcome.code == 3
    [problem] = problems(outcome)
    assert problem.startswith("line ")
    assert expected in problem


def test_wrong_sources_and_too_small_pools_are_refused(tmp_path: Path) -> None:
    config = write(tmp_path / "c.yaml")
    assert "things: no such folder" in message(run(tmp_path, "simulate", config))[0]
    things(tmp_path / "things", 5)
    outcome = run(tmp_path, "simulate", config)
    assert outcome.code == 3
    assert "are 14 labels, and the pool of seed 0 has 12 images" in message(outcome)[0]
    (tmp_path / "taken").touch()
    assert "taken: is not a folder" in message(run(tmp_path, "simulate", config, "-o", "taken"))[0]
    write(config, source="digits", workspace={"threads": 0})
    assert "workspace.threads" in problems(run(tmp_path, "simulate", config))[0]
    write(config, source={"kind": "foldr", "path": "x"})
    assert (
        "line 1: source: unknown kind 'foldr': did you mean 'folder'?" in message(run(tmp_path, "simulate", config))[0]
    )


def test_options_that_exclude_each_other_and_nothing_to_report(tmp_path: Path) -> None:
    things(tmp_path / "things", 6)
    config = write(tmp_path / "c.yaml", rounds=1)
    assert run(tmp_path, "simulate", config, "--report", "--dry-run").code == 2
    assert run(tmp_path, "simulate", config, "--jobs", "0").code == 2
    outcome = run(tmp_path, "simulate", config, "--report")
    assert (outcome.code, "no cell is finished yet" in outcome.err) == (5, True)


def test_printing_never_imports_torch(folder: Path) -> None:
    program = (
        "import sys; from dalcli.cli.main import main; main(['simulate', 'small.yaml', '-q']);"
        "main(['simulate', 'small.yaml', '--dry-run', '-q']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'scipy', 'matplotlib')))"
    )
    done = run_python(folder, program)
    assert done.returncode == 0, done.stderr


def run_python(cwd: Path, program: str) -> subprocess.CompletedProcess[bytes]:
    import sys

    from dalcli_runner import environment

    return subprocess.run([sys.executable, "-c", program], cwd=cwd, env=environment(), capture_output=True, timeout=60)
