"""When a workspace was changed last, and by which schema it is kept."""

from __future__ import annotations

from dalcli.state.database import Connection

_MOMENTS = (
    ("sample", "added_at"),
    ("class", "added_at"),
    ("vote", "recorded_at"),
    ("withdrawal", "withdrawn_at"),
    ("batch", "issued_at"),
    ("batch_row", "released_at"),
    ("class_event", "recorded_at"),
    ("model_version", "finished_at"),
    ("evaluation", "measured_at"),
    ("control_gain", "measured_at"),
    ("suspicion", "measured_at"),
    ("auto_run", "recorded_at"),
    ("auto_withdrawal", "withdrawn_at"),
)


def last_change(connection: Connection) -> str | None:
    """The latest moment of everything that was recorded; None: nothing was. Forecasts are derived: no change."""
    found = (connection.execute(f"SELECT max({column}) FROM {table}").fetchone()[0] for table, column in _MOMENTS)
    return max((moment for moment in found if moment is not None), default=None)


def schema(connection: Connection) -> int:
    """How many migrations made the database what it is."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def by_others(connection: Connection) -> int:
    """A number that changes with every commit that another connection has made."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])
