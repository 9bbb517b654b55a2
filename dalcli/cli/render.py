"""Results on stdout, always whole: for people, or as one JSON document."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from dalcli.cli.streams import write_data
from dalcli.errors import BadInputError
from dalcli.state.atomic import write_bytes
from dalcli.workspace.outputs import require_replaceable, require_writable

SAFE = "nothing is lost: run the same command again"

Result = TypeVar("Result")


def show(result: Result, for_people: Callable[[Result], str], as_json: bool) -> None:
    """Print a command's result, as one JSON document or as ``for_people`` writes it."""
    # A folder name that is not UTF-8 comes out with backslash escapes, which are what JSON would write, too.
    write_data(document(result) if as_json else for_people(result).encode(errors="backslashreplace"), SAFE)


def document(result: object) -> bytes:
    """A result as one JSON document."""
    text = json.dumps(plain(result), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    return text.encode(errors="backslashreplace")


def plain(value: Any) -> Any:
    """Dataclasses and tuples as what JSON has; numbers that JSON lacks become null, row numbers are left out."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (field for field in dataclasses.fields(value) if not field.metadata.get("internal"))
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_output(output: Path | None) -> None:
    """Refuse, before anything is done, an ``--output`` that cannot be written.

    Raises:
        BadInputError: its folder does not exist or takes no files, it is a folder itself, or what is there is no
            result: see :mod:`dalcli.workspace.outputs`.
    """
    if output is None:
        return
    if output.is_dir():
        raise BadInputError(f"{output}: is a folder", "name a file: --output FILE")
    if not output.absolute().parent.is_dir():
        raise BadInputError(f"{output.parent}: no such folder", "create it, or name another file")
    require_replaceable(output)
    if output.is_file() or not output.exists():  # a pipe or a device takes what comes
        require_writable(output.resolve().parent)


def deliver(data: bytes, output: Path | None, remedy: str) -> None:
    """Write a file's worth of data to ``output``, atomically, or to stdout."""
    if output is None or str(output) == "-":
        write_data(data, remedy)
        return
    if output.exists() and not output.is_file():  # a pipe or a device, which must not be replaced by a file
        output.write_bytes(data)
        return
    write_bytes(output.resolve(), data)  # a link stays a link
