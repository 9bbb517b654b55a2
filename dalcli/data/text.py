"""Text that users hand over: a file or standard input, decoded strictly, line by line.

UTF-8 with or without byte order mark, or UTF-16 with one. Anything else is an error that names the line, because
a class name read in the wrong encoding would be learned as a new class.
"""

from __future__ import annotations

import codecs
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from dalcli.errors import BadInputError

ENCODING_REMEDY = "Save it as plain text in UTF-8 (in a spreadsheet: 'CSV UTF-8') and try again."
_CHUNK = 1 << 16
# A line of a label file is a row or a JSON object; what is longer is no text that people label with.
LINE_LIMIT = 1 << 26


@dataclass(frozen=True)
class TextInput:
    """Something to read text from, as often as needed, and the name it has in messages."""

    name: str
    content: Path | bytes

    @classmethod
    def from_path(cls, path: Path) -> TextInput:
        """A file; a pipe or device is read to its end at once, since it cannot be read twice.

        Raises:
            BadInputError: there is no such file, or it cannot be read.
        """
        try:
            if path.is_dir():
                raise BadInputError(f"{path} is a folder, not a file.")
            return cls(str(path), path if path.is_file() else path.read_bytes())
        except (OSError, ValueError) as error:
            raise _unreadable(str(path), error) from None

    @classmethod
    def from_stdin(cls) -> TextInput:
        """What comes through standard input, read to its end; BadInputError if there is none."""
        if sys.stdin is None:
            raise BadInputError("standard input is closed", "name a file instead of -")
        return cls("<stdin>", sys.stdin.buffer.read())

    def open(self) -> BinaryIO:
        """The raw bytes, from the start; BadInputError if the file cannot be opened."""
        if isinstance(self.content, bytes):
            return io.BytesIO(self.content)
        try:
            return self.content.open("rb")
        except OSError as error:
            raise _unreadable(self.name, error) from None

    def head(self, size: int = _CHUNK) -> bytes:
        """The first bytes, for telling formats apart."""
        with self.open() as file:
            return file.read(size)

    def lines(self) -> Iterator[str]:
        r"""Physical lines with their ends (``\n``, ``\r\n`` or ``\r``), as they are.

        Raises:
            BadInputError: not UTF-8 or UTF-16, a NUL character, or a line without end, naming the line.
        """
        with self._text() as text:
            for number, line in enumerate(iter(lambda: text.readline(LINE_LIMIT), ""), start=1):
                if "\0" in line:
                    raise self._with_nul(f", line {number}")
                if len(line) == LINE_LIMIT:
                    raise BadInputError(
                        f"{self.name}, line {number}: longer than {LINE_LIMIT:,} characters.",
                        "Is it the right file?",
                    )
                yield line

    def chunks(self, size: int = _CHUNK) -> Iterator[str]:
        r"""The text in pieces of ``size`` characters, whatever its lines: for formats that are not made of lines.

        Raises:
            BadInputError: as :meth:`lines`.
        """
        with self._text() as text:
            while chunk := text.read(size):
                if "\0" in chunk:
                    raise self._with_nul("")
                yield chunk

    @contextmanager
    def _text(self) -> Iterator[io.TextIOWrapper]:
        """The decoded text, with the errors of reading it as messages."""
        with self.open() as file:
            encoding = self._encoding(file)
            # newline="" recognises all three line ends and leaves them as they are.
            with io.TextIOWrapper(file, encoding=encoding, errors="strict", newline="") as text:
                try:
                    yield text
                except UnicodeDecodeError:
                    line = self._undecodable_line(encoding)
                    raise BadInputError(f"{self.name}, line {line}: not UTF-8 text.", ENCODING_REMEDY) from None
                except OSError as error:
                    raise _unreadable(self.name, error) from None

    def _encoding(self, file: BinaryIO) -> str:
        start = file.read(4)
        file.seek(0)
        if start.startswith(b"PK\x03\x04"):
            raise BadInputError(f"{self.name} is a spreadsheet or zip file, not text.", ENCODING_REMEDY)
        if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
            raise BadInputError(f"{self.name} is UTF-32 text.", ENCODING_REMEDY)
        is_utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return "utf-16" if is_utf16 else "utf-8-sig"

    def _with_nul(self, where: str) -> BadInputError:
        return BadInputError(f"{self.name}{where}: contains a NUL character, so it is not plain text.", ENCODING_REMEDY)

    def _undecodable_line(self, encoding: str) -> int:
        """Number of the first line that cannot be decoded: the text reader fails too early to know it."""
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
        line = 1
        with self.open() as file:
            while chunk := file.read(_CHUNK):
                state = decoder.getstate()
                try:
                    line += decoder.decode(chunk).count("\n")
                except UnicodeDecodeError:
                    decoder.setstate(state)
                    return line + _newlines_before_error(decoder, chunk)
        return line  # the last character is cut off


def _newlines_before_error(decoder: io.IncrementalNewlineDecoder, chunk: bytes) -> int:
    newlines = 0
    try:
        for index in range(len(chunk)):
            newlines += decoder.decode(chunk[index : index + 1]).count("\n")
    except UnicodeDecodeError:
        pass
    return newlines


def _unreadable(name: str, error: OSError | ValueError) -> BadInputError:
    if isinstance(error, FileNotFoundError):
        return BadInputError(f"{name}: no such file.")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return BadInputError(f"{name} cannot be read: {reason}.")
