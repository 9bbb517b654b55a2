"""stdout for data, stderr for people; both survive whatever is at the other end."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

from dalcli.errors import DalcliError

# A file name may contain anything, also what a terminal takes for a command or a log for a new line.
_CONTROL = {code: repr(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}


class OutputClosed(Exception):
    """The reader of stdout went away (``| head -1``): not an error."""


def one_line(text: str) -> str:
    """``text`` with control characters written as escapes."""
    return text.translate(_CONTROL)


def say(message: str) -> None:
    """One line on stderr: the one way to speak to people."""
    if sys.stderr is None:  # closed before we started
        return
    with suppress(OSError):  # closed meanwhile, or its disk full: nobody to tell
        print(one_line(message), file=sys.stderr, flush=True)  # noqa: T201


_ours: list[TextIO] = []
"""The real stdout, while :func:`aside` is in force."""


def out() -> TextIO | None:
    """Where data goes; None where it was closed before we started."""
    return _ours[-1] if _ours else sys.stdout


@contextmanager
def aside() -> Iterator[None]:
    """Whatever others' code prints meanwhile goes to stderr: a model of the user's may say what it loads."""
    if _ours or sys.stdout is None or sys.stderr is None:
        yield
        return
    _ours.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _ours.pop()


def write_data(data: bytes, remedy: str) -> None:
    """Write ``data`` to stdout and make sure that it arrived.

    Raises:
        OutputClosed: nobody reads any more.
        DalcliError: the disk is full, or there is no stdout; ``remedy`` says what is still safe.
    """
    stream = out()
    if stream is None:
        raise DalcliError("standard output is closed", remedy)
    try:
        stream.flush()
        if isinstance(stream, io.TextIOWrapper):
            stream.buffer.write(data)
        else:  # replaced by something that takes text only, as in a notebook
            stream.write(data.decode())
        stream.flush()
    except OSError as error:
        silence_stdout()
        if error.errno == errno.EPIPE:
            raise OutputClosed from None
        raise DalcliError(f"cannot write to standard output: {error.strerror}", remedy) from None


def settle_stdout() -> None:
    """Get rid of what cannot be written: else the interpreter tries again on its way out and exits with 120."""
    try:
        stream = out()
        if stream is not None:
            stream.flush()
    except OSError:
        silence_stdout()


def silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush cannot fail."""
    stream = out()
    if stream is None:
        return
    with suppress(OSError, ValueError, AttributeError):  # stdout is no real file
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
