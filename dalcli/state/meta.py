"""Facts about the workspace that are fixed when it is made."""

from __future__ import annotations

from dalcli.state.database import Connection


def get(connection: Connection, key: str) -> str | None:
    """The value stored under ``key``, if any."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row["value"])


def put(connection: Connection, key: str, value: str) -> None:
    """Store ``value`` under ``key``."""
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
