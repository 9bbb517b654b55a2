"""``label``: a page to label the open batch in, for whoever has no tool; and the classes that were missed there."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

from dalcli.config.words import counted
from dalcli.errors import UsageError
from dalcli.formats.cells import guarded
from dalcli.labeling.guard import check as check_access
from dalcli.labeling.request import LabelRequest, LabelResult
from dalcli.labeling.run import label
from dalcli.prediction.checking import check_stored
from dalcli.state import labeling
from dalcli.workspace.session import Session

__all__ = ["LabelRequest", "LabelResult", "check", "proposals_csv", "run"]

LONGEST_NAME = 100


def check(request: LabelRequest) -> None:
    """Refuse what no workspace could make sense of, or what would let strangers in.

    Raises:
        UsageError: an option is out of range, or contradicts another one.
    """
    if not 0 <= request.port <= 65_535:
        raise UsageError(f"--port {request.port} is out of range", "0 (any that is free) to 65535")
    name = request.annotator
    if len(name) > LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise UsageError("--annotator is not a name", f"up to {LONGEST_NAME} characters in one line")
    if request.relabel and request.batch is not None:
        raise UsageError("--relabel shows disputed samples, whatever batch they are from", "leave the batch out")
    check_access(request.host, request.token)


def run(session: Session, request: LabelRequest, announce: Callable[[str], None]) -> LabelResult:
    """Serve the page until Ctrl-C; ``announce`` is given its address."""
    check(request)
    found = label(session, request, announce)
    check_stored(session)
    return found


def proposals_csv(session: Session) -> bytes:
    """Classes that were missed, as a label file for ``ingest-labels --allow-new-classes``, once somebody read it."""
    with session.database.read() as connection:
        found = labeling.proposals(connection)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("sample_id", "label", "annotator"))
    for proposal in found:
        pairs = zip(proposal.samples, proposal.annotators, strict=True)
        writer.writerows((sample, guarded(proposal.name), guarded(annotator)) for sample, annotator in pairs)
    names = ", ".join(f"{proposal.name} ({len(proposal.samples)})" for proposal in found)
    session.feedback.note(f"{counted(len(found), 'class', 'classes')} proposed: {names}" if found else "none proposed")
    return buffer.getvalue().encode()
