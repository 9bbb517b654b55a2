"""Bringing images into the pool: shared by ``init`` and ``pool add``.

Everything that can be wrong with the user's files is found before the database is touched, and samples with
labels come in together with them in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from dalcli.config.schema import DataConfig
from dalcli.config.suggest import suggestion
from dalcli.data.found import FoundImage
from dalcli.data.identity import reserve_position
from dalcli.data.scan import ScannedImage, scan_images
from dalcli.data.sources import find_images, read_test_set
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.state import catalog, ledger
from dalcli.state.catalog import FileRecord, Registration
from dalcli.state.database import Connection, Database
from dalcli.state.workspace import Workspace

CHUNK = 1000


@dataclass(frozen=True)
class Findings:
    """What the sources named on the command line contain, test set first."""

    images: tuple[FoundImage, ...]
    ignored: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label found, sorted."""
        return tuple(sorted({image.label for image in self.images if image.label is not None}))


def collect(sources: Sequence[Path], test: Path | None, labels_from_folders: bool) -> Findings:
    """List the images of all sources.

    Raises:
        BadInputError: a source does not exist, holds no image, or a manifest has bad rows.
    """
    images: list[FoundImage] = []
    ignored = 0
    if test is not None:
        images += _not_empty(test, read_test_set(test).images)
    for source in sources:
        found = find_images(source, labels_from_folders=labels_from_folders)
        images += _not_empty(source, found.images)
        ignored += found.ignored
    return Findings(tuple(images), ignored)


def _not_empty(source: Path, images: Sequence[FoundImage]) -> Sequence[FoundImage]:
    if not images:
        raise BadInputError(
            f"{source}: no images found", "name a folder of images or a CSV manifest with a path column"
        )
    return images


def check_labels(findings: Findings, known: Sequence[str]) -> None:
    """Raises BadInputError naming every label that is not one of the ``known`` classes."""
    problems = {}
    for image in findings.images:
        if image.label is not None and image.label not in known and image.label not in problems:
            problems[image.label] = f"{_origin(image)}: unknown class '{image.label}'{suggestion(image.label, known)}"
    if problems:
        raise BadInputError(
            f"unknown classes among the given labels (known: {', '.join(known)})", problems=list(problems.values())
        )


def register(
    database: Database,
    workspace: Workspace,
    findings: Findings,
    *,
    classes: Sequence[str],
    seed: int,
    reserve: float,
    data: DataConfig,
    feedback: Feedback,
) -> Registration:
    """Hash, check and add images; record the labels that came with them.

    Files already known by path, size and modification time are not read again, so an interrupted registration
    continues where it was.

    Raises:
        BadInputError: two files with the same bytes carry different labels; nothing was changed.
    """
    with database.read() as connection:
        known = catalog.known_files(connection)
    labeled = any(image.label is not None for image in findings.images)
    fresh = [image for image in findings.images if labeled or not _is_known(image, workspace, known)]
    result = Registration()
    votes: list[tuple[str, FoundImage]] = []
    with feedback.task("reading images", len(fresh)) as task:
        scanned = scan_images(fresh, data.workers, task.advance)
        for chunk in _chunks(scanned, len(fresh) if labeled else CHUNK):
            records = [_record(image, workspace, seed) for image in chunk]
            votes = [(r.path, i.found) for r, i in zip(records, chunk, strict=True) if i.found.label is not None]
            with database.write() as connection:
                catalog.register(connection, records, reserve, result)
                if votes:
                    _record_labels(connection, votes, result, classes, workspace)
    return result


def _is_known(image: FoundImage, workspace: Workspace, known: dict[str, tuple[int | None, int | None]]) -> bool:
    if image.split == "evaluation":  # may have to change what it serves
        return False
    try:
        status = image.path.stat()
    except OSError:
        return False
    return known.get(workspace.stored_path(image.path)) == (status.st_size, status.st_mtime_ns)


def _record(image: ScannedImage, workspace: Workspace, seed: int) -> FileRecord:
    record = FileRecord(
        path=workspace.stored_path(image.found.path),
        sample_id=image.sample_id,
        size=image.size,
        mtime_ns=image.mtime_ns,
        width=image.width,
        height=image.height,
        problem=image.problem,
        purpose=image.found.split,
    )
    if image.sample_id is not None:
        record = replace(record, reserve_position=reserve_position(seed, image.sample_id))
    return _printable(record)


def _printable(record: FileRecord) -> FileRecord:
    """A file name that is not UTF-8 cannot be written to a CSV or the database: set the file aside and say so."""
    try:
        record.path.encode()
    except UnicodeEncodeError:
        path = record.path.encode(errors="backslashreplace").decode()
        return replace(record, path=path, sample_id=None, problem="file name is not valid UTF-8: rename the file")
    return record


def _record_labels(
    connection: Connection,
    votes: Sequence[tuple[str, FoundImage]],
    result: Registration,
    classes: Sequence[str],
    workspace: Workspace,
) -> None:
    position = {name: index for index, name in enumerate(classes)}
    rows = []
    for path, image in votes:
        if path in result.sample_keys and image.label is not None:
            file, line = image.origin or (image.path, 0)
            rows.append(
                ledger.Vote(result.sample_keys[path], position[image.label], "", workspace.stored_path(file), line)
            )
    recording = ledger.record(connection, rows)
    if recording.conflicts:
        raise BadInputError(
            "the same image carries different labels",
            "remove or correct one of them; nothing was changed",
            [_conflict(conflict, classes) for conflict in recording.conflicts],
        )


def _conflict(conflict: ledger.Conflict, classes: Sequence[str]) -> str:
    vote = conflict.vote
    before = f"'{classes[conflict.before]}'" if conflict.before is not None else "skipped"
    now = f"'{classes[vote.label]}'" if vote.label is not None else "skipped"
    return (
        f"{place(vote.file, vote.line)}: {now}, but the same image is {before} in "
        f"{place(conflict.before_file, conflict.before_line)}"
    )


def place(file: str, line: int) -> str:
    """``labels.csv:7``, or the file alone where there are no lines."""
    return f"{file}:{line}" if line else file


def _origin(image: FoundImage) -> str:
    file, line = image.origin or (image.path, 0)
    return place(str(file), line)


def _chunks(items: Iterator[ScannedImage], size: int) -> Iterator[list[ScannedImage]]:
    while chunk := list(islice(items, max(size, 1))):
        yield chunk


def report(result: Registration, feedback: Feedback) -> None:
    """Say on stderr what a registration found that its user should know."""
    messages: list[tuple[int, Callable[[str], None], str]] = [
        (result.new_samples, feedback.note, "{} new samples registered"),
        (result.duplicates, feedback.note, "{} files hold the same bytes as another one: counted and labeled once"),
        (result.quarantined, feedback.warn, "{} files could not be read: see `dalcli pool quarantine`"),
        (
            result.moved_to_evaluation,
            feedback.warn,
            "{} images are in the pool and in the test set: they serve evaluation only",
        ),
        (
            result.already_trained,
            feedback.warn,
            "{} test images stay in training: a model was already trained on them",
        ),
    ]
    for count, say, text in messages:
        if count:
            say(text.format(count))
