"""Bringing images into the pool: shared by ``init`` and ``pool add``.

Everything that can be wrong with the user's files is found before the database is touched, and samples with
labels come in together with them in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dalcli.config.schema import DataConfig
from dalcli.config.words import counted, suggestion
from dalcli.data.found import FoundImage
from dalcli.data.identity import reserve_position
from dalcli.data.scan import ScannedImage, scan_images
from dalcli.data.sources import find_images, read_test_set
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.state import classes, files, ledger
from dalcli.state.database import Connection, Database
from dalcli.state.files import FileRecord, KnownFile, Registration
from dalcli.state.workspace import Workspace, printable
from dalcli.workspace.label_files import answer, place
from dalcli.workspace.session import Session, evaluation_reserve, split_seed

CHUNK = 1000


@dataclass(frozen=True)
class Findings:
    """What all sources of a command line contain together, test set first: checked before any of it is registered."""

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
            f"unknown classes among the given labels (known: {', '.join(known)}); nothing was changed",
            problems=list(problems.values()),
        )


def add_images(session: Session, sources: Sequence[Path], test: Path | None, labels_from_folders: bool) -> Registration:
    """Bring more images into an existing workspace, with their labels if they carry any; see :func:`tell`.

    Raises:
        BadInputError: something is wrong with the sources or their labels; no label was recorded.
    """
    findings = collect(sources, test, labels_from_folders)
    with session.database.read() as connection:
        known = classes.positions(connection)
    check_labels(findings, tuple(known))
    data, feedback = session.config.data, session.feedback
    return register(session.database, session.workspace, findings, data=data, feedback=feedback, in_parts=False)


def register(
    database: Database,
    workspace: Workspace,
    findings: Findings,
    *,
    data: DataConfig,
    feedback: Feedback,
    in_parts: bool = True,
) -> Registration:
    """Hash, check and add images; record the labels that came with them.

    Files already known by path, size and modification time are not read again. With ``in_parts`` images are committed
    as they are read, so that an interrupted registration continues where it was; without, and if there are labels
    that may turn out to contradict each other, everything is committed at once.

    Raises:
        BadInputError: the same image carries different labels; nothing was changed (``in_parts``: no label was).
    """
    with database.read() as connection:
        known = files.known_files(connection)
        names, positions = classes.names(connection), classes.positions(connection)
        seed, reserve = split_seed(connection), evaluation_reserve(connection)
    paths = [workspace.stored_path(image.path) for image in findings.images]
    labeled = [(path, image) for path, image in zip(paths, findings.images, strict=True) if image.label is not None]
    fresh = [image for path, image in zip(paths, findings.images, strict=True) if not _is_known(image, known.get(path))]
    result = Registration(sample_keys={path: known[path].sample for path, _ in labeled if path in known})
    waiting: list[FileRecord] = []
    with feedback.task("reading images", len(fresh)) as task:
        for chunk in _chunks(scan_images(fresh, data.workers, task.advance), CHUNK):
            waiting += [_record(image, workspace, seed) for image in chunk]
            if in_parts or not labeled:
                with database.write() as connection:
                    files.register(connection, waiting, reserve, result)
                waiting = []
    if waiting or labeled:
        with database.write() as connection:
            files.register(connection, waiting, reserve, result)
            _record_labels(connection, labeled, result, positions, names, workspace)
    return result


def _is_known(image: FoundImage, known: KnownFile | None) -> bool:
    if known is None or image.split not in {None, known.purpose}:  # it may have to change what it serves
        return False
    try:
        status = image.path.stat()
    except OSError:
        return False
    return (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns)


def _record(image: ScannedImage, workspace: Workspace, seed: int) -> FileRecord:
    path = workspace.stored_path(image.found.path)
    if path != printable(path):  # neither a CSV nor the database takes such a name: set the file aside and say so
        return FileRecord(printable(path), None, problem="the file name is not valid UTF-8: rename the file")
    return FileRecord(
        path=path,
        sample_id=image.sample_id,
        size=image.size,
        mtime_ns=image.mtime_ns,
        width=image.width,
        height=image.height,
        problem=image.problem,
        purpose=image.found.split,
        reserve_position=0.0 if image.sample_id is None else reserve_position(seed, image.sample_id),
    )


def _record_labels(
    connection: Connection,
    labeled: Sequence[tuple[str, FoundImage]],
    result: Registration,
    position: Mapping[str, int],
    names: Sequence[str],
    workspace: Workspace,
) -> None:
    votes = []
    for path, image in labeled:
        if path in result.sample_keys and image.label is not None:
            file, line = image.origin or (image.path, 0)
            where = printable(workspace.stored_path(file))
            votes.append(ledger.Vote(result.sample_keys[path], position[image.label], "", where, line))
    # A label that was corrected since is no contradiction when the same folder or manifest is read again.
    conflicts = [
        c for c in ledger.record(connection, votes).conflicts if not ledger.was_said_before(connection, c.vote)
    ]
    if conflicts:
        raise BadInputError(
            "the same image carries different labels",
            "remove or correct one of them; nothing was changed",
            [_conflict(conflict, names) for conflict in conflicts],
        )


def _conflict(conflict: ledger.Conflict, names: Sequence[str]) -> str:
    vote = conflict.vote
    return (
        f"{place(vote.file, vote.line)}: {answer(vote.label, names)}, but the same image is "
        f"{answer(conflict.before, names)} in {place(conflict.before_file, conflict.before_line)}"
    )


def _origin(image: FoundImage) -> str:
    file, line = image.origin or (image.path, 0)
    return place(str(file), line)


def _chunks(items: Iterator[ScannedImage], size: int) -> Iterator[list[ScannedImage]]:
    while chunk := list(islice(items, max(size, 1))):
        yield chunk


def tell(result: Registration, feedback: Feedback) -> None:
    """Say on stderr what a registration found that its user should know."""
    notes = [
        (result.new_samples, "new sample registered", "new samples registered"),
        (
            result.duplicates,
            "file holds bytes known under another name: counted and labeled once",
            "files hold bytes known under another name: counted and labeled once",
        ),
    ]
    warnings = [
        (
            result.quarantined,
            "file could not be read: see `dalcli pool quarantine`",
            "files could not be read: see `dalcli pool quarantine`",
        ),
        (
            result.replaced,
            "image in use was overwritten by another and is set aside: see `dalcli pool quarantine`",
            "images in use were overwritten by others and are set aside: see `dalcli pool quarantine`",
        ),
        (
            result.moved_to_evaluation,
            "image is in the pool and in the test set: it serves evaluation only",
            "images are in the pool and in the test set: they serve evaluation only",
        ),
        (
            result.already_trained,
            "test image stays in training: a model was already trained on it",
            "test images stay in training: a model was already trained on them",
        ),
    ]
    for say, found in ((feedback.note, notes), (feedback.warn, warnings)):
        for count, one, many in found:
            if count:
                say(counted(count, one, many))
