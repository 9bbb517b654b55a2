"""Only ``dalcli.state`` speaks SQL: who reads a table elsewhere would have to be found when the table changes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dalcli

PACKAGE = Path(dalcli.__file__).parent
STATEMENT = re.compile(
    r"\b(SELECT\s.+\sFROM\b|INSERT\s(OR\s\w+\s)?INTO\b|UPDATE\s\w+\sSET\b|DELETE\sFROM\b|PRAGMA\s\w|"
    r"(CREATE|DROP|ALTER)\s(TABLE|VIEW|INDEX|TRIGGER)\b|BEGIN\s(DEFERRED|IMMEDIATE)\b)",
    re.DOTALL,
)
CALLS = {"execute", "executemany", "executescript"}


def literal(node: ast.AST) -> str:
    """The text of a string, an f-string's with something in place of what is filled in; '' for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "_" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def places(source: str) -> Iterator[str]:
    """Every line with SQL text, a call that runs some, or what would be needed to run some."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(alias.name == "sqlite3" for alias in node.names):
            yield f"line {node.lineno}: import sqlite3"
        if isinstance(node, ast.ImportFrom) and node.module == "sqlite3":
            yield f"line {node.lineno}: from sqlite3 import ..."
        if isinstance(node, ast.expr) and STATEMENT.search(literal(node)):
            yield f"line {node.lineno}: {literal(node).strip()[:60]}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
            yield f"line {node.lineno}: .{node.func.attr}(...)"


def modules() -> list[str]:
    found = (path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
    return sorted(name for name in found if not name.startswith("state/"))


def test_no_other_room_has_sql_in_it() -> None:
    assert len(modules()) > 100
    found = {name: list(places((PACKAGE / name).read_text(encoding="utf-8"))) for name in modules()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        'rows = "SELECT id FROM sample"',
        'rows = f"SELECT {columns} FROM sample"',
        'text = """\n    SELECT *\n    FROM sample\n"""',
        'add = "INSERT OR IGNORE INTO vote VALUES (?)"',
        'add = "INSERT INTO vote VALUES (?)"',
        'change = "UPDATE sample SET quarantine = ?"',
        'drop = "DELETE FROM sample"',
        "import sqlite3",
        "import json, sqlite3",
        "from sqlite3 import connect",
        "connection.execute(statement)",
        "connection.executemany(statement, rows)",
    ],
)
def test_it_would_be_seen(source: str) -> None:
    assert list(places(source))


def test_the_state_itself_is_what_it_looks_for() -> None:
    assert list(places((PACKAGE / "state" / "ledger.py").read_text(encoding="utf-8")))


@pytest.mark.parametrize("source", ['"select images from a folder"', '"Update the set"', "pool.submit(execute, 1)"])
def test_prose_is_no_statement(source: str) -> None:
    assert not list(places(source))
