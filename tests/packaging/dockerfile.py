"""A Dockerfile as a list of steps, for checking it where there is no Docker: just what this repository's one uses."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Step:
    """One instruction: ``word`` in capitals, ``text`` with continued lines joined, and its first line's number."""

    word: str
    text: str
    line: int

    def pairs(self) -> dict[str, str]:
        """``NAME=value ...`` of ENV and ARG."""
        return dict(part.partition("=")[::2] for part in shlex.split(self.text))

    def command(self) -> list[str]:
        """The list of ENTRYPOINT and CMD in their JSON form."""
        command: list[str] = json.loads(self.text)
        return command


def read(path: Path) -> list[Step]:
    """All steps of a Dockerfile, comments left out.

    Raises:
        ValueError: a line that is no instruction.
    """
    steps: list[Step] = []
    pending, first = "", 0
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        first = first if pending else number
        pending += line.rstrip()
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        match = re.fullmatch(r"([A-Z]+)\s+(.+)", pending)
        if match is None:
            raise ValueError(f"{path}: line {first}: not an instruction: {pending}")
        steps.append(Step(match[1], match[2], first))
        pending = ""
    if pending:
        raise ValueError(f"{path}: line {first}: ends in the middle of an instruction")
    return steps
