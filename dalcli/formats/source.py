"""What a label file is made of: one file, a folder, or an archive that is opened like a folder.

Archives are read in place, never unpacked to disk. One that would unpack to far more than labels can be is refused.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, cast

from dalcli.data.identity import DIGEST_BYTES, id_from_digest, sample_id
from dalcli.data.text import TextInput
from dalcli.errors import BadInputError

ZIP_START = b"PK\x03\x04"
# An archive of labels unpacks to some hundred times its size at most, and only text does; 64 MiB are harmless.
_MOST_RATIO = 250
_HARMLESS = 1 << 26
_MOST_BYTES = 1 << 33
_MOST_MEMBERS = 1 << 21
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)


class Members(Protocol):
    """The files in a folder or an archive."""

    @property
    def names(self) -> Sequence[str]:
        """Their names with ``/`` between folders, sorted, without a folder that all of them are in."""
        ...

    def text(self, name: str) -> TextInput:
        """One of them, to be read."""
        ...

    def sample_id(self, name: str) -> str:
        """The sample id of the bytes of one of them; BadInputError if they cannot be read."""
        ...

    def close(self) -> None:
        """Nothing of it will be read any more."""
        ...


@dataclass(frozen=True)
class LabelSource:
    """Something to read labels from. ``text`` is the file itself; ``members`` is what a folder or archive holds."""

    name: str
    text: TextInput | None
    members: Members | None = None
    beside: Path | None = field(default=None)

    @classmethod
    def of(cls, text: TextInput) -> LabelSource:
        """A file that is open for reading already."""
        beside = text.content.parent if isinstance(text.content, Path) else None
        members = Archive(text) if text.head(4) == ZIP_START else None
        return cls(text.name, text, members, beside)

    @classmethod
    def from_path(cls, path: Path) -> LabelSource:
        """A file or a folder; BadInputError if there is none."""
        return cls(str(path), None, Folder(path)) if path.is_dir() else cls.of(TextInput.from_path(path))

    def file(self) -> TextInput:
        """The one file that this is.

        Raises:
            BadInputError: it is a folder or an archive.
        """
        if self.text is None or self.members is not None:
            what = "a folder" if self.text is None else "an archive"
            raise BadInputError(f"{self.name} is {what}, not a file of labels.", "Name the file inside it.")
        return self.text

    def close(self) -> None:
        """Nothing of it will be read any more."""
        if self.members is not None:
            self.members.close()

    def member(self, name: str) -> TextInput:
        """A file of a folder or archive that is known to be there."""
        assert self.members is not None
        return self.members.text(name)


class Folder:
    """A folder on disk, with everything below it, every real folder once; hidden names are passed over."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def names(self) -> Sequence[str]:
        found: list[str] = []
        seen: set[tuple[int, int]] = set()
        start = os.fspath(self._path)
        for folder, folders, files in os.walk(start, followlinks=True):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:  # a link that goes round in a circle
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            below = "" if folder == start else folder[len(start) :].strip("/") + "/"
            found += [below + name for name in files if not name.startswith(".")]
        return sorted(found)

    def text(self, name: str) -> TextInput:
        return TextInput(str(self._path / name), self._path / name)

    def sample_id(self, name: str) -> str:
        try:
            if not (self._path / name).is_file():  # a pipe would be waited for
                raise BadInputError(f"{self._path / name} is not a file.")
            return sample_id(self._path / name)
        except OSError as error:
            raise BadInputError(f"{self._path / name} cannot be read: {error.strerror}.") from None

    def close(self) -> None:
        pass


class Archive:
    """A zip file, read in place."""

    def __init__(self, text: TextInput) -> None:
        self._text = text

    def close(self) -> None:
        if "_file" in self.__dict__:
            self._file.close()
        if "zip" in self.__dict__:
            self.zip.close()

    @cached_property
    def _file(self) -> BinaryIO:
        return self._text.open()

    @cached_property
    def zip(self) -> zipfile.ZipFile:
        """The archive itself, once it is known to be harmless."""
        try:
            found = zipfile.ZipFile(self._file)
        except _BROKEN as error:
            raise BadInputError(f"{self._text.name} is a damaged zip file: {error}.", "Export it again.") from None
        members = found.infolist()
        unpacked, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
        enormous = unpacked > _MOST_BYTES or (unpacked > _HARMLESS and unpacked > _MOST_RATIO * packed)
        if enormous or len(members) > _MOST_MEMBERS:
            raise BadInputError(
                f"{self._text.name} would unpack to {unpacked:,} bytes in {len(members):,} files: refused.",
                "No export of labels is like that; unpack it yourself if you trust it, and name the file inside.",
            )
        return found

    @cached_property
    def _by_name(self) -> dict[str, zipfile.ZipInfo]:
        infos = {info.filename.replace("\\", "/"): info for info in self.zip.infolist() if not info.is_dir()}
        seen = {name: info for name, info in infos.items() if not _hidden(name)}
        tops = {PurePosixPath(name).parts[0] for name in seen if PurePosixPath(name).parts}
        if len(tops) == 1 and all("/" in name for name in seen):
            return {name.split("/", 1)[1]: info for name, info in seen.items()}
        return seen

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._by_name)

    def text(self, name: str) -> TextInput:
        return _MemberText(f"{self._text.name}, {name}", b"", self.zip, self._by_name[name])

    def sample_id(self, name: str) -> str:
        with self.text(name).open() as file:
            digest = hashlib.file_digest(cast("io.BufferedReader", file), "sha256").digest()
        return id_from_digest(digest[:DIGEST_BYTES])


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


@dataclass(frozen=True)
class _MemberText(TextInput):
    archive: zipfile.ZipFile = field(kw_only=False, default=cast("zipfile.ZipFile", None))
    info: zipfile.ZipInfo = field(default=cast("zipfile.ZipInfo", None))

    def open(self) -> BinaryIO:
        try:
            return cast(
                "BinaryIO", io.BufferedReader(_Unpacked(self.name, cast("BinaryIO", self.archive.open(self.info))))
            )
        except _BROKEN as error:
            raise BadInputError(f"{self.name} cannot be unpacked: {error}.", "Export it again.") from None


class _Unpacked(io.RawIOBase):
    """A file of an archive, whose damage is a message. ``seek`` goes back to the start only, as text inputs do."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self._name, self._file = name, file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._file.read(len(buffer))
        except _BROKEN as error:
            raise BadInputError(f"{self._name} cannot be unpacked: {error}.", "Export it again.") from None
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
