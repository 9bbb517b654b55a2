"""Write the reference pages from the program itself: ``docs/cli.md`` and ``docs/config.md``.

    python docs/generate.py            writes both
    python docs/generate.py --check    exit status 1, naming the stale page, if either is not what would be written

Nothing here asks Typer to render help: the pages do not depend on the width of a terminal, nor on the release.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from dalcli.cli.app import program
from dalcli.config.schema import Config
from dalcli.errors import ExitCode

FOLDER = Path(__file__).resolve().parent
Row = tuple[str, str]
GENERATED = "<!-- Written by docs/generate.py (make docs): edit the code, not this page. -->"

MEANINGS: Mapping[ExitCode, str] = {
    ExitCode.DONE: "done; also: nothing to do, up to date",
    ExitCode.FAILED: "failed (disk full, out of memory, ...); the state is intact: run it again",
    ExitCode.USAGE: "the command line is wrong: an unknown option, one out of range, or one without effect",
    ExitCode.BAD_INPUT: "a configuration, label file, manifest or named path is wrong; nothing was changed",
    ExitCode.LOCKED: "a live process is training or scoring here; `--wait SECONDS` waits for it",
    ExitCode.NOT_READY: "something must come first; the message names the command to run",
    ExitCode.NOTHING_LEFT: "no sample is left to hand out",
    ExitCode.TARGET_REACHED: "`plan --exit-code`: verdict target-reached",
    ExitCode.INFEASIBLE: "`plan --exit-code`: verdict infeasible",
    ExitCode.NEED_EVALUATION_LABELS: "`plan --exit-code`: verdict need-evaluation-labels",
    ExitCode.INSUFFICIENT_DATA: "`plan --exit-code`: verdict insufficient-data (0 is continue)",
    ExitCode.BUG: "a bug in dalcli; the traceback is in the log that the message names",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C); progress is kept",
    ExitCode.TERMINATED: "terminated (SIGTERM); progress is kept",
}

COMMON_FROM = 3  # an option that as many commands have is described once


# The command line -------------------------------------------------------------------------------------------------


def cli_page() -> str:
    """Every command with its help, arguments, options and example, as Markdown."""
    group = typer.main.get_command(program())
    commands = list(_commands(group))
    uses = Counter(row for _, command in commands for row in _parameters(command))
    common = [row for row, count in uses.items() if count >= COMMON_FROM]
    parts = [
        "# Command line",
        GENERATED,
        f"`dalcli [OPTIONS] COMMAND`; `python -m dalcli` is the same program. {_text(group.help)}",
        "Data goes to stdout; progress, notes, warnings and errors go to stderr.",
        _table(("option", "meaning"), _parameters(group)),
        "## Exit codes",
        _table(("code", "meaning"), [(str(int(code)), MEANINGS[code]) for code in ExitCode]),
        "## Common options",
        "Each command below names those that it takes. `-C` and `--quiet` may also stand before the command.",
        _table(("option", "meaning"), common),
    ]
    parts += [_command(words, command, common) for words, command in commands]
    return "\n\n".join(part for part in parts if part) + "\n"


def _commands(group: Any, words: tuple[str, ...] = ("dalcli",)) -> Iterator[tuple[str, Any]]:
    """Commands in the order of ``--help``; those with sub-commands only if they do something by themselves."""
    for name, command in group.commands.items():
        if getattr(command, "commands", None):
            if command.invoke_without_command:
                yield " ".join((*words, name)), command
            yield from _commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def _command(words: str, command: Any, common: Sequence[Row]) -> str:
    arguments = [_argument_usage(p) for p in command.params if p.param_type_name == "argument"]
    usage = " ".join([words, *arguments, "[OPTIONS]"])
    example, remark = _example(words, command.epilog)
    rows = _parameters(command)
    shared = ", ".join(names for names, meaning in rows if (names, meaning) in common)
    parts = [
        f"## {words}",
        f"`{usage}`",
        _text(command.help),
        _table(("argument or option", "meaning"), [row for row in rows if row not in common]),
        f"Common options: {shared}." if shared else "",
        f"```console\n$ {example}\n```",
        remark,
    ]
    return "\n\n".join(part for part in parts if part)


def _example(words: str, epilog: str | None) -> tuple[str, str]:
    """``Example: dalcli ... . Remark.`` taken apart.

    Raises:
        ValueError: the command's help has no example.
    """
    head, found, rest = (epilog or "").partition("Example: ")
    if not found or head:
        raise ValueError(f"{words}: its epilog does not begin with 'Example: '")
    example, _, remark = rest.partition(". ")
    return example, remark


def _parameters(command: Any) -> list[Row]:
    """Names and meaning of each argument and option."""
    annotations = typing.get_type_hints(inspect.unwrap(command.callback))
    rows = []
    for parameter in command.params:
        if parameter.name not in annotations:  # Typer's own, for shell completion
            continue
        kind = annotations[parameter.name]
        if parameter.param_type_name == "argument":
            names = f"`{_argument_usage(parameter)}`"
        else:
            value = "" if parameter.is_flag else " " + (parameter.metavar or _metavar(kind))
            names = ", ".join(f"`{name}{value}`" for name in parameter.opts)
        rows.append((names, _meaning(parameter, kind)))
    return rows


def _argument_usage(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _meaning(parameter: Any, kind: Any) -> str:
    parts = [_text(parameter.help)]
    if isinstance(parameter.default, Enum):
        parts.append(f"Default: {parameter.default.value}.")
    if parameter.envvar:
        parts.append(f"Environment: `{parameter.envvar}`.")
    if typing.get_origin(_without_none(kind)) is list and parameter.param_type_name == "option":
        parts.append("May be repeated.")
    return " ".join(parts)


def _metavar(kind: Any) -> str:
    kind = _without_none(kind)
    if typing.get_origin(kind) is list:
        (kind,) = typing.get_args(kind)
    if issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    return {str: "TEXT", int: "INTEGER", float: "NUMBER", Path: "PATH"}[kind]


def _without_none(kind: Any) -> Any:
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        (kind,) = (arm for arm in typing.get_args(kind) if arm is not type(None))
    return kind


# The configuration ------------------------------------------------------------------------------------------------


def config_page() -> str:
    """Every key of ``dalcli.yaml`` with its type, range, default and meaning, as Markdown."""
    schema = Config.model_json_schema()
    parts = [
        "# Configuration: `dalcli.yaml`",
        GENERATED,
        "Every key is optional, an unknown key is an error, and all errors are reported at once with their lines. "
        "A workspace remembers what `init` fixed: the class list, the evaluation reserve, and what `auto` stands for.",
    ]
    sections = {name: key for name, key in schema["properties"].items() if _section(key)}
    plain = {name: key for name, key in schema["properties"].items() if name not in sections}
    parts += ["## Top level", _keys("", plain)]
    for name, key in sections.items():
        parts += _described(name, schema["$defs"][_section(key)], schema["$defs"])
    return "\n\n".join(parts) + "\n"


def _described(name: str, definition: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    """A section with its keys, then the sections inside it."""
    plain = {key: value for key, value in definition["properties"].items() if not _section(value)}
    parts = [f"## `{name}`", definition["description"], _keys(f"{name}.", plain)]
    for key, value in definition["properties"].items():
        if _section(value):
            parts += _described(f"{name}.{key}", definitions[_section(value)], definitions)
    return parts


def _section(key: Mapping[str, Any]) -> str:
    """The definition that a key refers to, or an empty text for a plain value."""
    reference = key.get("$ref") or next((part["$ref"] for part in key.get("allOf", ()) if "$ref" in part), "")
    return str(reference).rpartition("/")[2]


def _keys(prefix: str, properties: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (f"`{prefix}{name}`", _kind(key), f"`{_value(key['default'])}`", _text(key["description"]))
        for name, key in properties.items()
    ]
    return _table(("key", "value", "default", "meaning"), rows)


def _kind(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words; an absent value (null) is what the default column says."""
    if "anyOf" in schema:
        return " or ".join(_kind(arm) for arm in schema["anyOf"] if arm.get("type") != "null")
    if "const" in schema or "enum" in schema:
        choices = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{choice}`" for choice in choices)
    if schema["type"] == "array":
        if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: {_kind(schema['prefixItems'][0])}"
        return f"list of {_kind(schema['items'])}"
    if schema["type"] == "object":
        return f"{{name: {_kind(schema['additionalProperties'])}}}"
    noun = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}[schema["type"]]
    return " ".join(part for part in (noun, _range(schema)) if part)


def _range(schema: Mapping[str, Any]) -> str:
    if "minimum" in schema and "maximum" in schema:
        return f"from {_number(schema['minimum'])} to {_number(schema['maximum'])}"
    bounds = {"minimum": "≥ ", "exclusiveMinimum": "> ", "maximum": "≤ ", "exclusiveMaximum": "< "}
    return " and ".join(f"{sign}{_number(schema[key])}" for key, sign in bounds.items() if key in schema)


def _number(value: float) -> str:
    return "2⁶³" if value == 2**63 else f"{value:g}"


def _value(default: object) -> str:
    return json.dumps(default, ensure_ascii=False) if not isinstance(default, str) else default


# Markdown ---------------------------------------------------------------------------------------------------------


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(help_text: str | None) -> str:
    """Help on one line.

    Raises:
        ValueError: there is none.
    """
    if not help_text:
        raise ValueError("a command, an option or a key without help")
    return " ".join(help_text.split())


# The program ------------------------------------------------------------------------------------------------------

PAGES = {"cli.md": cli_page, "config.md": config_page}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or compare them with what is there."""
    parser = argparse.ArgumentParser(description="Write docs/cli.md and docs/config.md from the program.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit status 1 if a page is stale")
    check: bool = parser.parse_args(arguments).check
    stale = [name for name, page in PAGES.items() if not _is_current(FOLDER / name, page())]
    for name in stale:
        if check:
            sys.stderr.write(f"docs/{name} is stale: run make docs\n")
        else:
            (FOLDER / name).write_text(PAGES[name](), encoding="utf-8")
            sys.stderr.write(f"docs/{name} written\n")
    return 1 if check and stale else 0


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
