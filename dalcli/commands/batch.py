"""``batch``: what is out, what came back, and giving the rest back to the pool."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.config.words import counted, suggestion
from dalcli.errors import BadInputError
from dalcli.state import batches
from dalcli.state.batches import Batch, IssuedRow
from dalcli.state.database import Connection
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class BatchListing:
    """All batches, oldest first."""

    batches: tuple[Batch, ...]


@dataclass(frozen=True)
class BatchDetails:
    """One batch and what became of each of its rows."""

    batch: Batch
    rows: tuple[IssuedRow, ...]


def listing(session: Session) -> BatchListing:
    """Every batch ever issued."""
    with session.database.read() as connection:
        return BatchListing(tuple(batches.listing(connection)))


def show(session: Session, batch_id: str) -> BatchDetails:
    """One batch, row by row."""
    with session.database.read() as connection:
        batch = _existing(connection, batch_id)
        return BatchDetails(batch, tuple(batches.rows(connection, batch)))


def stored_csv(session: Session, batch_id: str) -> bytes:
    """The bytes its query printed."""
    with session.database.read() as connection:
        return batches.csv_bytes(connection, _existing(connection, batch_id))


def release(session: Session, batch_id: str) -> BatchDetails:
    """Give the rows still out back to the pool; answers that come later are accepted all the same."""
    with session.database.write() as connection:
        batch = _existing(connection, batch_id)
        released = batches.release(connection, batch)
    session.feedback.note(f"{counted(released, 'sample')} released" if released else "up to date: nothing was out")
    return show(session, batch_id)


def _existing(connection: Connection, batch_id: str) -> Batch:
    batch = batches.get(connection, batch_id)
    if batch is None:
        known = [b.batch_id for b in batches.listing(connection)]
        raise BadInputError(
            f"no batch '{batch_id}'{suggestion(batch_id, known)}", "`dalcli batch list` shows all of them"
        )
    return batch
