"""Searching a folder for images."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dalcli.config.words import counted
from dalcli.data.decoding import image_extensions
from dalcli.data.found import FoundImage, FoundImages
from dalcli.errors import BadInputError


def search_folder(folder: Path, *, labels_from_folders: bool = False) -> FoundImages:
    """All files below ``folder`` that are named like images, sorted by path.

    Symbolic links are followed, but every real folder is searched once, under its own name where it lies below
    ``folder``. Names that begin with a dot are passed over silently; other files that are not named like images are
    counted as ignored. With ``labels_from_folders`` the first folder below ``folder`` is the class; files directly
    in ``folder`` have none.

    Raises:
        BadInputError: some folder cannot be read (naming all such).
    """
    search = _Search(folder)
    paths = sorted(search.image_paths(), key=lambda path: path.parts)
    if search.unreadable:
        raise BadInputError(
            f"{folder}: {counted(len(search.unreadable), 'folder')} cannot be read, first: {search.unreadable[0]}",
            "Make them readable, or move them elsewhere.",
            search.unreadable,
        )
    depth = len(folder.parts)
    labeled = labels_from_folders
    images = [FoundImage(path, _class_of(path.parts[depth:]) if labeled else None) for path in paths]
    return FoundImages(images, search.ignored)


def _class_of(parts: tuple[str, ...]) -> str | None:
    return parts[0] if len(parts) > 1 else None


@dataclass
class _Search:
    root: Path
    ignored: int = 0
    unreadable: list[str] = field(default_factory=list)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def image_paths(self) -> Iterator[Path]:
        extensions = image_extensions()
        folders: list[str] = [os.fspath(self.root)]
        links: deque[str] = deque()
        while folders or links:
            # Links come last, so that a folder reachable both ways is found under its own name.
            folder = folders.pop() if folders else links.popleft()
            for entry in self._entries(folder):
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(entry.path)
                elif _is_named_like_an_image(entry, extensions):
                    yield Path(entry.path)
                else:
                    self.ignored += 1

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """What is visible in a folder, sorted by name; nothing if the folder was seen before."""
        try:
            status = os.stat(folder)  # noqa: PTH116  (a million Path objects for nothing)
            identity = (status.st_dev, status.st_ino)
            if identity in self._seen:
                return []
            self._seen.add(identity)
            with os.scandir(folder) as entries:
                return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            self.unreadable.append(f"{folder}: {error.strerror}")
            return []


def _is_named_like_an_image(entry: os.DirEntry[str], extensions: frozenset[str]) -> bool:
    """Files, and broken links (whoever reads them reports those), but no pipes and devices."""
    if os.path.splitext(entry.name)[1].lower() not in extensions:  # noqa: PTH122
        return False
    return entry.is_file() or entry.is_symlink()
