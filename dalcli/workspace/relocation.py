"""Following files that were moved: the database learns their new names once their bytes are known to be the same."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dalcli.config.words import counted
from dalcli.data.identity import sample_id
from dalcli.errors import BadInputError
from dalcli.state import catalog, files
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class Relocation:
    """What ``pool relocate`` tells: how many of the files known below the old place are now known at the new one."""

    old: str
    new: str
    files: int


@dataclass(frozen=True)
class _Comparison:
    """What is at the new place: ``lost`` files were missing before and are not there either."""

    renames: Sequence[tuple[str, str]]
    problems: Sequence[str]
    lost: int


def relocate(session: Session, old: Path, new: Path) -> Relocation:
    """Follow files that were moved from ``old`` to ``new`` (a folder or one file); bytes are compared first.

    Files that were missing already and are not at ``new`` either do not hold up the others.

    Raises:
        BadInputError: nothing was known below ``old``, or a file is missing or different at ``new``.
    """
    old_stored, new_stored = session.workspace.stored_path(old), session.workspace.stored_path(new)
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
    moved = {path: _moved(path, old_stored, new_stored) for path, _ in before}
    found = _compare(session, before, moved, set_aside)
    if found.problems or not (found.renames or after):
        differing = len(found.problems) or found.lost
        raise BadInputError(
            f"{differing} of {counted(len(before), 'file')} {'is' if differing == 1 else 'are'} not the same at {new}; "
            "nothing was changed",
            problems=found.problems,
        )
    with session.database.write() as connection:
        files.rename(connection, found.renames)
        after = files.below(connection, new_stored)
    if found.lost:
        one = f"file was missing before and is not at {new} either: it stays set aside"
        many = f"files were missing before and are not at {new} either: they stay set aside"
        session.feedback.warn(counted(found.lost, one, many))
    return Relocation(old_stored, new_stored, len(after))


def _moved(path: str, old: str, new: str) -> str:
    return str(PurePosixPath(new) / PurePosixPath(path).relative_to(old))


def _compare(
    session: Session, before: Sequence[tuple[str, str | None]], moved: dict[str, str], set_aside: set[str]
) -> _Comparison:
    renames, problems, lost = [], [], 0
    with session.feedback.task("comparing files", len(before), "files") as task:
        for path, known_id in before:
            target = session.workspace.absolute_path(moved[path])
            problem = _difference(target, known_id)
            if problem and path in set_aside and not os.path.lexists(target):
                lost += 1
            else:
                problems += [f"{moved[path]}: {problem}"] if problem else []
                renames.append((path, moved[path]))
            task.advance()
    return _Comparison(renames, problems, lost)


def _difference(path: Path, known_id: str | None) -> str | None:
    """Why the file is not what it was; None if it is, or if nobody could ever read it (it moves along)."""
    try:
        return "has other content" if known_id is not None and sample_id(path) != known_id else None
    except OSError as error:
        return str(error.strerror or error).lower()
