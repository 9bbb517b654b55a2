"""What strategies remember from batch to batch: JSON objects, each committed with the batch it was made for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dalcli.state.database import Connection


def latest(connection: Connection, strategy: str) -> dict[str, Any] | None:
    """What ``strategy`` remembers since the newest batch it chose; None before its first."""
    row = connection.execute(
        "SELECT memory FROM strategy_memory WHERE strategy = ? ORDER BY batch DESC LIMIT 1", (strategy,)
    ).fetchone()
    return None if row is None else dict(json.loads(row["memory"]))


def remember(connection: Connection, strategy: str, batch_id: str, memory: Mapping[str, Any]) -> None:
    """Keep ``memory`` in place of what ``strategy`` remembered; in the transaction that issues the batch."""
    connection.execute("DELETE FROM strategy_memory WHERE strategy = ?", (strategy,))
    connection.execute(
        "INSERT INTO strategy_memory (batch, strategy, memory) SELECT id, ?, ? FROM batch WHERE batch_id = ?",
        (strategy, json.dumps(memory), batch_id),
    )
