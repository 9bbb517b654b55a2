"""Where results may be written: over earlier results, never over what cannot be made again."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path

from dalcli.errors import BadInputError
from dalcli.state.workspace import CONFIG_NAME, STATE_NAME

_REMEDY = "name another file: --output FILE"


def require_replaceable(output: Path) -> None:
    """Refuse dalcli's own files, a configuration, and an image that is there, whatever it is called.

    Raises:
        BadInputError: ``output`` is one of those, or a link to one.
    """
    for path in (output.absolute(), output.resolve()):
        if STATE_NAME in path.parts:
            raise BadInputError(f"{output}: lies in dalcli's own folder", _REMEDY)
        if path.name == CONFIG_NAME:
            raise BadInputError(f"{output}: is a workspace's configuration", _REMEDY)
    if output.is_file():
        from dalcli.data.decoding import is_image_file

        if is_image_file(output):
            raise BadInputError(f"{output}: is an image", _REMEDY)


def require_writable(folder: Path) -> None:
    """Refuse a folder in which nothing can be made, before anything is worked out for it.

    Permissions alone do not tell: root may everything, and a file system may be for reading only.

    Raises:
        BadInputError: nothing can be written there.
        OSError: the disk is full, which may pass.
    """
    try:
        with tempfile.TemporaryFile(prefix=".dalcli.", dir=folder):
            pass
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise BadInputError(
            f"{folder}: cannot be written to ({error.strerror or error})",
            "change its permissions, or name another place",
        ) from error
