"""How images get onto the labelers' screens: from files that the server can see, or inside the tasks.

Whether the server sees our files is found out by asking it for some of them: what it sends must be the very bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from dalcli.config.words import bytes_text, counted
from dalcli.data.browsers import for_browsers
from dalcli.data.decoding import DecodeError
from dalcli.data.identity import DIGEST_BYTES, id_from_digest
from dalcli.errors import BadInputError
from dalcli.formats.label_studio import LOCAL_FILES
from dalcli.label_studio.server import Server

Way = Literal["auto", "local", "data"]
_MOST_FOLDERS = 20
_HEAVY = 100 << 20


Address = Callable[[str], str]
"""From a sample's id to what its task says for the image."""


def local_addresses(server: Server, project: int, files: Mapping[str, Path]) -> tuple[Address | None, str]:
    """Addresses of files that the server can read; None, and why, if it cannot read them."""
    above = _folders(server, project, files)
    if isinstance(above, str):
        return None, above
    prefix: dict[Path, str] = {}
    for folder in above:
        inside = sorted(sample for sample, path in files.items() if path.is_relative_to(folder))
        root = _document_root(server, inside[0], files[inside[0]])
        if root is None or not _serves(server, inside[-1], files[inside[-1]], root):
            return None, f"it does not send the files of {folder} as they are"
        prefix[folder] = root
    roots = set(prefix.values())
    if len(roots) != 1:
        return None, "its files are in several places"
    root = roots.pop()

    def address(sample: str) -> str:
        return LOCAL_FILES + quote(os.fsencode(files[sample].relative_to(root)))

    return address, f"local files below {root}"


def _folders(server: Server, project: int, files: Mapping[str, Path]) -> list[Path] | str:
    """Folders that hold all the files and that the server serves to the project, or why it does not."""
    common = Path(os.path.commonpath([str(path.parent) for path in files.values()]))
    served = [Path(path) for path in server.storages(project)]
    if any(common.is_relative_to(folder) for folder in served):
        return [common]
    refusal = server.add_storage(project, common)
    if refusal is None:
        return [common]
    # The document root itself is never served, folders below it are.
    below = sorted({common / path.relative_to(common).parts[0] for path in files.values()})
    if "LOCAL_FILES_DOCUMENT_ROOT" not in refusal or any(not folder.is_dir() for folder in below):
        return refusal
    if len(below) > _MOST_FOLDERS:
        return f"{refusal} ({len(below)} folders below it)"
    for folder in below:
        if folder in served:
            continue
        problem = server.add_storage(project, folder)
        if problem is not None:
            return problem
    return below


def _document_root(server: Server, sample: str, path: Path) -> str | None:
    """The folder of ours that addresses are relative to: the server never tells, so each above the file is tried."""
    return next((str(root) for root in path.parents if _serves(server, sample, path, str(root))), None)


def _serves(server: Server, sample: str, path: Path, root: str) -> bool:
    data = server.local_file(path.relative_to(root).as_posix())
    return data is not None and _id(data) == sample


def _id(data: bytes) -> str:
    return id_from_digest(hashlib.sha256(data).digest()[:DIGEST_BYTES])


def data_address(path: Path) -> str:
    """The image itself as an address; BadInputError if it cannot be read."""
    try:
        picture = for_browsers(path)
    except DecodeError as error:
        raise BadInputError(
            f"{path}: {error.reason}", "`dalcli pool quarantine` lists images that cannot be read"
        ) from None
    return f"data:{picture.kind};base64,{base64.b64encode(picture.data).decode()}"


def weight_warning(paths: Sequence[Path]) -> str | None:
    """What to say of images that are heavy to carry inside tasks."""
    total = sum(path.stat().st_size for path in paths if path.exists())
    if total < _HEAVY:
        return None
    return (
        f"{counted(len(paths), 'image')} inside the tasks: {bytes_text(total)} for the server's database; let it read "
        "local files (docs/labels.md), or pass --image-url"
    )
