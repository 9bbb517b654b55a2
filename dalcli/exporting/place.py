"""The folder that an export goes to: looked at first, built beside, and put there complete. Never imports torch."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dalcli.errors import BadInputError
from dalcli.state.atomic import new_folder
from dalcli.state.workspace import Workspace
from dalcli.workspace.outputs import require_writable

DOCUMENT = "model.json"


def checked(out: Path, workspace: Workspace) -> Path:
    """Where ``out`` is, absolute and free of links; what a killed ``--force`` had moved away is put back.

    Raises:
        BadInputError: nothing can be written there.
    """
    place = out.resolve()
    if place.is_relative_to(workspace.state.resolve()):
        raise BadInputError(f"{out}: is inside {workspace.state}, which is dalcli's own", "name a folder outside it")
    if place.exists() and not place.is_dir():
        raise BadInputError(f"{out}: is a file", "name a folder that is not there yet")
    if not place.parent.is_dir():
        raise BadInputError(f"{place.parent}: no such folder", "create it, or name another place")
    require_writable(place.parent)
    _put_back(place)
    return place


def known(place: Path) -> dict[str, Any] | None:
    """``model.json`` of an earlier export; None: there is none, or somebody else's."""
    try:
        document = json.loads((place / DOCUMENT).read_bytes())
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) and {"dalcli", "forms", "files"} <= document.keys() else None


def is_whole(place: Path, document: Mapping[str, Any]) -> bool:
    """Whether all files that ``document`` lists are there, and are what they were."""
    try:
        return all(sha256(place / name) == entry["sha256"] for name, entry in document["files"].items())
    except (OSError, KeyError, TypeError, AttributeError):
        return False


def require_free(out: Path, place: Path, document: Mapping[str, Any] | None, force: bool) -> None:
    """Refuse to touch what is there, unless it is an earlier export and ``force`` says so.

    Raises:
        BadInputError: naming what is there.
    """
    if not place.exists() or not any(place.iterdir()):
        return
    if document is None:
        raise BadInputError(
            f"{out}: is there already, and is not an export of dalcli", "name a folder that is not there yet"
        )
    if not force:
        raise BadInputError(
            f"{out}: is there already: an export of {document.get('model')} with other options, or of another state",
            "replace it with --force, or name another folder",
        )


@contextmanager
def building(place: Path) -> Iterator[Path]:
    """An empty folder to be filled; at the end it is ``place``, and what was there before is gone.

    Killed at any time it leaves the old folder, or the new one, or (between two renames) the old one under another
    name, from where :func:`checked` puts it back.
    """
    old = _aside(place)
    try:
        with new_folder(place) as partial:
            yield partial
            if place.exists() and any(place.iterdir()):
                place.rename(old)
    except BaseException:
        _put_back(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def sha256(path: Path) -> str:
    """Of a file's bytes, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _aside(place: Path) -> Path:
    return place.with_name(f"{place.name}.replaced")


def _put_back(place: Path) -> None:
    """Where both are there the new one was complete."""
    old = _aside(place)
    if known(old) is None:
        return
    if place.exists() and any(place.iterdir()):
        shutil.rmtree(old)
    else:
        old.rename(place)
