"""``pool``: add images later, list what is there, see what is unreadable, follow moved files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dalcli.data.identity import sample_id
from dalcli.errors import BadInputError, UsageError
from dalcli.state import catalog, classes, files
from dalcli.state.catalog import STATES, PoolEntry, UnreadableFile
from dalcli.workspace.registration import check_labels, collect, register, report
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class PoolCounts:
    """The pool as it stands: samples by purpose and state."""

    states: dict[str, dict[str, int]]


@dataclass(frozen=True)
class PoolListing:
    """Samples, in the order of their ids."""

    entries: tuple[PoolEntry, ...]


@dataclass(frozen=True)
class Quarantine:
    """Everything that cannot be used, and why."""

    files: tuple[UnreadableFile, ...]


@dataclass(frozen=True)
class Relocation:
    """How many of the files known below the old place are now known at the new one."""

    old: str
    new: str
    files: int


def add(session: Session, sources: Sequence[Path], test: Path | None, labels_from_folders: bool) -> PoolCounts:
    """Register more images, with their labels if they carry any."""
    if not sources and test is None:
        raise UsageError("nothing to add", "name folders, manifests or images")
    findings = collect(sources, test, labels_from_folders)
    with session.database.read() as connection:
        owned = classes.names(connection)
    check_labels(findings, owned)
    result = register(
        session.database,
        session.workspace,
        findings,
        data=session.config.data,
        feedback=session.feedback,
        in_parts=False,
    )
    report(result, session.feedback)
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


def relocate(session: Session, old: Path, new: Path) -> Relocation:
    """Follow files that were moved from ``old`` to ``new`` (a folder or one file); bytes are compared first.

    Files that were missing already and are not at ``new`` either do not hold up the others.

    Raises:
        BadInputError: nothing was known below ``old``, or a file is missing or different at ``new``.
    """
    workspace = session.workspace
    old_stored, new_stored = workspace.stored_path(old), workspace.stored_path(new)
    if not os.path.lexists(new):
        raise BadInputError(f"{new}: no such file or folder", "name the place where the images are now")
    with session.database.read() as connection:
        before = files.below(connection, old_stored)
        after = files.below(connection, new_stored)
        set_aside = {file.path for file in catalog.unreadable_files(connection)}
    if not before:
        if after:  # done by an earlier run
            return Relocation(old_stored, new_stored, len(after))
        raise BadInputError(f"{old}: no known file is there or below", "`dalcli pool list` shows where files were seen")
    renames, problems, lost = [], [], 0
    with session.feedback.task("comparing files", len(before), "files") as task:
        for path, known_id in before:
            moved = str(PurePosixPath(new_stored) / PurePosixPath(path).relative_to(old_stored))
            target = workspace.absolute_path(moved)
            problem = _difference(target, known_id)
            if problem and path in set_aside and not os.path.lexists(target):
                lost += 1
            else:
                problems += [f"{moved}: {problem}"] if problem else []
                renames.append((path, moved))
            task.advance()
    if problems or not (renames or after):
        raise BadInputError(
            f"{len(problems) or lost} of {len(before)} files are not the same at {new}; nothing was changed",
            problems=problems,
        )
    with session.database.write() as connection:
        files.rename(connection, renames)
        after = files.below(connection, new_stored)
    if lost:
        session.feedback.warn(f"{lost} files were missing before and are not at {new} either: they stay set aside")
    return Relocation(old_stored, new_stored, len(after))


def _difference(path: Path, known_id: str | None) -> str | None:
    """Why the file is not what it was; None if it is, or if nobody could ever read it (it moves along)."""
    try:
        return "has other content" if known_id is not None and sample_id(path) != known_id else None
    except OSError as error:
        return str(error.strerror or error).lower()
