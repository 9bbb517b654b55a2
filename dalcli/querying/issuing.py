"""Batches that exist, and making another one exist: which is printed again, what is committed, what is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dalcli.config.words import counted
from dalcli.errors import NotReadyError, UsageError
from dalcli.querying import relabel
from dalcli.querying.request import QueryRequest, QueryResult
from dalcli.querying.selection import Choice
from dalcli.state import batches, catalog, classes, memories, versions
from dalcli.state.batches import Batch
from dalcli.state.database import Connection
from dalcli.workspace.session import Session


def print_again(connection: Connection, session: Session, request: QueryRequest) -> QueryResult | None:
    """The stored bytes of the batch that ``request`` asks for again, if it does.

    Raises:
        UsageError: the key names a batch that was asked with other options.
        NotReadyError: a batch for the same purpose is open with other options.
    """
    batch = _asked_before(connection, request)
    if batch is None:
        return None
    state = "open" if batch.open else "closed"
    session.feedback.note(f"batch {batch.batch_id} is {state}: {batch.answered} of {batch.issued} answered")
    model = versions.newest(connection)
    if batch.open and model is not None and versions.newer_labels(connection, model):
        session.feedback.warn(f"labels are newer than model {model.version}; an open batch is printed as issued")
    return QueryResult(batch.batch_id, batches.csv_bytes(connection, batch))


def issue(session: Session, request: QueryRequest, choice: Choice) -> bool:
    """Commit the batch; False if another process took its id or one of its samples since it was chosen."""
    with session.database.write() as connection:
        if batches.next_id(connection) != choice.batch_id:
            return False
        if not _still_free(connection, request, choice):
            return False
        batches.issue(
            connection,
            choice.batch_id,
            choice.rows,
            choice.csv,
            options=replace(request.options, classes=len(classes.names(connection))),
            purpose=request.purpose,
            requested=request.budget,
            model=None if choice.model is None else choice.model.key,
            key=request.key,
            relabel=request.relabel is not None,
        )
        if choice.memory is not None:
            memories.remember(connection, choice.strategy, choice.batch_id, choice.memory)
    return True


def _still_free(connection: Connection, request: QueryRequest, choice: Choice) -> bool:
    if request.relabel is None:
        return catalog.still_eligible(connection, request.purpose, choice.images, auto_labeled=request.auto_labeled)
    free = {candidate.sample for candidate in relabel.candidates(connection, request)}
    return all(image.key in free for image in choice.images)


def tell(session: Session, request: QueryRequest, choice: Choice) -> None:
    """What whoever labels the batch should know about it."""
    feedback, issued = session.feedback, len(choice.rows)
    if (
        request.relabel is None
        and request.purpose == "training"
        and choice.model is None
        and choice.strategy != request.query.strategy
    ):
        feedback.note(f"there is no model yet: a cold start by {choice.strategy}")
    if issued < request.budget:
        asked_for = f"{counted(request.budget, 'sample')} asked for"
        feedback.warn(f"only {issued} of the {asked_for} {'is' if issued == 1 else 'are'} left")
    if choice.non_finite:
        they = counted(
            choice.non_finite, "sample has no finite score; it was", "samples have no finite score; they were"
        )
        feedback.warn(f"{they} asked last")
    for warning in (*choice.warnings, *_absent(session, choice)):
        feedback.warn(warning)
    for note in choice.notes:
        feedback.note(note)
    model = f", model {choice.model.version}" if choice.model is not None else ""
    drawn = sum(row.arm == "control" for row in choice.rows)
    control = f"; {drawn} drawn at random as control arm" if drawn else ""
    feedback.note(f"issued batch {choice.batch_id}: {counted(issued, 'sample')} ({choice.strategy}{model}{control})")


def _asked_before(connection: Connection, request: QueryRequest) -> Batch | None:
    """The batch to print again, if there is one."""
    options = request.options
    if request.key is not None:
        named = batches.with_key(connection, request.key)
        if named is not None and not named.options.same_options(options):
            raise UsageError(
                f"--key {request.key} names batch {named.batch_id}, which was asked with other options",
                "repeat them, or choose another key",
            )
        return named
    if request.new:
        return None
    # Training and evaluation batches do not stand in each other's way, nor does another look in that of new samples.
    lane = (request.purpose, request.relabel is not None)
    in_the_way = [batch for batch in batches.open_batches(connection) if (batch.purpose, batch.relabel) == lane]
    matching = [batch for batch in in_the_way if batch.options.same_options(options)]
    if in_the_way and not matching:
        batch = in_the_way[-1]
        raise NotReadyError(
            f"batch {batch.batch_id} ({batch.purpose}, {batch.requested} asked) is open with other options: "
            f"{batch.answered} of {batch.issued} answered",
            f"label it, run `dalcli batch release {batch.batch_id}`, or pass --new for another batch beside it",
        )
    return matching[-1] if matching else None


def _absent(session: Session, choice: Choice) -> Iterator[str]:
    """Scores need no files once they are made, but whoever labels does."""
    issued = {row.sample for row in choice.rows}
    images = [image for image in choice.images if image.key in issued]
    place = session.workspace.absolute_path
    gone = [image for image in images if not any(place(file.path).exists() for file in image.files)]
    if gone:
        are = counted(
            len(gone), "image of this batch is not where it was", "images of this batch are not where they were"
        )
        yield (
            f"{are} found, e.g. {gone[0].path}: is a disk not mounted? dalcli pool relocate OLD NEW; "
            f"dalcli batch release {choice.batch_id} takes the batch back"
        )
