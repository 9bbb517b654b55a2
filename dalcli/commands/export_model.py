"""``export-model``: a trained model as a folder that runs without dalcli."""

from __future__ import annotations

from dalcli.exporting.request import ExportRequest, check
from dalcli.exporting.result import ExportResult
from dalcli.exporting.run import export
from dalcli.workspace.session import Session

__all__ = ["ExportRequest", "ExportResult", "check", "run"]


def run(session: Session, request: ExportRequest) -> ExportResult:
    """Write the folder, or find it there.

    Raises:
        DalcliError: see :func:`dalcli.exporting.run.export`.
    """
    check(request)
    return export(session, request)
