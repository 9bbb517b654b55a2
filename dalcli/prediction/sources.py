"""What a version says of new images: folders, files and manifests, none of which is registered anywhere.

They come one block after the other, in the order of their sources; an image that cannot be read says why in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.hashing import short_hash
from dalcli.data.identity import sample_id
from dalcli.data.sources import find_images
from dalcli.errors import BadInputError
from dalcli.feedback import Task
from dalcli.prediction.calibrated import likeliest
from dalcli.prediction.passing import Pass, opened
from dalcli.prediction.rows import Prediction
from dalcli.prediction.version import Predictor
from dalcli.runtime.parallel import ordered_map
from dalcli.state.workspace import printable
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session

AT_ONCE = 8192  # files that are looked at before their images are: a frozen network is read once for so many


@dataclass(frozen=True)
class Unreadable:
    """An image that cannot be read, and why."""

    path: str
    reason: str


def listed(sources: Sequence[Path]) -> list[Path]:
    """The images of all sources, each once.

    Raises:
        BadInputError: a source does not exist, holds no image, or is a manifest with bad rows.
    """
    found: dict[Path, None] = {}
    for source in sources:
        images = find_images(source).images
        if not images:
            raise BadInputError(
                f"{source}: no images found", "name a folder of images or a CSV manifest with a path column"
            )
        found |= dict.fromkeys(image.path.absolute() for image in images)
    return list(found)


def fingerprint(found: Predictor, files: Sequence[Path], top: int) -> str:
    """Changes whenever a line of the predictions could."""
    places = [(str(file), *_state(file)) for file in files]
    model = found.model
    return short_hash(
        repr((model.version, model.finished_at, found.temperature, found.names, tuple(found.counted_as), top, places))
    )


def of_files(
    session: Session, found: Predictor, files: Sequence[Path], top: int, done: int = 0
) -> Iterator[list[Prediction | Unreadable]]:
    """What ``found`` says of ``files``, but for the first ``done``; in order, a block at a time.

    Raises:
        DalcliError: the model's files are missing or damaged.
    """
    label = f"predicting with {found.model.version}"
    with opened(session, found) as version, session.feedback.task(label, len(files) - done) as task:
        for start in range(done, len(files), AT_ONCE):
            yield from _some(session, found, version, files[start : start + AT_ONCE], top, task)


def _some(
    session: Session, found: Predictor, version: Pass, files: Sequence[Path], top: int, task: Task
) -> Iterator[list[Prediction | Unreadable]]:
    names = [printable(session.workspace.stored_path(file)) for file in files]
    identities = list(ordered_map(_identity, files, session.config.data.workers))
    there = [place for place, identity in enumerate(identities) if isinstance(identity, str)]
    listing = [(place, str(identities[place]), session.workspace.stored_path(files[place])) for place in there]
    told = 0  # of files
    with PoolImages.reopen(session, listing, version.seen, look_only=True) as images:

        def unread(until: int) -> list[Prediction | Unreadable]:
            return [Unreadable(names[place], _reason(identities[place], images, place)) for place in range(told, until)]

        for block, probabilities in version.probabilities(images):
            said = likeliest(probabilities, found.temperature, min(top, found.most))
            entries: list[Prediction | Unreadable] = []
            for row, position in enumerate(block.rows.tolist()):
                place = there[position]
                entries += unread(place)
                pairs = zip(said.classes[row].tolist(), said.confidence[row], strict=True)
                shown = [(found.names[label], float(str(value))) for label, value in pairs]
                entries.append(Prediction(str(identities[place]), names[place], shown))
                told = place + 1
            task.advance(len(entries))
            yield entries
        if left := unread(len(files)):
            task.advance(len(left))
            yield left


def _identity(file: Path) -> str | OSError:
    try:
        return sample_id(file)
    except OSError as error:
        return error


def _reason(identity: str | OSError, images: PoolImages, place: int) -> str:
    if isinstance(identity, OSError):
        return "the file is missing" if isinstance(identity, FileNotFoundError) else str(identity.strerror).lower()
    return next(f.reason for row, f in images.lost.items() if images.images[row].key == place)


def _state(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
