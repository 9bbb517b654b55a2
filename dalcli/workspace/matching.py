"""Which sample a row of a label file means: by id, by exact path, or by a file name that only one sample has."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from dalcli.state import catalog, files
from dalcli.state.database import Connection
from dalcli.state.workspace import Workspace

# Label Studio stores uploads as <8 hex digits>-<name>, and local files as /data/local-files/?d=<path>.
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_LOCAL_FILE = "?d="


class UnknownSampleError(Exception):
    """No sample, or more than one, fits; the message says which."""


class SampleMatcher:
    """Looks samples up, for all rows of one label file; knows the pool as it was in one snapshot."""

    def __init__(
        self, workspace: Workspace, folder: Path | None, by_id: Mapping[str, int], by_path: Mapping[str, int]
    ) -> None:
        self.by_name_alone = 0  # rows whose path is unknown, but whose file name only one sample has
        self._workspace = workspace
        self._folder = folder
        self._by_id = by_id
        self._by_path = by_path
        self._by_name: defaultdict[str, set[int]] = defaultdict(set)
        for path, sample in by_path.items():
            self._by_name[PurePosixPath(path).name].add(sample)

    @classmethod
    def of(cls, connection: Connection, workspace: Workspace, folder: Path | None) -> SampleMatcher:
        """A matcher for the pool as it is now; ``folder`` is where the label file is, if it is a file."""
        return cls(workspace, folder, catalog.keys_by_id(connection), files.sample_keys(connection))

    def find(self, reference: str) -> int:
        """The key of the sample a row means: a sample id, or a path however a tool may have rewritten it.

        Raises:
            UnknownSampleError: there is none, or several samples have a file of that name.
        """
        return self._by_id[reference] if reference in self._by_id else self._by_path_text(reference)

    def exact_path(self, text: str) -> int | None:
        """The key of the sample known at this very path, in any of its spellings; None if there is none."""
        path = _plain_path(text)
        spellings = chain(self._spellings(path), self._spellings(path.strip()))
        return next((self._by_path[spelling] for spelling in spellings if spelling in self._by_path), None)

    def _by_path_text(self, text: str) -> int:
        found = self.exact_path(text)
        if found is not None:
            return found
        path = _plain_path(text)
        name = PurePosixPath(path.replace("\\", "/")).name
        for spelling in (name, name.strip(), _UPLOAD_PREFIX.sub("", name.strip())):
            owners = self._by_name.get(spelling, set())
            if len(owners) == 1:
                self.by_name_alone += 1
                return next(iter(owners))
            if owners:
                raise UnknownSampleError(
                    f"ambiguous path '{text}': {len(owners)} samples have a file named '{spelling}'"
                )
        raise UnknownSampleError(f"unknown sample '{text}'")

    def _spellings(self, path: str) -> Iterator[str]:
        """Stored forms the text may stand for: as printed, in the workspace, from here, beside the label file."""
        yield path
        yield self._workspace.stored_path(self._workspace.root / path)
        yield self._workspace.stored_path(Path(path))
        if self._folder is not None:
            yield self._workspace.stored_path(self._folder / path)


def _plain_path(text: str) -> str:
    return unquote(text.split(_LOCAL_FILE, 1)[1]) if _LOCAL_FILE in text else text
