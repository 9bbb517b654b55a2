"""True labels from a file, for a diagnosis only: nothing is recorded. Never imports torch."""

from __future__ import annotations

from pathlib import Path

from dalcli.config.words import suggestion
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError
from dalcli.formats.registry import read_labels
from dalcli.state import classes
from dalcli.state.database import Connection
from dalcli.workspace.matching import SampleMatcher, UnknownSampleError
from dalcli.workspace.session import Session


def from_file(connection: Connection, session: Session, file: Path) -> dict[int, int]:
    """Sample key → class position of every labeled row of ``file``, which is like one for `ingest-labels`.

    Raises:
        BadInputError: there is no such file, or it has bad rows; each is listed with its line and reason.
    """
    table = read_labels(TextInput.from_path(file))
    names = classes.names(connection)
    position = {name: index for index, name in enumerate(names)}
    matcher = SampleMatcher(connection, session.workspace, file.absolute().parent)
    found: dict[int, int] = {}
    problems = [(problem.line, problem.reason) for problem in table.problems]
    for row in table.rows:
        if row.label is None or row.skipped:
            continue
        if row.label not in position:
            problems.append((row.line, f"unknown class '{row.label}'{suggestion(row.label, names)}"))
            continue
        try:
            key = matcher.find(row.sample_ref)
        except UnknownSampleError as error:
            problems.append((row.line, str(error)))
            continue
        if found.setdefault(key, position[row.label]) != position[row.label]:
            problems.append((row.line, f"'{row.label}' contradicts '{names[found[key]]}' in an earlier line"))
    if problems:
        rows = "1 bad row" if len(problems) == 1 else f"{len(problems)} bad rows"
        lines = [f"line {line}: {reason}" for line, reason in sorted(problems)]
        raise BadInputError(f"{file}: {rows}", "correct them, or leave --labels out", lines)
    return found
