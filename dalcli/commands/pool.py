"""``pool``: add images later, list what is there, see what is unreadable, follow moved files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.errors import UsageError
from dalcli.state import catalog
from dalcli.state.catalog import STATES, PoolEntry, UnreadableFile
from dalcli.workspace.registration import add_images, tell
from dalcli.workspace.relocation import Relocation, relocate
from dalcli.workspace.session import Session

__all__ = ["PoolCounts", "PoolListing", "Quarantine", "Relocation", "add", "listing", "quarantined", "relocate"]


@dataclass(frozen=True)
class PoolCounts:
    """What ``pool add`` tells: the pool as it stands, samples by purpose and state."""

    states: dict[str, dict[str, int]]


@dataclass(frozen=True)
class PoolListing:
    """What ``pool list`` prints: samples, in the order of their ids."""

    entries: tuple[PoolEntry, ...]


@dataclass(frozen=True)
class Quarantine:
    """What ``pool quarantine`` prints: everything that cannot be used, and why."""

    files: tuple[UnreadableFile, ...]


def add(session: Session, sources: Sequence[Path], test: Path | None, labels_from_folders: bool) -> PoolCounts:
    """Register more images, with their labels if they carry any."""
    if not sources and test is None:
        raise UsageError("nothing to add", "name folders, manifests or images")
    tell(add_images(session, sources, test, labels_from_folders), session.feedback)
    with session.database.read() as connection:
        return PoolCounts({purpose: dict(counts) for purpose, counts in catalog.count_states(connection).items()})


def listing(session: Session, states: Sequence[str] = ()) -> PoolListing:
    """Every sample, or only those in one of ``states``."""
    for state in states:
        if state not in STATES:
            raise UsageError(f"unknown state '{state}'", f"one of: {', '.join(STATES)}")
    with session.database.read() as connection:
        return PoolListing(tuple(e for e in catalog.entries(connection) if not states or e.state in states))


def quarantined(session: Session) -> Quarantine:
    """What could not be read, and why."""
    with session.database.read() as connection:
        return Quarantine(tuple(catalog.unreadable_files(connection)))
