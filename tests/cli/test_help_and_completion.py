"""What people see before they know anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from dalcli_runner import ok, run, run_process

from dalcli.cli.app import program, program_for


def commands() -> Iterator[tuple[str, ...]]:
    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*path, name)) if hasattr(child, "commands") else [(*path, name)]

    return walk(typer.main.get_command(program()), ())


COMMANDS = sorted(commands())


def test_every_command_of_this_release_is_there() -> None:
    assert [" ".join(command) for command in COMMANDS] == [
        "batch list", "batch release", "batch show", "classes list", "classes merge", "classes rename", "diagnose",
        "evaluate", "export-model", "ingest-labels", "init", "label", "label-studio config", "label-studio pull",
        "label-studio push",
        "labels annotators", "labels disputed", "labels export",
        "labels log", "labels show", "labels suspects", "plan history", "pool add", "pool list", "pool quarantine",
        "pool relocate", "predict", "query", "report", "run", "score", "simulate", "status", "train",
    ]  # fmt: skip


IN_ORDER = {
    (): [
        "init", "pool", "query", "batch", "label", "label-studio", "ingest-labels", "labels", "classes", "train",
        "score", "evaluate", "status", "plan", "predict", "export-model", "report", "run", "diagnose", "simulate",
    ],
    ("pool",): ["add", "list", "quarantine", "relocate"],
    ("batch",): ["list", "show", "release"],
    ("label-studio",): ["config", "push", "pull"],
    ("labels",): ["show", "log", "disputed", "annotators", "suspects", "export"],
    ("classes",): ["list", "rename", "merge"],
    ("plan",): ["history"],
}  # fmt: skip


@pytest.mark.parametrize("group", IN_ORDER, ids=" ".join)
def test_commands_stand_in_the_order_of_a_round_and_each_is_told_in_a_whole_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = ok(tmp_path, *group, "--help").out.decode()
    listed = shown.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
    names = [line.split()[0] for line in listed]
    assert names == IN_ORDER[group]  # one line each: what does not fit would go on in the next
    for line in listed:
        assert len(line) <= 80
        assert line.endswith("."), line
        assert not line.endswith("..."), line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_a_sentence_and_an_example(tmp_path: Path, command: tuple[str, ...]) -> None:
    shown = ok(tmp_path, *command, "--help").out.decode()
    assert ok(tmp_path, *command, "-h").out.decode() == shown
    words = " ".join(shown.split())
    assert f"Usage: dalcli {' '.join(command)}" in words
    assert f"Example: dalcli {command[0]}" in words
    for line in shown.splitlines():
        assert len(line) <= 80


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_option_is_explained(command: tuple[str, ...]) -> None:
    found = typer.main.get_command(program())
    for name in command:
        found = found.commands[name]  # type: ignore[attr-defined]
    for parameter in found.params:
        assert getattr(parameter, "help", None), (command, parameter.name)


def test_a_part_of_the_program_says_what_the_whole_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command line that begins with a command reads that command's signature alone."""
    with monkeypatch.context() as patched:
        patched.setattr("dalcli.cli.app.program_for", lambda arguments: program())
        whole = {command: ok(tmp_path, *command, "--help").out for command in COMMANDS}
    for command in COMMANDS:
        assert ok(tmp_path, *command, "--help").out == whole[command]
    built = typer.main.get_command(program_for(["query", "--budget", "2"]))
    assert "query" in built.commands and "simulate" not in built.commands  # type: ignore[attr-defined]
    for arguments in ([], ["--help"], ["-C", "x", "query"], ["querry"]):
        assert list(typer.main.get_command(program_for(arguments)).commands) == IN_ORDER[()]  # type: ignore[attr-defined]


def test_exit_codes_are_in_the_help(tmp_path: Path) -> None:
    words = " ".join(ok(tmp_path, "--help").out.decode().split())
    for text in (
        "0 done",
        "1 failed",
        "2 usage",
        "3 bad input",
        "4 locked",
        "5 not ready",
        "6 nothing left",
        "70 a bug",
    ):
        assert text in words


def test_the_module_is_the_program(tmp_path: Path) -> None:
    assert run_process(tmp_path, "--version").out == ok(tmp_path, "--version").out


def test_a_misspelt_option_is_answered_with_a_hint(tmp_path: Path) -> None:
    refused = run(tmp_path, "status", "--jsn")
    assert refused.code == 2
    assert "--json" in refused.err
    assert "try: dalcli status --help" in refused.err


@pytest.mark.parametrize(
    ("words", "cursor", "expected"),
    [("dalcli st", 1, ["status"]), ("dalcli pool re", 2, ["relocate"]), ("dalcli query --bu", 2, ["--budget"])],
)
def test_bash_completes_commands_and_options(tmp_path: Path, words: str, cursor: int, expected: list[str]) -> None:
    env = {"_DALCLI_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(cursor)}
    assert run_process(tmp_path, env=env).out.decode().split() == expected


def test_bash_can_be_told_about_completion(tmp_path: Path) -> None:
    import subprocess

    from dalcli_runner import environment

    shown = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m dalcli --show-completion; exit $?'],
        env=environment({"SHELL": "/bin/bash"}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0
    assert "complete -o default -F _dalcli_completion dalcli" in shown.stdout


def test_only_a_terminal_gets_bars(tmp_path: Path) -> None:
    from workspaces import photos

    photos(tmp_path / "photos", 30)
    reading, writing = os.openpty()
    with os.fdopen(writing, "wb") as terminal:
        shown = run_process(tmp_path, "init", "photos", "--classes", "a,b", stderr=terminal)
    seen = os.read(reading, 100_000).decode()
    os.close(reading)
    assert shown.code == 0
    assert "reading images" in seen
    logged = run_process(tmp_path, "pool", "add", "photos")
    assert "reading images" not in logged.err
    assert "\x1b" not in logged.err


def test_quiet_keeps_warnings_and_errors_only(tmp_path: Path) -> None:
    from workspaces import make

    root = make(tmp_path / "work", 3)
    for arguments in (("query", "--quiet", "--budget", "9"), ("-q", "query", "--budget", "9", "--new", "--key", "a")):
        err = run(root, *arguments).err
        assert err.splitlines()[0].startswith(("warning: only 3", "error: no training sample"))
        assert "issued" not in err
