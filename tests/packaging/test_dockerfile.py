"""What can be known about the Dockerfile without building it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from dockerfile import Step, read
from repository import ROOT, run

PATH = ROOT / "Dockerfile"


@pytest.fixture(scope="module")
def steps() -> list[Step]:
    return read(PATH)


def position(steps: list[Step], word: str, text: str) -> int:
    (place,) = (place for place, step in enumerate(steps) if step.word == word and text in step.text)
    return place


def test_base_is_slim_and_exchangeable(steps: list[Step]) -> None:
    assert steps[0].word == "ARG"
    assert re.fullmatch(r"python:3\.1[1-9]-slim", steps[0].pairs()["BASE_IMAGE"])
    assert [step.text for step in steps if step.word == "FROM"] == ["${BASE_IMAGE}"]


def test_program_never_runs_as_root(steps: list[Step]) -> None:
    users = [place for place, step in enumerate(steps) if step.word == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", steps[users[-1]].text)
    assert users[-1] > max(place for place, step in enumerate(steps) if step.word in {"RUN", "COPY"})


def test_no_index_is_named_and_both_are_arguments(steps: list[Step]) -> None:
    text = PATH.read_text(encoding="utf-8")
    assert not re.search(r"://|\b[\w-]+\.(org|com|io|net|dev)\b", text)
    arguments: dict[str, str] = {}
    for step in steps:
        arguments |= step.pairs() if step.word == "ARG" else {}
    assert arguments["PIP_INDEX_URL"] == arguments["TORCH_INDEX_URL"] == ""
    # An index must not stay in the image's environment.
    assert not any("INDEX" in step.text for step in steps if step.word == "ENV")


def test_dependencies_are_installed_before_our_source_is_copied(steps: list[Step]) -> None:
    torch = position(steps, "RUN", "--requirement torch.txt")
    others = position(steps, "RUN", "--requirement requirements.txt")
    source = position(steps, "COPY", "dalcli")
    assert torch < others < source
    copied_before = [step.text for step in steps[:torch] if step.word == "COPY"]
    assert copied_before == ["pyproject.toml ./"]


def test_what_is_copied_is_there_and_not_ignored(steps: list[Step]) -> None:
    ignored = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    sources = [source for step in steps if step.word == "COPY" for source in step.text.split()[:-1]]
    assert set(sources) == {"pyproject.toml", "README.md", "LICENSE", "dalcli"}
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not any(fnmatch(source, line) for line in ignored[1:] if not line.startswith("!"))


def test_run_lines_are_valid_shell(steps: list[Step]) -> None:
    for step in steps:
        if step.word == "RUN":
            checked = subprocess.run(["/bin/sh", "-n", "-c", step.text], capture_output=True, text=True)
            assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    ("index", "expected"), [("", "-m pip install"), ("file:///a b", "-m pip install --index-url file:///a b")]
)
def test_requirements_are_those_of_the_project(steps: list[Step], tmp_path: Path, index: str, expected: str) -> None:
    # The two steps that prepare the installation run for real, with a pip that only says what it was asked.
    (tmp_path / "bin").mkdir()
    recorder = tmp_path / "bin" / "python"
    recorder.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec "{sys.executable}" "$@"\necho "$@"\n')
    recorder.chmod(0o755)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    env = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "TORCH_INDEX_URL": index}
    run(["/bin/sh", "-ec", steps[position(steps, "RUN", "tomllib")].text], tmp_path, env)
    result = run(["/bin/sh", "-ec", steps[position(steps, "RUN", "--requirement torch.txt")].text], tmp_path, env)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert (tmp_path / "requirements.txt").read_text().splitlines() == declared
    assert (tmp_path / "torch.txt").read_text().splitlines() == [line for line in declared if line.startswith("torch")]
    assert result.stdout == f"{expected} --requirement torch.txt\n"


def test_workspace_is_a_volume_and_dalcli_the_entry_point(steps: list[Step]) -> None:
    last = {step.word: step for step in steps}
    assert last["VOLUME"].text == last["WORKDIR"].text == "/workspace"
    assert last["ENTRYPOINT"].command() == ["dalcli"]
    assert last["CMD"].command() == ["--help"]


def test_a_line_that_is_no_instruction_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "Dockerfile"
    broken.write_text("FROM x\npip install y\n")
    with pytest.raises(ValueError, match="line 2"):
        read(broken)
    broken.write_text("FROM x\nRUN a \\\n")
    with pytest.raises(ValueError, match="line 2: ends"):
        read(broken)
