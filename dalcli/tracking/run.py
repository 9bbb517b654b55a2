"""``tracking:`` of the configuration: every measurement goes to every place that is named there, once.

The first file of this room to read. A place is written to first and remembered after; what was cut off between the two
is found there again by its key. A place that does not answer is tried again the next time; nobody's work waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from dalcli.config.words import counted
from dalcli.errors import DalcliError, LockedError
from dalcli.state import meta, tracking
from dalcli.state.lock import file_lock
from dalcli.tracking.entry import Entry, entry
from dalcli.workspace.session import Session

_ID = "tracking_id"


class Place(Protocol):
    """Somewhere that measurements are logged."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def key(self) -> str:
        """For the database: another address is another place."""
        ...

    def write(self, entries: Sequence[Entry]) -> None:
        """Log what the place has not; DalcliError or OSError if it cannot be."""
        ...


@dataclass(frozen=True)
class Tracked:
    """What became of one place: how many measurements it got; ``problem`` None: all that it had not."""

    place: str
    measurements: int
    problem: str | None


def places(session: Session) -> list[Place]:
    """Those that the configuration names. Imports no client of any server."""
    from dalcli.tracking.json_lines import JsonLines
    from dalcli.tracking.mlflow_server import MlflowServer

    config, found = session.config.tracking, list[Place]()
    if config.jsonl is not None:
        found.append(JsonLines(session.workspace.absolute_path(config.jsonl), config.jsonl))
    if config.mlflow is not None:
        about = (config.experiment, config.timeout, _workspace_id(session), session.workspace.root.name)
        found.append(MlflowServer(config.mlflow, *about))
    return found


def _workspace_id(session: Session) -> str:
    """A name that stays when the workspace is moved; '' as long as nothing was logged to a server."""
    with session.database.read() as connection:
        return meta.get(connection, _ID) or ""


def _name_workspace(session: Session) -> None:
    if session.config.tracking.mlflow is not None and not _workspace_id(session):
        with session.database.write() as connection:
            meta.put(connection, _ID, meta.get(connection, _ID) or uuid4().hex)


def waiting(session: Session) -> dict[str, int]:
    """How many measurements each place lacks, by its name; places that lack none are left out."""
    named = places(session)
    with session.database.read() as connection:
        counts = {place.name: tracking.count_missing(connection, place.key) for place in named}
    return {name: count for name, count in counts.items() if count}


def track(session: Session) -> list[Tracked]:
    """Log what is missing, everywhere; a place that fails is warned of and tried again the next time."""
    if not waiting(session):
        return []
    lock = session.workspace.state / "tracking.lock"
    try:
        with file_lock(lock, lambda: _Busy("another command is logging"), wait=1.0):
            _name_workspace(session)
            return [found for place in places(session) if (found := _track(session, place)) is not None]
    except _Busy:
        return []


class _Busy(LockedError):
    """Another process does it."""


def _track(session: Session, place: Place) -> Tracked | None:
    with session.database.read() as connection:
        missing = tracking.missing(connection, place.key)
        entries = [entry(connection, session, measured) for measured in missing]
    if not entries:
        return None
    try:
        place.write(entries)
        with session.database.write() as connection:
            for measured in missing:
                tracking.remember(connection, place.key, measured.key)
    except (DalcliError, OSError) as error:
        said = _said(error)
        session.feedback.warn(
            f"{place.name}: {said}: {counted(len(entries), 'measurement waits', 'measurements wait')} for the next time"
        )
        return Tracked(place.name, 0, said)
    session.feedback.note(f"{counted(len(entries), 'measurement')} logged to {place.name}")
    return Tracked(place.name, len(entries), None)


def _said(error: DalcliError | OSError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return error.message if error.remedy is None else f"{error.message} ({error.remedy})"
