"""``init``: make a workspace and register its images."""

from __future__ import annotations

import os
from pathlib import Path

from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.state.workspace import Workspace
from dalcli.workspace.creation import create
from dalcli.workspace.init_request import InitRequest, InitResult
from dalcli.workspace.repetition import bring_up_to_date

__all__ = ["InitRequest", "InitResult", "run"]


def run(root: Path, request: InitRequest, feedback: Feedback) -> InitResult:
    """Make ``root`` a workspace, or bring an existing one up to date with the request."""
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder", "create it first, or choose another with -C DIR")
    workspace = Workspace(root)
    if workspace.database_path.is_file():
        return bring_up_to_date(workspace, request, feedback)
    return create(workspace, request, feedback)
