"""Where a workspace keeps things, and how it is found."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from dalcli.errors import BadInputError, NotReadyError

CONFIG_NAME = "dalcli.yaml"
WEIGHTS_NAME = "model.safetensors"
"""The tensors of a model version, in its folder."""
STATE_NAME = ".dalcli"


@dataclass(frozen=True)
class Workspace:
    """A folder with ``dalcli.yaml`` (the user's) and ``.dalcli/`` (ours); ``root`` is absolute."""

    root: Path

    @property
    def config_path(self) -> Path:
        return self.root / CONFIG_NAME

    @property
    def state(self) -> Path:
        return self.root / STATE_NAME

    @property
    def database_path(self) -> Path:
        return self.state / "state.db"

    @property
    def lock_path(self) -> Path:
        return self.state / "compute.lock"

    @property
    def log_path(self) -> Path:
        return self.state / "errors.log"

    @property
    def networks(self) -> Path:
        """Where the tensors of frozen networks are kept, each in a file named by its fingerprint."""
        return self.state / "networks"

    def model_folder(self, version: str) -> Path:
        return self.state / "models" / version

    def score_folder(self, version: str) -> Path:
        return self.state / "scores" / version

    def stored_path(self, path: Path) -> str:
        """How ``path`` is stored and printed: relative to the workspace where inside it, else absolute."""
        absolute = _absolute(path)
        if absolute.is_relative_to(self.root):
            return absolute.relative_to(self.root).as_posix()
        # The workspace may have been reached through a symbolic link and the file not, or the other way round.
        real, real_root = _real(absolute.parent) / absolute.name, _real(self.root)
        return (real.relative_to(real_root) if real.is_relative_to(real_root) else absolute).as_posix()

    def absolute_path(self, stored: str) -> Path:
        """The inverse of :meth:`stored_path`."""
        return self.root / stored

    def absolute_names(self, stored: Iterable[str]) -> list[str]:
        """The same for many paths, as text: making a ``Path`` takes longer than asking the system about it."""
        root = os.fspath(self.root)
        return [os.path.join(root, path) for path in stored]  # noqa: PTH118


def printable(text: str) -> str:
    """``text`` with bytes that are not UTF-8 written as backslash escapes: neither SQLite nor a CSV takes them raw."""
    return text.encode(errors="backslashreplace").decode()


def _absolute(path: Path) -> Path:
    # Links are kept, except before '..', which to the operating system means the parent of what the link points to.
    return _real(path.parent) / path.name if ".." in path.parts[:-1] else Path(os.path.abspath(path))


@lru_cache(maxsize=4096)
def _real(folder: Path) -> Path:
    """One answer per folder: there are many files in each, and a command sees one state of the disk."""
    return folder.resolve()


def find(start: Path | None) -> Workspace:
    """The workspace named by ``start``, or the nearest one at or above the current directory.

    Raises:
        BadInputError: ``start`` does not exist.
        NotReadyError: there is no workspace.
    """
    _real.cache_clear()
    if start is not None:
        root = Path(os.path.abspath(start))
        if not root.is_dir():
            raise BadInputError(f"{start}: no such folder", "name an existing workspace with -C DIR")
        candidates = [root]
    else:
        here = Path.cwd()
        candidates = [here, *here.parents]
    for candidate in candidates:
        if (candidate / STATE_NAME / "state.db").is_file():
            return Workspace(candidate)
    where = f"{candidates[0]}" if start is not None else f"{candidates[0]} or any folder above it"
    raise NotReadyError(f"no workspace in {where}", "make one: dalcli init IMAGES... --classes a,b,c")
