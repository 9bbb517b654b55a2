"""The reference pages are what the program says, complete, and the same wherever they are written."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer
from pydantic import BaseModel
from repository import ROOT, environment, run

from dalcli.cli.app import program
from dalcli.config.schema import Config
from dalcli.errors import ExitCode

GENERATOR = ROOT / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_keys(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every key with its default, straight from the model's fields."""
    keys: dict[str, object] = {}
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            keys |= config_keys(type(field.default), f"{prefix}{name}.")
        else:
            keys[prefix + name] = field.default
    return keys


def test_pages_are_current() -> None:
    result = run([sys.executable, GENERATOR, "--check"], ROOT)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("columns", ["40", "300"])
def test_pages_do_not_depend_on_the_terminal(generate: ModuleType, columns: str) -> None:
    env = environment(COLUMNS=columns, TERMINAL_WIDTH=columns, FORCE_COLOR="1", PYTHONIOENCODING="utf-8")
    program = "import generate; print(generate.cli_page(), generate.config_page(), sep='', end='')"
    result = run([sys.executable, "-c", program], GENERATOR.parent, env)
    assert result.stdout == generate.cli_page() + generate.config_page()


def test_check_names_a_stale_page_and_changes_nothing(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.main([]) == 0
    page = tmp_path / "config.md"
    page.write_text(page.read_text(encoding="utf-8").replace("0.1", "0.2"), encoding="utf-8")
    stale = page.read_bytes()
    capsys.readouterr()
    assert generate.main(["--check"]) == 1
    assert capsys.readouterr().err == "docs/config.md is stale: run make docs\n"
    assert page.read_bytes() == stale


def test_a_missing_page_is_stale(generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.main(["--check"]) == 1


def test_every_command_and_option_is_documented(generate: ModuleType) -> None:
    page = generate.cli_page()
    commands = dict(generate._commands(typer.main.get_command(program())))
    sections = dict(re.findall(r"^## (dalcli [a-z -]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert sections.keys() == commands.keys()
    for words, command in commands.items():
        assert " ".join(command.help.split()) in sections[words]
        assert f"$ {words}" in sections[words]
        for parameter in command.params:
            for name in parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]:
                assert re.search(rf"`\[?{name}\b", sections[words]), f"{words} {name}"


def test_every_exit_code_is_documented(generate: ModuleType) -> None:
    rows = re.findall(r"^\| (\d+) \| .+ \|$", generate.cli_page(), re.MULTILINE)
    assert rows == [str(int(code)) for code in ExitCode]


def test_every_key_is_documented_with_its_default(generate: ModuleType) -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| .+? \| `(.+?)` \| \S.* \|$", generate.config_page(), re.MULTILINE)
    documented = dict(rows)
    expected = config_keys(Config)
    assert documented.keys() == expected.keys()
    spelled = {"True": "true", "False": "false", "None": "null"}
    written = {key: json.dumps(value) if isinstance(value, tuple) else str(value) for key, value in expected.items()}
    assert documented == {key: spelled.get(text, text) for key, text in written.items()}


def test_ranges_are_documented(generate: ModuleType) -> None:
    page = generate.config_page()
    assert "| `evaluation.reserve` | number ≥ 0 and < 1 |" in page
    assert "| `data.image_size` | list of 2: integer from 1 to 4096 or `auto` |" in page
    assert "| `data.resize` | `stretch`, `crop`, `pad` |" in page


def test_tables_have_as_many_cells_as_columns(generate: ModuleType) -> None:
    for page in (generate.cli_page(), generate.config_page()):
        for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def test_a_command_without_help_is_refused(generate: ModuleType) -> None:
    with pytest.raises(ValueError, match="without help"):
        generate._text("")
    with pytest.raises(ValueError, match="Example"):
        generate._example("dalcli new", None)
