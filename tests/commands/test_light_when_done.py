"""What has nothing to compute does not import torch: cron runs these commands night after night."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_pools import SmallPool

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from dalcli.cli.main import main
code = main(sys.argv[1:])
sys.exit("torch was imported" if "torch" in sys.modules else code)
"""


def light(pool: SmallPool, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a fresh interpreter; fails if it imported torch."""
    command = [sys.executable, "-c", PROGRAM, *arguments, "-C", str(pool.root)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("command", [["train"], ["evaluate"], ["query", "--budget", "3"], ["status"]])
def test_torch_is_not_imported(scored: SmallPool, command: list[str]) -> None:
    if command == ["evaluate"]:
        scored.label(scored.pool(purpose="evaluation"))
        scored.ok("evaluate")
    completed = light(scored, *command)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout


def test_a_second_night_does_not_import_it_either(scored: SmallPool) -> None:
    scored.label(scored.pool(purpose="evaluation"))
    scored.configure(run={"settle": 0}, tracking={"jsonl": "measured.jsonl"})
    scored.ok("run", "--budget", "3")
    completed = light(scored, "run", "--budget", "3")
    assert completed.returncode == 0, completed.stderr
    assert "batch b-0001 is out" in completed.stdout


def test_the_check_notices_torch(trained: SmallPool) -> None:
    assert "torch was imported" in light(trained, "score").stderr


def test_a_real_process_trains_scores_and_queries_like_this_one(labeled: SmallPool, scored: SmallPool) -> None:
    def program(*arguments: str) -> str:
        command = [sys.executable, "-m", "dalcli", *arguments, "-C", str(labeled.root)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    program("train")
    program("score")
    assert program("query", "--budget", "4") == scored.ok("query", "--budget", "4").out
