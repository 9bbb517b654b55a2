"""Databases as earlier programs had them: today's program writes none, so today's rows are put into their tables."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dalcli.state import database


def put_back(path: Path, schema: int) -> None:
    """Make the database one of an earlier ``schema``, with the same rows in the tables and columns that it had."""
    scripts, newer = database._scripts(), path.rename(path.with_name("newer.db"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(database, "_scripts", lambda: scripts[:schema])
        database.Database(path).close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ATTACH ? AS newer", (str(newer),))
        tables = "SELECT name FROM {}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        known = {name for (name,) in connection.execute(tables.format("newer"))}
        for (name,) in connection.execute(tables.format("main")).fetchall():
            if name in known:
                had, has = (
                    {row[1] for row in connection.execute(f"PRAGMA {schema}.table_info({name})")}
                    for schema in ("main", "newer")
                )
                columns = ", ".join(sorted(had & has))
                connection.execute(f"INSERT INTO main.{name} ({columns}) SELECT {columns} FROM newer.{name}")
