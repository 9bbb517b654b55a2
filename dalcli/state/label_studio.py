"""Where batches went in Label Studio, and which annotations came back; nothing here opens a door there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dalcli.state.database import Connection


def remember(connection: Connection, server: str, project: int, at: str) -> int:
    """Note that ``project`` of ``server`` is used; returns its key."""
    row = connection.execute(
        "INSERT INTO label_studio_project (server, project, used_at) VALUES (?, ?, ?)"
        " ON CONFLICT (server, project) DO UPDATE SET used_at = excluded.used_at RETURNING id",
        (server, project, at),
    ).fetchall()
    return int(row[0]["id"])


def projects(connection: Connection, server: str) -> list[int]:
    """Numbers of the projects that were used on ``server``, the one used last first."""
    rows = connection.execute(
        "SELECT project FROM label_studio_project WHERE server = ? ORDER BY used_at DESC, id DESC", (server,)
    )
    return [row["project"] for row in rows]


def any_project(connection: Connection) -> bool:
    """Whether any server was ever used."""
    return connection.execute("SELECT 1 FROM label_studio_project LIMIT 1").fetchone() is not None


def taken(connection: Connection, server: str, project: int) -> dict[int, str]:
    """Annotation → when it had been changed when it was read."""
    rows = connection.execute(
        "SELECT a.annotation, a.updated_at FROM label_studio_annotation AS a"
        " JOIN label_studio_project AS p ON p.id = a.project WHERE p.server = ? AND p.project = ?",
        (server, project),
    )
    return {row["annotation"]: row["updated_at"] for row in rows}


def take(connection: Connection, key: int, annotations: Mapping[int, str] | Iterable[tuple[int, str]]) -> None:
    """Record, with the votes made of them, which annotations of project ``key`` were read."""
    connection.executemany(
        "INSERT INTO label_studio_annotation (project, annotation, updated_at) VALUES (?, ?, ?)"
        " ON CONFLICT (project, annotation) DO UPDATE SET updated_at = excluded.updated_at",
        [(key, annotation, updated_at) for annotation, updated_at in dict(annotations).items()],
    )
