"""SQLite, the only source of truth: connections, short transactions, migrations.

Every write goes through :meth:`Database.write`, one ``BEGIN IMMEDIATE`` transaction that either happens or does
not. ``synchronous=FULL`` makes a commit survive a power cut: labels are paid for.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

from dalcli.errors import DalcliError, LockedError
from dalcli.state import read_only

Connection = sqlite3.Connection
Row = sqlite3.Row

BUSY_SECONDS = 30.0

INTERNAL = {"internal": True}
"""Metadata of dataclass fields that mean nothing outside the database, such as row numbers: never shown or exported."""


def now() -> str:
    """The current time as it is stored everywhere: ISO 8601, UTC, seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Database:
    """One connection to a workspace's ``state.db``, migrated to this program's version on opening.

    Attributes:
        writable: not where the user may only read: then :meth:`write` refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path):
            connection = _connect(path)
            self.writable = connection is not None
            self._connection = connection or read_only.connect(path)
            self._connection.row_factory = sqlite3.Row
            try:
                migrate(self)
            except BaseException:
                self._connection.close()
                raise

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot: everything read inside belongs to one moment."""
        alone = nullcontext() if self.writable else read_only.left_alone(self.path)
        with explained(self.path), alone, self._transaction("BEGIN DEFERRED") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One atomic change; any exception inside rolls it back.

        Raises:
            DalcliError: this user may only read.
        """
        if not self.writable:
            raise read_only.refusal(self.path)
        with explained(self.path), self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        connection = self._connection
        connection.execute(begin)
        try:
            yield connection
        except BaseException:
            if connection.in_transaction:  # a full disk makes SQLite roll back by itself
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def copy_to(self, other: Connection) -> None:
        """SQLite's online backup of this moment, into an empty database."""
        with explained(self.path):
            self._connection.backup(other)

    def checkpoint(self) -> None:
        """Move what was committed from the log into the database file, unless somebody is reading."""
        with explained(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _connect(path: Path) -> Connection | None:
    """A connection that can write; None where the database is there, and this user may not."""
    if path.exists() and not read_only.may_write(path):
        return None
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException as error:
        connection.close()
        if path.is_file() and re.search("readonly|unable to open", str(error)):  # the folder cannot be written
            return None
        raise
    return connection


def migrate(database: Database) -> None:
    """Apply the migrations this database has not seen, each together with its record in one transaction.

    Raises:
        DalcliError: the database was written by a newer dalcli.
    """
    scripts = _scripts()
    with database.read() as connection:
        version = _version(connection)
    if version > len(scripts):
        raise DalcliError(
            f"{database.path}: made by a newer dalcli (schema {version}, this program knows {len(scripts)})",
            "upgrade dalcli: pip install --upgrade dalcli",
        )
    for number in range(version + 1, len(scripts) + 1):
        with database.write() as connection:
            if _version(connection) >= number:  # another process was faster
                continue
            for statement in _statements(scripts[number - 1]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def _version(connection: Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _scripts() -> list[str]:
    folder = resources.files("dalcli.state") / "migrations"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [entry.read_text(encoding="utf-8") for entry in files]


def _statements(script: str) -> Iterator[str]:
    """Single statements; ``executescript`` would commit in between."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
    if pending.strip():  # a last statement without its semicolon must not be dropped in silence
        yield pending


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ones that say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "locked" in text:
            raise LockedError(
                f"{path}: another process has been writing for {BUSY_SECONDS:.0f} seconds", "try again"
            ) from error
        remedy = "free some disk space and try again" if "full" in text else "check the disk and its permissions"
        if re.search("full|readonly|unable to open|disk I/O", text):
            raise DalcliError(f"{path}: {text}; nothing was changed", remedy) from error
        raise
    except sqlite3.DatabaseError as error:
        if re.search("malformed|not a database", str(error)):
            raise DalcliError(f"{path}: the database is damaged ({error})", "restore it from a backup") from error
        raise
