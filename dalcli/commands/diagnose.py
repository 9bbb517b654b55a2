"""``diagnose``: does the theory behind the scores hold for this model, this labeled set and this batch size?"""

from __future__ import annotations

from dalcli.diagnosis.result import DiagnoseResult
from dalcli.diagnosis.run import Options, check, diagnose
from dalcli.workspace.session import Session

__all__ = ["Options", "check", "run"]


def run(session: Session, options: Options) -> DiagnoseResult:
    """Diagnose the newest version, or the one named."""
    check(options)
    return diagnose(session, options)
