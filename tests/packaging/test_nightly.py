"""The recipes for cron and systemd: read by those programs, and run in the environments that they give."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from photos import write_labeler, write_photos
from repository import ROOT, run

SAMPLE = ROOT / "sample_configs" / "nightly"
CLASSES = ("cat", "crème", "other")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A ``dalcli`` that needs nothing of its environment, as one in a virtual environment."""
    file = tmp_path / "opt" / "bin" / "dalcli"
    file.parent.mkdir(parents=True)
    file.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m dalcli "$@"\n')
    file.chmod(0o755)
    return file


@pytest.fixture
def workspace(tmp_path: Path, program: Path) -> Path:
    """A workspace with 40 tiny images, made with the sample configuration cut down to two epochs."""
    folder = tmp_path / "data" / "phötos"
    truth = write_photos(folder / "photos", 40, CLASSES)
    write_labeler(tmp_path / "bin", truth)
    text = (SAMPLE / "dalcli.yaml").read_text(encoding="utf-8")
    small = text.replace("max_epochs: 200", "max_epochs: 2").replace("budget: 250 ", "budget: 8 ")
    small = small.replace("evaluation_budget: 100", "evaluation_budget: 2")
    assert small.count("max_epochs: 2 ") == small.count("  budget: 8 ") == small.count("evaluation_budget: 2 ") == 1
    (folder / "small.yaml").write_text(small + "threads: 1\n", encoding="utf-8")
    (folder / "inbox").mkdir()
    command = [program, "-C", folder, "init", folder / "photos", "--classes", ",".join(CLASSES)]
    made = run([*command, "--config", "small.yaml"], folder)
    assert made.returncode == 0, made.stderr
    return folder


def placed(line: str, program: Path, workspace: Path) -> str:
    assert "/opt/dalcli/bin/dalcli" in line
    assert "/data/photos" in line
    return line.replace("/opt/dalcli/bin/dalcli", str(program)).replace("/data/photos", str(workspace))


def in_nothing(line: str) -> subprocess.CompletedProcess[str]:
    """Run a line as cron does, but without even what cron sets: no HOME, PATH, locale or user."""
    command = ["env", "-i", "/bin/sh", "-c", line]
    return subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def test_nights_from_cron(program: Path, workspace: Path) -> None:
    lines = (SAMPLE / "crontab").read_text(encoding="utf-8").splitlines()
    (entry,) = (line for line in lines if "dalcli" in line and not line.startswith("#"))
    match = re.fullmatch(r"((?:\S+ ){5})(.*)", entry)
    assert match is not None
    assert "%" not in match[2]  # cron makes line ends of them
    line = placed(match[2], program, workspace)

    first = in_nothing(line)
    assert (first.returncode, first.stdout, first.stderr) == (0, "", "")
    batches = [workspace / "to_label.csv", workspace / "to_label.evaluation.csv"]
    asked = batches[0].read_bytes()
    assert asked.count(b"\n") == 9
    for batch in batches:
        labeled = run([workspace.parent.parent / "bin" / "label", batch, workspace / "inbox" / batch.name], workspace)
        assert labeled.returncode == 0, labeled.stderr

    second = in_nothing(line)
    assert second.returncode == 0
    assert all(said.startswith("warning: ") for said in second.stderr.splitlines())  # two epochs do not converge
    assert b",diverse-margin," in batches[0].read_bytes()
    assert batches[0].read_bytes() != asked
    assert (workspace / "measured.jsonl").read_text().count("\n") == 1
    log = (workspace / "run.log").read_text(encoding="utf-8")
    assert log.count("b-0003 issued") == 1

    third = in_nothing(line)
    assert (third.returncode, third.stderr) == (0, "")
    assert "batch b-0003 is out" in (workspace / "run.log").read_text(encoding="utf-8")


def test_cron_mails_a_refused_file(program: Path, workspace: Path) -> None:
    (workspace / "inbox" / "bad.csv").write_text("path,label\nphotos/IMG_0000.png,catt\n")
    (line,) = (line for line in (SAMPLE / "crontab").read_text().splitlines() if line.startswith("30 "))
    result = in_nothing(placed(line.split(maxsplit=5)[5], program, workspace))
    assert result.returncode == 3
    assert "error: inbox: 1 refused" in result.stderr
    assert "did you mean 'cat'?" in next((workspace / "inbox" / "refused").glob("*.why.txt")).read_text()


def units(folder: Path, program: Path, workspace: Path) -> list[Path]:
    """The units with paths that exist here; the user of this process stands in for theirs."""
    placed_units = []
    for name in ("dalcli-run.service", "dalcli-run.timer"):
        text = (SAMPLE / name).read_text(encoding="utf-8")
        text = text.replace("/opt/dalcli/bin/dalcli", str(program)).replace("/data/photos", str(workspace))
        (folder / name).write_text(text, encoding="utf-8")
        placed_units.append(folder / name)
    return placed_units


def test_systemd_understands_the_units(tmp_path: Path, program: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    found = run(["systemd-analyze", "verify", *units(tmp_path, program, tmp_path)], tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    broken = tmp_path / "dalcli-run.service"
    broken.write_text(broken.read_text().replace("Type=oneshot", "Type=onenight"))
    assert "onenight" in run(["systemd-analyze", "verify", broken], tmp_path).stderr  # so it does look
    (when,) = re.findall("OnCalendar=(.*)", (SAMPLE / "dalcli-run.timer").read_text())
    assert run(["systemd-analyze", "calendar", when], tmp_path).returncode == 0


def test_the_units_command_runs(program: Path, workspace: Path) -> None:
    (command,) = re.findall("ExecStart=(.*)", (SAMPLE / "dalcli-run.service").read_text())
    result = in_nothing(placed(command, program, workspace))
    assert (result.returncode, result.stderr) == (0, "")
    assert "b-0001 issued" in result.stdout


def test_a_run_that_is_still_at_work_is_no_failure_to_systemd() -> None:
    text = (SAMPLE / "dalcli-run.service").read_text()
    assert re.findall("SuccessExitStatus=(.*)", text) == ["4"]
