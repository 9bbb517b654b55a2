"""Reading YAML of a known shape (``dalcli.yaml``, a simulation): every problem at once, each with its line, its key and
a suggestion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dalcli.config.schema import Config
from dalcli.config.words import counted, suggestion
from dalcli.errors import BadInputError

KeyPath = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_KINDS: dict[type, str] = {list: "a list", int: "a number", float: "a number", bool: "a truth value"}
# Where pydantic would name Python's types.
_MESSAGES = {
    "model_type": "should have keys of its own below it",
    "tuple_type": "should be a list",
    "invalid_key": "a key should be text",
    "string_pattern_mismatch": "should be auto, cpu, cuda, cuda:1 or mps",  # device is the one key with a pattern
}


def load(path: Path) -> Config:
    """Read and check a configuration file.

    Raises:
        BadInputError: the file is missing, is not YAML, or has unknown, duplicate or invalid keys.
    """
    return load_as(Config, path)[0]


def load_as(model: type[Model], path: Path) -> tuple[Model, dict[KeyPath, int]]:
    """Like :func:`load`, for any shape; with the (1-based) line of every key path, for checks that come later."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadInputError(f"{path}: no such configuration file", "name an existing YAML file") from None
    except UnicodeDecodeError as error:
        raise BadInputError(f"{path}: cannot be read: {error}", "save it as UTF-8 text") from None
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read: {error.strerror}", "name a YAML file that you may read") from None
    return parse_as(model, text, str(path))


def parse(text: str, name: str = "dalcli.yaml") -> Config:
    """Check configuration text; ``name`` is what error messages call it."""
    return parse_as(Config, text, name)[0]


def parse_as(model: type[Model], text: str, name: str) -> tuple[Model, dict[KeyPath, int]]:
    """Like :func:`parse`, for any shape; with the line of every key path."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
        lines = dict(_lines(root)) if root is not None else {}
    except yaml.YAMLError as error:
        raise BadInputError(f"{name}{_yaml_position(error)}: not valid YAML: {_yaml_problem(error)}") from None
    except RecursionError:
        raise BadInputError(f"{name}: an alias (*name) stands inside what it repeats", "write it out") from None
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise BadInputError(f"{name}: line 1: expected 'key: value' lines, found {_KINDS.get(type(values), 'text')}")
    problems = [(line, f"line {line}: {key}: listed twice") for line, key in _duplicates(root)]
    config = None
    try:
        config = model.model_validate(values)
    except ValidationError as error:
        problems += [_problem(model, details, lines) for details in _most_specific(error.errors())]
    if problems or config is None:
        raise BadInputError(
            f"{name}: {counted(len(problems), 'problem')}", problems=[text for _, text in sorted(problems)]
        )
    return config, lines


def _most_specific(errors: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """What is wrong inside a list says more than that it is not the word which could stand in its place."""
    places = [_location(details) for details in errors]
    for details, place in zip(errors, places, strict=True):
        if details["type"] != "literal_error" or not any(p[: len(place)] == place != p for p in places):
            yield details


def _location(details: ErrorDetails) -> KeyPath:
    return tuple(part for part in details["loc"] if not _is_union_branch(part))


def _problem(model: type[BaseModel], details: ErrorDetails, lines: dict[KeyPath, int]) -> tuple[int, str]:
    location = _location(details)
    line = next(
        (lines[location[:end]] for end in range(len(location), -1, -1) if location[:end] in lines),
        1,
    )
    key = ".".join(str(part) for part in location) or "(file)"
    if details["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        message = "unknown key" + (suggestion(str(location[-1]), known) or f" (known here: {', '.join(known)})")
    else:
        message = _MESSAGES.get(details["type"], details["msg"])
        message = message.removeprefix("Value error, ").removeprefix("Input ")
        given = details["input"]
        if isinstance(given, str | int | float) and not isinstance(given, bool) and repr(given) not in message:
            message += f", got {given!r}"
        if details["type"] == "literal_error" and isinstance(given, str):
            message += suggestion(given, re.findall(r"'([^']*)'", str(details["ctx"]["expected"])))
    return line, f"line {line}: {key}: {message}"


def _is_union_branch(part: str | int) -> bool:
    """Pydantic names the branch of a union it tried, e.g. ``literal['auto']``: no key of ours has brackets."""
    return isinstance(part, str) and ("[" in part or part == "tuple")


def _known_keys(model: type[BaseModel], section: KeyPath) -> list[str]:
    """The keys of a section; a list's sections are found under their numbers, a mapping's under any name."""
    annotation: Any = model
    for part in section:
        annotation = _plain(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = None if field is None else field.annotation
        elif get_origin(annotation) in {tuple, list, dict, Mapping}:
            members = [_plain(member) for member in get_args(annotation)]
            annotation = next((m for m in members if isinstance(m, type) and issubclass(m, BaseModel)), None)
        else:
            return []
    annotation = _plain(annotation)
    return list(annotation.model_fields) if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []


def _plain(annotation: Any) -> Any:
    """Without ``Annotated``'s metadata."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _lines(node: yaml.Node, path: KeyPath = ()) -> Iterator[tuple[KeyPath, int]]:
    """Every key path with the (1-based) line it stands on."""
    yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            child = (*path, str(key.value))
            yield from _lines(value, child)
            yield child, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index))


def _duplicates(node: yaml.Node | None, path: KeyPath = ()) -> Iterator[tuple[int, str]]:
    """Keys that PyYAML would silently overwrite."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        name = str(key.value)
        if name in seen:
            yield key.start_mark.line + 1, ".".join(str(part) for part in (*path, name))
        seen.add(name)
        yield from _duplicates(value, (*path, name))


def _yaml_position(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f": line {mark.line + 1}" if mark is not None else ""


def _yaml_problem(error: yaml.YAMLError) -> str:
    return str(getattr(error, "problem", None) or error).splitlines()[0]
