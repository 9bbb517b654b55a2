"""Files from the network: with time-outs, progress and a checked hash, and there completely or not at all.

Never imports torch. Proxies are those of the environment (``https_proxy``), as everywhere in Python.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from dalcli.errors import DalcliError
from dalcli.feedback import Feedback, Task
from dalcli.state.atomic import write_via

OFFLINE = "DALCLI_OFFLINE"
"""Environment variable: where it is set (and not 0), nothing is ever downloaded."""
TIMEOUT_SECONDS = 20.0  # to connect, and for each read: a slow download may take as long as it moves
_CHUNK = 1 << 20
_MEGABYTE = 10**6


class DownloadError(DalcliError):
    """A file could not be had from the network; the remedy says how to bring it by hand.

    ``missing``: the server says that there is no such file.
    """

    def __init__(self, message: str, remedy: str, *, missing: bool = False) -> None:
        super().__init__(message, remedy)
        self.missing = missing


def fetch(url: str, target: Path, remedy: str, feedback: Feedback, sha256: str = "") -> None:
    """Make ``target`` hold what is at ``url``.

    Args:
        url: http or https.
        target: appears only when everything has arrived and its hash fits; its folder is made.
        remedy: how to do without the network, for the error.
        sha256: the first digits that the SHA-256 of the content must have; empty: any.

    Raises:
        DownloadError: downloads are forbidden, there is no network, nothing came for :data:`TIMEOUT_SECONDS`, the
            server or a proxy refused, or the content is not what it should be.
        OSError: ``target`` cannot be written.
    """
    if is_offline():
        raise DownloadError(f"{target.name} would have to be downloaded, which {OFFLINE} forbids", remedy)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_via(target, _receiver(url, target.name, remedy, feedback, sha256))


def is_offline() -> bool:
    """Whether the user forbids downloads."""
    return os.environ.get(OFFLINE, "0") not in {"", "0"}


def digits_in(name: str) -> str:
    """The first digits of a file's SHA-256 that its name tells by torch's convention (NAME-DIGITS.pth); empty: none."""
    found = re.search(r"-([0-9a-f]{8,})\.", name)
    return found[1] if found else ""


def matches(path: Path, sha256: str) -> bool:
    """Whether the content of a file has a SHA-256 that begins with these digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(sha256)


def _receiver(url: str, name: str, remedy: str, feedback: Feedback, sha256: str) -> Callable[[Path], None]:
    """What writes the content of ``url`` to a temporary file."""

    def receive(temporary: Path) -> None:
        digest = hashlib.sha256()
        with _explained(url, name, remedy), _opened(url) as response:
            size = response.length or 0
            with temporary.open("wb") as file, feedback.task(f"download {name}", _megabytes(size), "MB") as task:
                received = 0
                while chunk := response.read(_CHUNK):
                    _write(file.write, chunk)
                    digest.update(chunk)
                    _advance(task, received, received := received + len(chunk))
        if received < size:
            raise DownloadError(f"{url} ended after {received:,} of {size:,} bytes", f"Try again. {remedy}")
        if not digest.hexdigest().startswith(sha256):
            raise DownloadError(
                f"{url} gave another file than expected: its SHA-256 begins with {digest.hexdigest()[: len(sha256)]}, "
                f"not {sha256}",
                f"A proxy may have put a page of its own in its place. {remedy}",
            )

    return receive


def _opened(url: str) -> HTTPResponse:
    request = Request(url, headers={"User-Agent": "dalcli"})
    return urlopen(request, timeout=TIMEOUT_SECONDS)  # type: ignore[no-any-return]  # an https address gives one


class _WriteError(Exception):
    """A full disk is no trouble with the network."""


def _write(write: Callable[[bytes], object], chunk: bytes) -> None:
    try:
        write(chunk)
    except OSError as error:
        raise _WriteError from error


@contextmanager
def _explained(url: str, name: str, remedy: str) -> Iterator[None]:
    """Whatever the network does meanwhile becomes a DownloadError."""
    try:
        yield
    except _WriteError as error:
        assert error.__cause__ is not None
        raise error.__cause__ from None
    except HTTPError as error:
        error.close()  # it is the server's answer too, and holds the connection
        reason = f"the server answered {error.code} {error.reason}"
        if error.code == 407:
            reason = "the proxy wants a user and a password (https_proxy=http://USER:PASSWORD@HOST:PORT)"
        raise DownloadError(
            f"{name} could not be downloaded from {url}: {reason}", remedy, missing=error.code == 404
        ) from error
    except (OSError, HTTPException) as error:
        raise DownloadError(f"{name} could not be downloaded from {url}: {_reason(error)}", remedy) from error


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer for {TIMEOUT_SECONDS:.0f} seconds"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here ({cause.verify_message}); a proxy may want SSL_CERT_FILE to be set"
    return str(cause) or type(cause).__name__


def _advance(task: Task, before: int, now: int) -> None:
    if step := now // _MEGABYTE - before // _MEGABYTE:
        task.advance(step)


def _megabytes(size: int) -> int | None:
    return size // _MEGABYTE or None
