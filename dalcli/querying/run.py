"""``query``: print an open batch again, or prepare, choose and issue a new one. The first file of this room to read.

A batch is committed first and printed after. Until it is answered or released, the same query prints the same
bytes again, so a cron job that runs twice, or a lost terminal, costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.errors import DalcliError
from dalcli.querying import cold_start, issuing, relabel, selection
from dalcli.querying.request import QueryRequest, QueryResult
from dalcli.querying.selection import Choice
from dalcli.querying.snapshot import Missing, Snapshot, take_snapshot
from dalcli.strategies.memory_table import MemoryTable
from dalcli.workspace.session import Session

ATTEMPTS = 10


def query(session: Session, request: QueryRequest) -> QueryResult:
    """Print the batch that was asked for before, or issue a new one.

    Raises:
        UsageError: the key names a batch that was asked with other options.
        NotReadyError: an open batch has other options, or labels are newer than the model.
        NothingLeftError: no sample is eligible.
        LockedError: something has to be computed, and another process is computing.
    """
    for found in _another_look(session, request) if request.relabel is not None else _prepared(session, request):
        if isinstance(found, QueryResult):
            return found
        choice = selection.select_batch(session, request, found) if isinstance(found, Snapshot) else found
        if issuing.issue(session, request, choice):
            issuing.tell(session, request, choice)
            return QueryResult(choice.batch_id, choice.csv)
        # The race is lost: another process took the id or a sample since the snapshot. The next one has what is left.
    raise DalcliError("other processes keep changing the workspace while this query is choosing", "try again")


def _another_look(session: Session, request: QueryRequest) -> Iterator[QueryResult | Choice]:
    """The same for samples that have labels: what is known of them is stored, and nothing has to be made."""
    for _ in range(ATTEMPTS):
        with session.database.read() as connection:
            found = issuing.print_again(connection, session, request) or relabel.choose(connection, session, request)
        yield found


def _prepared(session: Session, request: QueryRequest) -> Iterator[QueryResult | Snapshot]:
    """The workspace of now, each time that it is asked for: the batch to print again, or a snapshot to choose from.

    What a choice reads and the workspace lacks is made before. That is nothing the second time, unless another process
    has added images or trained a model meanwhile; so the features of a cold start, which no database holds, are kept.
    """
    features: MemoryTable | None = None
    for _ in range(ATTEMPTS):
        with session.database.read() as connection:
            found = issuing.print_again(connection, session, request) or take_snapshot(
                connection, session, request, features
            )
        if not isinstance(found, Missing):
            yield found
        elif found.what == "scores":
            _score(session, request, found.columns)
        else:
            features = cold_start.features(session)


def _score(session: Session, request: QueryRequest, columns: tuple[str, ...]) -> None:
    """Score what is missing; with a cold start's pretrained network, the only part of a query that needs torch."""
    from dalcli.scoring.run import ScoreRequest, score

    score(session, ScoreRequest(columns=columns, stale_ok=request.stale_ok, wait=request.wait))
