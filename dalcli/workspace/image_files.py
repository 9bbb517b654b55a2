"""Which file holds a sample's bytes today: files are moved, touched, edited and lost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from dalcli.data.identity import sample_id
from dalcli.runtime.parallel import ordered_map
from dalcli.state import catalog
from dalcli.state.catalog import PoolImage, SeenFile
from dalcli.state.workspace import Workspace
from dalcli.workspace.session import Session

AT_ONCE = 256


class FoundFile(NamedTuple):
    """The file (as stored) that holds a sample's bytes, or why there is none; ``touched`` ones still do."""

    path: str
    problem: str | None = None
    touched: SeenFile | None = None


def find_files(session: Session, images: Sequence[PoolImage]) -> list[FoundFile]:
    """One per image; what was touched without being changed is not hashed again the next time."""
    find = partial(_find_some, session.workspace)
    chunks = (images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE))
    found = [place for some in ordered_map(find, chunks, session.config.data.workers) for place in some]
    touched = [place.touched for place in found if place.touched is not None]
    if touched:
        with session.database.write() as connection:
            for file in touched:
                assert file.size is not None and file.mtime_ns is not None
                catalog.refresh_file(connection, file.path, file.size, file.mtime_ns)
    return found


def _find_some(workspace: Workspace, images: Sequence[PoolImage]) -> list[FoundFile]:
    return [find_file(workspace, image) for image in images]


def find_file(workspace: Workspace, image: PoolImage) -> FoundFile:
    """Where ``image`` is now: bytes are compared only where size or modification time have changed."""
    problem = "no file is known to hold it"
    for seen in image.files:
        (path,) = workspace.absolute_names((seen.path,))
        try:
            status = os.stat(path)  # noqa: PTH116
            if (status.st_size, status.st_mtime_ns) == (seen.size, seen.mtime_ns):
                return FoundFile(seen.path)
            if sample_id(Path(path)) == image.sample_id:
                return FoundFile(seen.path, touched=SeenFile(seen.path, status.st_size, status.st_mtime_ns))
            problem = "the content changed since registration"
        except FileNotFoundError:
            problem = "the file is missing"
        except OSError as error:
            problem = str(error.strerror or error).lower()
    return FoundFile(image.path, problem)
