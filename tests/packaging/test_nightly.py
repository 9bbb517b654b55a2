"""The nightly script: a real night twice, and what it does with every exit code."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from photos import write_labeler, write_photos
from repository import ROOT, environment, run

SAMPLE = ROOT / "sample_configs" / "nightly"
CLASSES = ("cat", "dog", "other")


def night(workspace: Path, *first_in_path: Path) -> subprocess.CompletedProcess[str]:
    return run(["bash", SAMPLE / "nightly.sh", workspace], workspace.parent, environment(*first_in_path))


def sample_ids(batch: bytes) -> set[bytes]:
    return {line.partition(b",")[0] for line in batch.splitlines()[1:]}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with 40 tiny images, made with the sample configuration cut down to two epochs."""
    folder = tmp_path / "work space"
    truth = write_photos(folder / "photos", 40, CLASSES)
    write_labeler(tmp_path / "bin", truth)
    text = (SAMPLE / "dalcli.yaml").read_text(encoding="utf-8")
    small = text.replace("max_epochs: 200", "max_epochs: 2").replace("budget: 250 ", "budget: 8 ")
    assert small.count("max_epochs: 2 ") == small.count("budget: 8 ") == 1
    (folder / "small.yaml").write_text(small + "threads: 1\n", encoding="utf-8")
    made = run(
        ["dalcli", "-C", folder, "init", folder / "photos", "--classes", ",".join(CLASSES), "--config", "small.yaml"],
        folder,
    )
    assert made.returncode == 0, made.stderr
    return folder


def test_nights_hand_out_batches_and_a_second_run_does_nothing(workspace: Path) -> None:
    bin_folder = workspace.parent / "bin"
    batch = workspace / "outbox" / "to_label.csv"

    first = night(workspace, bin_folder)
    assert (first.returncode, first.stderr) == (0, "")
    asked = batch.read_bytes()
    assert asked.count(b"\n") == 9
    assert b",random," in asked  # nothing is labeled yet: a cold start

    run(["label", batch, workspace / "inbox" / "monday.csv"], workspace, environment(bin_folder))
    second = night(workspace, bin_folder)
    assert (second.returncode, second.stderr) == (0, "")
    assert "dalcli train: exit 0" in second.stdout
    next_asked = batch.read_bytes()
    assert b",diverse-margin," in next_asked
    assert not sample_ids(asked) & sample_ids(next_asked)
    assert [path.name.endswith("-monday.csv") for path in (workspace / "inbox" / "done").iterdir()] == [True]
    assert not list((workspace / "inbox").glob("*.csv"))

    models = sorted((workspace / ".dalcli" / "models").iterdir())
    again = night(workspace, bin_folder)
    assert (again.returncode, again.stderr) == (0, "")
    assert batch.read_bytes() == next_asked
    assert sorted((workspace / ".dalcli" / "models").iterdir()) == models


def test_a_bad_label_file_is_reported_and_the_night_goes_on(workspace: Path) -> None:
    inbox = workspace / "inbox"
    inbox.mkdir()
    (inbox / "bad.csv").write_text("path,label\nphotos/IMG_0000.png,catt\n")
    result = night(workspace)
    assert result.returncode == 3
    assert "dalcli ingest-labels: exit 3" in result.stderr
    assert "did you mean 'cat'?" in result.stderr
    assert (inbox / "bad.csv").exists()
    assert (workspace / "outbox" / "to_label.csv").exists()


@pytest.fixture
def scripted(tmp_path: Path) -> Path:
    """A folder with a ``dalcli`` that says and exits what the file ``exits`` tells: lines of command and status."""
    folder = tmp_path / "scripted"
    folder.mkdir()
    program = folder / "dalcli"
    program.write_text(
        f'#!/bin/sh\nshift\necho "$1" >> "{folder}/calls"\necho "error: $1 said so" >&2\n'
        f'exit "$(sed -n "s/^$1 //p" "{folder}/exits")"\n'
    )
    program.chmod(0o755)
    return folder


def scripted_night(scripted: Path, **exits: int) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """A night in which each command ends with the given status, and the commands that were run."""
    statuses = dict.fromkeys(("ingest-labels", "train", "evaluate", "score", "plan", "query"), 0) | exits
    (scripted / "exits").write_text("".join(f"{name} {status}\n" for name, status in statuses.items()))
    workspace = scripted.parent / "workspace"
    shutil.rmtree(workspace, ignore_errors=True)
    (workspace / "inbox").mkdir(parents=True)
    (workspace / "inbox" / "labels.csv").write_text("path,label\n")
    result = night(workspace, scripted)
    return result, (scripted / "calls").read_text().split()


def test_all_is_well(scripted: Path) -> None:
    result, calls = scripted_night(scripted)
    assert (result.returncode, result.stderr) == (0, "")
    assert calls == ["ingest-labels", "train", "evaluate", "score", "plan", "query"]


@pytest.mark.parametrize("command", ["train", "score"])
def test_a_locked_workspace_is_skipped_quietly(scripted: Path, command: str) -> None:
    result, calls = scripted_night(scripted, **{command: 4})
    assert (result.returncode, result.stderr) == (0, "")
    assert calls[-1] == command
    assert "stopping" not in result.stdout


@pytest.mark.parametrize(("command", "status"), [("score", 5), ("query", 5), ("query", 6)])
def test_not_ready_and_nothing_left_stop_with_dalclis_message_in_the_log(
    scripted: Path, command: str, status: int
) -> None:
    result, calls = scripted_night(scripted, **{command: status})
    assert (result.returncode, result.stderr) == (0, "")
    assert calls[-1] == command
    assert result.stdout.endswith(f"exit {status}\nerror: {command} said so\nstopping here\n")


@pytest.mark.parametrize(
    ("command", "status"), [("ingest-labels", 1), ("train", 1), ("evaluate", 3), ("score", 70), ("query", 143)]
)
def test_anything_else_is_mailed_and_ends_the_night(scripted: Path, command: str, status: int) -> None:
    result, calls = scripted_night(scripted, **{command: status})
    assert result.returncode == status
    assert calls[-1] == command
    assert f"dalcli {command}: exit {status} in " in result.stderr
    assert f"error: {command} said so" in result.stderr


def test_no_labels_yet_still_hands_out_a_first_batch(scripted: Path) -> None:
    result, calls = scripted_night(scripted, train=5)
    assert (result.returncode, result.stderr) == (0, "")
    assert calls == ["ingest-labels", "train", "query"]


def test_no_evaluation_labels_do_not_stop_the_night(scripted: Path) -> None:
    result, calls = scripted_night(scripted, evaluate=5)
    assert (result.returncode, result.stderr) == (0, "")
    assert calls[-1] == "query"


@pytest.mark.parametrize("status", [10, 11])
def test_a_target_that_is_proven_or_out_of_reach_is_mailed_and_nothing_is_handed_out(
    scripted: Path, status: int
) -> None:
    result, calls = scripted_night(scripted, plan=status)
    assert result.returncode == 0
    assert calls[-1] == "plan"
    assert f"dalcli plan: exit {status} in " in result.stderr


@pytest.mark.parametrize("status", [12, 13])
def test_a_plan_that_cannot_tell_yet_hands_out_the_next_batch(scripted: Path, status: int) -> None:
    result, calls = scripted_night(scripted, plan=status)
    assert (result.returncode, result.stderr) == (0, "")
    assert calls[-1] == "query"


@pytest.mark.parametrize("status", [0, 3])
def test_a_label_file_that_another_run_has_just_taken_is_no_trouble(scripted: Path, status: int) -> None:
    program = scripted / "dalcli"
    program.write_text(program.read_text().replace("shift\n", 'shift\n[ "$1" != ingest-labels ] || rm -- "$2"\n'))
    result, calls = scripted_night(scripted, **{"ingest-labels": status})
    assert (result.returncode, result.stderr) == (0, "")
    assert calls == ["ingest-labels", "train", "evaluate", "score", "plan", "query"]


def test_a_missing_workspace_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    result = night(tmp_path / "nowhere", tmp_path / "bin")
    assert result.returncode != 0
    assert "nowhere" in result.stderr


def test_crontab_runs_the_script_with_its_log_apart_from_the_mail() -> None:
    lines = (SAMPLE / "crontab").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if "nightly.sh" in line and not line.startswith("#"))
    assert len(line.split()[:5]) == 5
    assert line.split()[5].endswith("/nightly.sh")
    assert ">>" in line
    assert "2>" not in line
