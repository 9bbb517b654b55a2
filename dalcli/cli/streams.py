"""stdout for data, stderr for people; both survive whatever is at the other end."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress

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


def write_data(data: bytes, remedy: str) -> None:
    """Write ``data`` to stdout and make sure that it arrived.

    Raises:
        OutputClosed: nobody reads any more.
        DalcliError: the disk is full, or there is no stdout; ``remedy`` says what is still safe.
    """
    if sys.stdout is None:
        raise DalcliError("standard output is closed", remedy)
    try:
        sys.stdout.flush()
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.buffer.write(data)
        else:  # replaced by something that takes text only, as in a notebook
            sys.stdout.write(data.decode())
        sys.stdout.flush()
    except OSError as error:
        silence_stdout()
        if error.errno == errno.EPIPE:
            raise OutputClosed from None
        raise DalcliError(f"cannot write to standard output: {error.strerror}", remedy) from None


def settle_stdout() -> None:
    """Get rid of what cannot be written: else the interpreter tries again on its way out and exits with 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        silence_stdout()


def silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush cannot fail."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):  # stdout is no real file
        pass
