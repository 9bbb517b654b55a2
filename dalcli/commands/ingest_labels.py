"""``ingest-labels``: record what labelers answered, all of a file or nothing of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dalcli.data.text import TextInput
from dalcli.errors import UsageError
from dalcli.formats.labels import ReadOptions
from dalcli.formats.registry import AUTO, FORMATS, check_format, read_labels
from dalcli.formats.source import LabelSource
from dalcli.labels import recording
from dalcli.prediction.checking import check_stored
from dalcli.state.batches import Batch
from dalcli.state.ledger import OnConflict
from dalcli.state.workspace import printable
from dalcli.workspace.label_files import folder_of
from dalcli.workspace.session import Session


@dataclass(frozen=True)
class IngestResult:
    """What the file says and where its batches stand; the same for a second run."""

    file: str
    labels: int
    skipped: int
    empty: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    format: str = AUTO
    label_column: str | None = None
    on_conflict: OnConflict = "refuse"
    allow_new_classes: bool = False


def check(options: Options) -> None:
    """Refuse what no file could make sense of.

    Raises:
        UsageError: there is no such format, or the label's column is named ''.
    """
    check_format(options.format, [AUTO, *FORMATS])
    if options.label_column is not None and not options.label_column.strip():
        raise UsageError("--label-column is empty", "name the column that holds the class")


def run(session: Session, file: Path, options: Options) -> IngestResult:
    """Record the votes of ``file`` (``-``: standard input; or a folder) in one transaction.

    Raises:
        UsageError: an option is wrong.
        BadInputError: listing every bad row with its place, the reason and a suggestion; nothing was changed.
    """
    check(options)
    from_stdin = str(file) == "-"
    name = "<stdin>" if from_stdin else printable(session.workspace.stored_path(file))
    folder = None if from_stdin else folder_of(file)
    source = LabelSource.of(TextInput.from_stdin()) if from_stdin else LabelSource.from_path(file)
    table = read_labels(source, options.format, ReadOptions(options.label_column))
    session.feedback.note(f"{name} is read as {table.format}: {table.reason}")
    with session.database.write() as connection:
        recorded = recording.record(
            connection,
            session,
            table,
            name,
            folder,
            on_conflict=options.on_conflict,
            allow_new_classes=options.allow_new_classes,
        )
    recording.tell(session, recorded, "up to date: no label in this file")
    check_stored(session)
    for note in table.notes:
        session.feedback.warn(f"{name}: {note}")
    return IngestResult(
        file=name,
        labels=sum(row.label is not None for row in table.rows),
        skipped=sum(row.skipped for row in table.rows),
        empty=sum(row.label is None and not row.skipped for row in table.rows),
        batches=recorded.touched,
    )
