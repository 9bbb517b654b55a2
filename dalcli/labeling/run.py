"""The labeling page from its start to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from dalcli.config.words import suggestion
from dalcli.errors import BadInputError, LockedError, NothingLeftError, NotReadyError
from dalcli.labeling.clerk import Clerk
from dalcli.labeling.desk import Desk
from dalcli.labeling.guard import Guard, is_loopback
from dalcli.labeling.handler import Handler
from dalcli.labeling.request import LabelRequest, LabelResult
from dalcli.labeling.server import LabelServer
from dalcli.labeling.site import Site
from dalcli.labeling.tasks import BatchWork, RelabelWork, Work
from dalcli.state import batches, labeling
from dalcli.state.database import Connection
from dalcli.state.lock import file_lock
from dalcli.workspace.session import Session

POLL_SECONDS = 0.5


def label(session: Session, request: LabelRequest, announce: Callable[[str], None]) -> LabelResult:
    """Serve the page until Ctrl-C; ``announce`` is given its address once it answers there.

    Raises:
        BadInputError: there is no such batch.
        NotReadyError: no batch is open.
        NothingLeftError: ``relabel``, but nobody disagrees.
        LockedError: another page serves this workspace already.
    """
    with opened(session, request) as page:
        announce(page.address)
        _tell(session, request)
        with suppress(KeyboardInterrupt):
            page.server.serve_forever(POLL_SECONDS)
        page.server.stop()
        return page.clerk.ask(lambda desk, connection: desk.result(connection))


@dataclass(frozen=True)
class OpenPage:
    """A page that is ready to be served, at ``address``."""

    server: LabelServer
    clerk: Clerk
    address: str


@contextmanager
def opened(session: Session, request: LabelRequest) -> Iterator[OpenPage]:
    """Everything that a page needs, for as long as it is served; raises what :func:`label` does."""
    with session.database.read() as connection:
        work = _work(connection, session, request)
    guard = Guard.of(request.host, request.token)
    lock = session.workspace.state / "label.lock"
    with file_lock(lock, _already_open), Clerk(session.database.path, Desk(request, work)) as clerk:
        site = Site(guard, clerk, session.workspace)
        server = LabelServer(request.host, request.port, Handler, site, session.feedback.warn)
        try:
            yield OpenPage(server, clerk, f"http://{server.address}/{guard.token}/")
        finally:
            server.stop()


def _already_open() -> LockedError:
    return LockedError(
        "another `dalcli label` serves this workspace",
        "open its address in another browser: everybody gets other images",
    )


def _tell(session: Session, request: LabelRequest) -> None:
    if not is_loopback(request.host):
        session.feedback.warn(
            "what the page sends is not encrypted: use it in a network you trust, or through an SSH tunnel"
        )
    session.feedback.note("open this address in a browser; Ctrl-C here ends it, and every answer is kept")


def _work(connection: Connection, session: Session, request: LabelRequest) -> Work:
    if request.relabel:
        if not labeling.disputed(connection):
            raise NothingLeftError("no sample is disputed", "without --relabel the open batch is labeled")
        return RelabelWork()
    close_at = session.config.query.close_at
    if request.batch is None:
        if not batches.open_batches(connection):
            raise NotReadyError("no batch is open", "hand one out first: dalcli query --budget N > to_label.csv")
        return BatchWork(close_at)
    batch = batches.get(connection, request.batch)
    if batch is None:
        known = [each.batch_id for each in batches.listing(connection)]
        raise BadInputError(
            f"no batch '{request.batch}'{suggestion(request.batch, known)}", "`dalcli batch list` shows all of them"
        )
    if not batch.open:
        raise NotReadyError(
            f"batch {batch.batch_id} is closed: {batch.answered} of {batch.issued} answered",
            "hand out another one: dalcli query --budget N > to_label.csv",
        )
    return BatchWork(close_at, batch.key)
