"""Running the real command line: in this process through ``main(argv)``, or as a process of its own.

Typer's CliRunner would bypass the error handler that decides about exit codes and messages.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from dalcli.cli.main import main

ARGUMENTS = (sys.executable, "-m", "dalcli")
REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: bytes
    err: str

    @property
    def rows(self) -> list[dict[str, str]]:
        """stdout read as CSV."""
        return list(csv.DictReader(io.StringIO(self.out.decode(), newline="")))

    @property
    def json(self) -> Any:
        """stdout read as JSON."""
        return json.loads(self.out)


def run(cwd: Path, *arguments: str | Path, stdin: bytes = b"") -> Outcome:
    """One command line in this process, with ``cwd`` as its current directory."""
    out, err = io.BytesIO(), io.BytesIO()
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(stdin)),
        "stdout": io.TextIOWrapper(out, encoding="utf-8"),
        "stderr": io.TextIOWrapper(err, encoding="utf-8", errors="backslashreplace"),
    }
    with contextlib.chdir(cwd), mock.patch.multiple(sys, **streams):
        code = main([str(argument) for argument in arguments])
        sys.stdout.flush()
        sys.stderr.flush()
        outcome = Outcome(int(code), out.getvalue(), err.getvalue().decode())
    check_errors(outcome)
    return outcome


def ok(cwd: Path, *arguments: str | Path, stdin: bytes = b"") -> Outcome:
    """Like :func:`run`, for command lines that must succeed."""
    outcome = run(cwd, *arguments, stdin=stdin)
    assert outcome.code == 0, outcome.err
    return outcome


def start(
    cwd: Path, *arguments: str | Path, env: dict[str, str] | None = None, **options: Any
) -> subprocess.Popen[bytes]:
    """One command line as a process of its own; streams are pipes unless ``options`` say otherwise."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*ARGUMENTS, *map(str, arguments)], cwd=cwd, env=environment(env), **(streams | options))


def run_process(cwd: Path, *arguments: str | Path, env: dict[str, str] | None = None, **options: Any) -> Outcome:
    """Like :func:`run`, in a process of its own."""
    return finish(start(cwd, *arguments, env=env, **options))


def finish(process: subprocess.Popen[bytes]) -> Outcome:
    """Wait for a started process."""
    out, err = process.communicate(timeout=120)
    outcome = Outcome(process.returncode, out or b"", (err or b"").decode())
    check_errors(outcome)
    return outcome


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that finds this checkout wherever it runs, warnings being errors."""
    known = {name: value for name, value in os.environ.items() if name != "DALCLI_WORKSPACE"}
    return known | {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error::ResourceWarning"} | (extra or {})


def check_errors(outcome: Outcome) -> None:
    """What holds for every command line: no traceback, and a failure says what happened."""
    assert "Traceback" not in outcome.err, outcome.err
    assert b"Traceback" not in outcome.out
    verdict = outcome.code in {10, 11, 12, 13}  # of `plan --exit-code`: it has answered
    if outcome.code not in {0, 130, 143} and not verdict:
        assert "error: " in outcome.err or "Usage: " in outcome.err, outcome
        assert outcome.out == b"", outcome.out


def message(outcome: Outcome) -> list[str]:
    """The lines of an error without the indented list of problems: at most two."""
    lines = outcome.err.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("error: "))
    found = [line for line in lines[start:] if not line.startswith("  ")]
    assert len(found) <= 2, outcome.err
    return found


def problems(outcome: Outcome) -> list[str]:
    """The indented list of an error."""
    return [line.removeprefix("  ") for line in outcome.err.splitlines() if line.startswith("  ")]


def write_labels(path: Path, rows: Sequence[dict[str, str]], **labels: str) -> Path:
    """A label file from rows of a batch; ``labels`` by sample id (or ``all_of_them``) fill the label column."""
    everything = labels.get("all_of_them")
    filled = [{**row, "label": labels.get(row.get("sample_id", ""), everything or row["label"])} for row in rows]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(filled[0]))
        writer.writeheader()
        writer.writerows(filled)
    return path
