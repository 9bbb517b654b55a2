"""``make`` and ``.ci/run``: what they install, when, and what they answer. Python and make are stand-ins here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from repository import ROOT, environment, run

# Plays the interpreter: passes the version check, makes a .venv of itself, and writes down everything else.
INTERPRETER = """\
#!/bin/sh
case "$1 $2" in
  "--version ") echo "Python 3.{minor}.0" ;;
  "-c import sys"*) exit {too_old} ;;
  "-c import pip") ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *) echo "$@" >> "{log}" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Makefile and pyproject.toml alone, and a stand-in for Python."""
    folder = tmp_path / "check out"
    (folder / "sample_configs" / "digits").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    demo = folder / "sample_configs" / "digits" / "demo.sh"
    demo.write_text('echo "first in PATH: ${PATH%%:*}"\n')
    write_interpreter(tmp_path, minor=11, too_old=0)
    return folder


def write_interpreter(folder: Path, minor: int, too_old: int) -> None:
    program = folder / "python"
    program.write_text(INTERPRETER.format(minor=minor, too_old=too_old, log=folder / "calls"))
    program.chmod(0o755)


def make(checkout: Path, *words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run make, and what the stand-in was asked meanwhile."""
    log = checkout.parent / "calls"
    log.unlink(missing_ok=True)
    # A make that runs these tests must not hand its own flags down.
    env = {name: value for name, value in environment().items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    result = run(["make", *words, f"PYTHON={checkout.parent / 'python'}"], checkout, env)
    return result, log.read_text().splitlines() if log.exists() else []


INSTALL = "-m pip install -qq --disable-pip-version-check --editable .[test,lint]"


def test_demo_and_test_share_one_environment_that_is_installed_once(checkout: Path) -> None:
    result, calls = make(checkout, "demo")
    assert result.returncode == 0, result.stderr
    assert calls == [INSTALL]
    assert result.stdout == f"first in PATH: {checkout / '.venv' / 'bin'}\n"
    assert make(checkout, "demo")[1] == []
    assert make(checkout, "test", "ARGS=-k engine")[1] == ["-m pytest -k engine"]


def test_a_changed_pyproject_installs_again(checkout: Path) -> None:
    make(checkout, "test")
    later = (checkout / "Makefile").stat().st_mtime + 3600
    os.utime(checkout / "pyproject.toml", (later, later))
    assert make(checkout, "test")[1] == [INSTALL, "-m pytest"]


def test_a_moved_checkout_installs_again(checkout: Path) -> None:
    make(checkout, "test")
    moved = checkout.rename(checkout.parent / "moved")
    assert make(moved, "test")[1] == [INSTALL, "-m pytest"]
    assert make(moved, "test")[1] == ["-m pytest"]


def test_an_old_python_is_refused_with_the_remedy(checkout: Path) -> None:
    write_interpreter(checkout.parent, minor=10, too_old=1)
    result, calls = make(checkout, "demo")
    assert result.returncode != 0
    assert "dalcli needs Python 3.11 or newer" in result.stderr
    assert "Python 3.10.0" in result.stderr
    assert "make demo PYTHON=python3.12" in result.stderr
    assert calls == []
    assert not (checkout / ".venv").exists()


def test_help_is_the_default_and_lists_every_target(checkout: Path) -> None:
    result, calls = make(checkout)
    phony = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    assert [line.split()[0] for line in result.stdout.splitlines()] == phony.split()[1:]
    assert calls == []


def test_clean_leaves_the_repository_and_nothing_else(checkout: Path) -> None:
    make(checkout, "test")
    (checkout / "demo").mkdir()
    result, _ = make(checkout, "clean")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in checkout.iterdir()) == ["Makefile", "pyproject.toml", "sample_configs"]


@pytest.mark.parametrize(("lint", "test", "expected"), [(0, 0, 0), (2, 0, 1), (0, 2, 1), (2, 2, 1)])
def test_ci_runs_lint_and_tests_always_and_fails_with_either(
    tmp_path: Path, lint: int, test: int, expected: int
) -> None:
    stand_in = tmp_path / "make"
    stand_in.write_text(f'#!/bin/sh\necho "make $*"\n[ "$1" = lint ] && exit {lint}\necho "1 passed"\nexit {test}\n')
    stand_in.chmod(0o755)
    result = run(["bash", ROOT / ".ci" / "run"], tmp_path, environment(tmp_path))
    assert result.returncode == expected
    assert result.stdout.splitlines() == ["make lint", "make test", "1 passed"]
