"""What ``pip install .`` installs: everything the program needs, and nothing else."""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from repository import ROOT, run

import dalcli


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the source, built with what is installed (no network)."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT / "dalcli", source / "dalcli", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = ["pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    built = run([sys.executable, "-m", *command, folder, source], folder)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    files = (path for path in (ROOT / "dalcli").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {path.relative_to(ROOT).as_posix() for path in files}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected
    assert any(name.endswith(".sql") for name in names)


def test_metadata_has_version_licence_and_console_script(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        texts = {name.partition("/")[2]: archive.read(name).decode() for name in archive.namelist() if "-info/" in name}
    metadata = texts["METADATA"]
    assert f"Version: {dalcli.__version__}\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert "Requires-Python: >=3.11\n" in metadata
    assert "dalcli = dalcli.__main__:run" in texts["entry_points.txt"]
    licence = next(text for name, text in texts.items() if name.endswith("LICENSE"))
    assert licence == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_no_dependency_has_an_upper_cap(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith("/METADATA"))
        required = re.findall(r"^Requires-Dist: (.+)$", archive.read(name).decode(), re.MULTILINE)
    runtime = [line for line in required if "extra ==" not in line]
    assert {re.split(r"[<>=!~ ]", line)[0] for line in runtime} >= {"torch", "torchvision", "typer", "numpy"}
    for line in runtime:
        assert re.fullmatch(r"[\w.-]+>=[\d.]+", line), line


def test_installed_program_and_module_are_the_same() -> None:
    script = run(["dalcli", "--version"], ROOT)
    module = run([sys.executable, "-m", "dalcli", "--version"], ROOT)
    assert script.stdout == module.stdout == f"dalcli {dalcli.__version__}\n"
