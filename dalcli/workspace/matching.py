"""Which sample a row of a label file means: by id, by exact path, or by a file name that only one sample has.

Tools rewrite paths: they percent-encode them, put addresses before them, or a prefix before the name. Every way to read
what a row says is tried as an exact path before any is taken apart. Names are compared as people see them: é may be
one character or two, and a space any kind of space.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from dalcli.config.words import text_key
from dalcli.formats.cells import spreadsheet_damage
from dalcli.state import catalog, files
from dalcli.state.database import Connection
from dalcli.state.workspace import Workspace

# Label Studio stores uploads as <8 hex digits>-<name>, and local files as /data/local-files/?d=<path>.
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_NOT_IN_UPLOADS = re.compile(r"[^-\w.]")
_LOCAL_FILE = "?d="
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]{1,20})://([^/]*)(/?[^?#]*)", re.IGNORECASE)
_DRIVE = re.compile(r"/[A-Za-z]:/")
_CANDIDATES_SHOWN = 5


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

    @classmethod
    def of(cls, connection: Connection, workspace: Workspace, folder: Path | None) -> SampleMatcher:
        """A matcher for the pool as it is now; ``folder`` is where the label file is, if it is a file."""
        return cls(workspace, folder, catalog.keys_by_id(connection), files.sample_keys(connection))

    def find(self, reference: str, aliases: Iterable[str] = (), *, without_extension: bool = False) -> int:
        """The key of the sample a row means: a sample id, or a path however a tool may have rewritten it.

        ``aliases`` are tried where ``reference`` is unknown; ``without_extension``: it may lack its extension.

        Raises:
            UnknownSampleError: there is none, or several samples have a file of that name.
        """
        try:
            known = self._by_id.get(reference)
            return known if known is not None else self._by_path_text(reference, without_extension)
        except UnknownSampleError:
            for alias in aliases:
                try:
                    return self.find(alias, without_extension=without_extension)
                except UnknownSampleError:
                    continue
            raise

    def exact_path(self, text: str) -> int | None:
        """The key of the sample known at this very path, in any of its spellings; None if there is none."""
        if text in self._by_path:
            return self._by_path[text]
        if "\0" in text:
            return None
        for reading in _readings(text):
            for spelling in self._spellings(reading):
                if spelling in self._by_path:
                    return self._by_path[spelling]
                alike = self._by_key.get(text_key(spelling), set())
                if len(alike) == 1:
                    return next(iter(alike))
        return None

    @cached_property
    def _by_key(self) -> Mapping[str, set[int]]:
        """The samples whose path looks like this."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for path, sample in self._by_path.items():
            found[text_key(path)].add(sample)
        return found

    @cached_property
    def _by_name(self) -> Mapping[str, list[str]]:
        """Paths by how their file's name looks."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._by_path:
            found[text_key(PurePosixPath(path).name)].append(path)
        return found

    @cached_property
    def _by_upload(self) -> Mapping[str, list[str]]:
        """Paths by the name that Label Studio (Django) gives an upload behind its prefix."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._by_path:
            found[_NOT_IN_UPLOADS.sub("", text_key(PurePosixPath(path).name).replace(" ", "_"))].append(path)
        return found

    @cached_property
    def _by_stem(self) -> Mapping[str, list[str]]:
        """Paths by their file's name without its extension."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for path in self._by_path:
            found[text_key(PurePosixPath(path).stem)].append(path)
        return found

    def _named(self, name: str, without_extension: bool) -> tuple[str, list[str]]:
        """The paths whose file has this name, before or after a tool changed it, and the name that they have."""
        if name in self._by_name:
            return name, self._by_name[name]
        original = _UPLOAD_PREFIX.sub("", name)
        if original != name:
            return original, self._by_name.get(original) or self._by_upload.get(original, [])
        return name, self._by_stem.get(name, []) if without_extension else []

    def _by_path_text(self, text: str, without_extension: bool) -> int:
        found = self.exact_path(text)
        if found is not None:
            return found
        for reading in map(_slashes, _readings(text)):
            name, paths = self._named(text_key(PurePosixPath(reading).name), without_extension)
            if name and paths:
                return self._one_of(text, reading, name, paths)
        damage = spreadsheet_damage(text.strip())
        raise UnknownSampleError(f"unknown sample '{text}'{f': {damage}' if damage else ''}")

    def _one_of(self, text: str, reading: str, name: str, paths: list[str]) -> int:
        """The sample that one of ``paths`` belongs to: by the folders around it, or the only one."""
        below = {self._by_path[path] for path in paths if _same_end(reading, path)}
        if len(below) == 1:
            return next(iter(below))
        owners = {self._by_path[path] for path in paths}
        if len(owners) == 1:
            self.by_name_alone += 1
            return next(iter(owners))
        shown = ", ".join(f"'{path}'" for path in sorted(paths)[:_CANDIDATES_SHOWN])
        more = f" and {len(paths) - _CANDIDATES_SHOWN} more" if len(paths) > _CANDIDATES_SHOWN else ""
        raise UnknownSampleError(
            f"ambiguous path '{text}': {len(owners)} samples have a file named '{name}': {shown}{more}"
        )

    def _spellings(self, path: str) -> Iterator[str]:
        """Stored forms the text may stand for: as printed, in the workspace, from here, beside the label file."""
        yield path
        yield self._workspace.stored_path(self._workspace.root / path)
        yield self._workspace.stored_path(Path(path))
        if self._folder is not None:
            yield self._workspace.stored_path(self._folder / path)


def _readings(text: str) -> list[str]:
    """What a path may have been before a tool wrote it: itself first."""
    found = [text, text.strip("\ufeff").strip()]
    if _LOCAL_FILE in text:
        path = text.split(_LOCAL_FILE, 1)[1]
        found += [unquote(path), path]
    address = _ADDRESS.match(text.strip())
    if address is not None:
        path = unquote(address[3])
        found += [path[1:], path] if _DRIVE.match(path) else [path]
    if "%" in text:
        found.append(unquote(text))
    return [reading for reading in dict.fromkeys(found) if "\0" not in reading and "\ufffd" not in reading]


def _slashes(path: str) -> str:
    return path.replace("\\", "/")


def _same_end(reading: str, path: str) -> bool:
    """Whether the folders of the shorter of two paths are the last ones of the other; their names are known to fit."""
    one, other = text_key(reading).strip("/").split("/"), text_key(path).strip("/").split("/")
    common = min(len(one), len(other))
    return common >= 2 and one[-common:-1] == other[-common:-1]
