"""Images for the page: what a browser can show of a sample's file, or why nothing."""

from __future__ import annotations

from dalcli.data.browsers import Picture, for_browsers
from dalcli.data.decoding import DecodeError
from dalcli.labeling.desk import RefusedError
from dalcli.state.catalog import PoolImage
from dalcli.state.workspace import Workspace
from dalcli.workspace.image_files import find_file


def picture(workspace: Workspace, image: PoolImage) -> Picture:
    """The image full size.

    Raises:
        RefusedError: its file is gone, holds other bytes now, or is no image any more; skipping it is what is left.
    """
    found = find_file(workspace, image)
    if found.problem is not None:
        raise RefusedError(410, f"this image cannot be shown: {found.problem}")
    try:
        return for_browsers(workspace.absolute_path(found.path))
    except DecodeError as error:
        raise RefusedError(410, f"this image cannot be shown: {error.reason}") from None
