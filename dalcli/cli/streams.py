"""stdout for data, stderr for people; both survive whatever is at the other end."""

from __future__ import annotations

import errno
import os
import sys

from dalcli.errors import DalcliError


class OutputClosed(Exception):
    """The reader of stdout went away (``| head -1``): not an error."""


def write_data(data: bytes, what: str) -> None:
    """Write ``data`` to stdout and make sure that it arrived.

    Raises:
        OutputClosed: nobody reads any more.
        DalcliError: the disk is full; ``what`` says what is still safe.
    """
    try:
        sys.stdout.flush()
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:  # a stdout replaced by text-only code
            sys.stdout.write(data.decode())
        else:
            stream.write(data)
            stream.flush()
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
    except OSError as error:
        silence_stdout()
        if error.errno == errno.EPIPE:
            raise OutputClosed from None
        raise DalcliError(f"cannot write to standard output: {error.strerror}", what) from None


def silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush cannot fail."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError, AttributeError):  # stdout is no real file
        pass
