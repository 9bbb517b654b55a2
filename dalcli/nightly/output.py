"""The file that labelers get: written when a batch is issued, again where it is missing, never over their work."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from dalcli.querying.printing import written
from dalcli.querying.request import QueryResult
from dalcli.state import batches
from dalcli.state.atomic import remove_leftovers, write_bytes
from dalcli.state.batches import Batch
from dalcli.workspace.session import Session

_BATCH_ID = re.compile(rb"\bb-\d{4,}\b")
Found = Literal["missing", "there", "other"]


def beside(output: Path) -> Path:
    """Where evaluation samples go: ``to_label.evaluation.csv`` beside ``to_label.csv``."""
    return output.with_name(f"{output.stem}.evaluation{output.suffix}")


def printed(session: Session, batch: Batch) -> bytes:
    """A batch as the configuration wants it printed."""
    config = session.config.run
    with session.database.read() as connection:
        csv = batches.csv_bytes(connection, batch)
    return written(session, QueryResult(batch.batch_id, csv), config.format, config.image_url)


def look(session: Session, output: Path, batch: Batch) -> Found:
    """Whether ``output`` has ``batch``, as it was written or with what labelers have put into it since."""
    try:
        content = output.read_bytes()
    except FileNotFoundError:
        return "missing"
    if batch.batch_id.encode() in content or content == printed(session, batch):
        return "there"
    return "other"


def write(session: Session, output: Path, data: bytes) -> Path | None:
    """Make ``data`` the content of ``output``, atomically; a file there that may hold answers is renamed before.

    Returns: what it was renamed to, if it was.
    """
    aside = None
    if output.is_file() and not _spent(session, output.read_bytes()):
        aside = _free(output)
        output.rename(aside)
        session.feedback.warn(f"{output.name} may hold answers that were not taken in: it is now {aside.name}")
    place = output.resolve()  # a link stays a link
    write_bytes(place, data)
    remove_leftovers(place)  # one night at a time
    return aside


def _spent(session: Session, content: bytes) -> bool:
    """Whether nothing is lost with ``content``: a batch as it was printed, or one that is answered to the last row."""
    found = _BATCH_ID.search(content)
    with session.database.read() as connection:
        known = batches.listing(connection)
        batch = None if found is None else batches.get(connection, found[0].decode())
    if batch is not None and batch.answered == batch.issued:
        return True
    candidates = known[-3:] if batch is None else [batch]
    return any(content == printed(session, each) for each in candidates)


def _free(output: Path) -> Path:
    number = 1
    while (target := output.with_name(f"{output.stem}.old-{number}{output.suffix}")).exists():
        number += 1
    return target
