"""``predict``: the trained model on the rest of the pool, or on new images. The first file of this room to read.

``version`` says which model predicts, ``pool`` and ``sources`` what it says, ``rows`` how that is written. Labels
without a labeler: ``evidence`` and ``guarantee`` decide, ``accepting`` records, ``checking`` takes back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dalcli.config.words import counted
from dalcli.errors import BadInputError, UsageError
from dalcli.prediction import pool
from dalcli.prediction.rows import Prediction, header, lines
from dalcli.prediction.version import Predictor, predictor, tell_calibration
from dalcli.state.atomic import write_via
from dalcli.workspace.session import Session

LINES_AT_ONCE = 4096
UNREADABLE_SHOWN = 10

Sink = Callable[[bytes], None]


@dataclass(frozen=True)
class PredictRequest:
    """What is asked: of ``sources``, or of the rest of the pool where there are none.

    Attributes:
        output: written atomically; None: lines go to the sink.
        quiet_lines: no lines at all but into ``output``: a summary is wanted.
    """

    sources: Sequence[Path] = ()
    version: str | None = None
    top: int = 1
    form: str = "csv"
    output: Path | None = None
    wait: float = 0.0
    quiet_lines: bool = False


@dataclass
class Summary:
    """What was predicted.

    Attributes:
        temperature: None: confidences are not calibrated.
        classes: images by predicted class.
        unreadable: images that could not be read, of those that were asked about.
    """

    version: str
    temperature: float | None
    images: int = 0
    unreadable: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    output: str | None = None


def predict(session: Session, request: PredictRequest, sink: Sink) -> Summary:
    """Write predictions, line by line.

    Raises:
        UsageError: no such version, or fewer classes than ``top``.
        NotReadyError: there is no model.
        BadInputError: a source is wrong, or none of its images can be read.
        LockedError: the pool is to be scored, and another process is computing.
    """
    files = None
    if request.sources:
        from dalcli.prediction import sources  # takes torch with it

        files = sources.listed(request.sources)
    found = predictor(session, request.version)
    if request.top > found.most:
        raise UsageError(f"--top {request.top}: {found.model.version} knows {counted(found.most, 'class', 'classes')}")
    summary = Summary(found.model.version, found.temperature, output=_text(request.output))
    if files is None:
        _deliver(request, _pool(session, found, request, summary), sink)
    else:
        _new(session, found, files, request, summary, sink)
    tell_calibration(session, found)
    summary.classes = {name: summary.classes[name] for name in found.names if name in summary.classes}
    return summary


def _pool(
    session: Session, found: Predictor, request: PredictRequest, summary: Summary
) -> Iterator[Sequence[Prediction]]:
    """The rest of the pool; reading it may set images aside."""
    images = pool.unlabeled(session)
    if not images:
        session.feedback.note("every image of the pool has been answered")
    predictions = pool.of_pool(session, found, [image.sample_id for image in images], request.top, request.wait)
    said, counts = predictions.said, Counter[str]()
    readable = ~np.isnan(said.raw)
    summary.images, summary.unreadable = int(readable.sum()), int((~readable).sum())
    for label, count in zip(*np.unique(said.classes[readable, 0], return_counts=True), strict=True):
        counts[found.names[int(label)]] += int(count)
    summary.classes = dict(counts)
    places = np.flatnonzero(readable)
    for start in range(0, len(places), LINES_AT_ONCE):
        yield [
            Prediction(
                images[place].sample_id,
                images[place].path,
                [
                    (found.names[label], float(str(value)))
                    for label, value in zip(said.classes[place].tolist(), said.confidence[place], strict=True)
                ],
            )
            for place in places[start : start + LINES_AT_ONCE].tolist()
        ]


def _new(
    session: Session, found: Predictor, files: Sequence[Path], request: PredictRequest, summary: Summary, sink: Sink
) -> None:
    from dalcli.prediction import sources
    from dalcli.prediction.part_file import PartFile

    counts: Counter[str] = Counter()
    lost: list[sources.Unreadable] = []

    def sorted_out(blocks: Iterable[Sequence[Prediction | sources.Unreadable]]) -> Iterator[Sequence[Prediction]]:
        for block in blocks:
            lost.extend(entry for entry in block if isinstance(entry, sources.Unreadable))
            good = [entry for entry in block if isinstance(entry, Prediction)]
            counts.update(entry.top[0][0] for entry in good)
            yield good
        if lost and not counts:
            raise BadInputError("none of the images can be read", problems=[f"{e.path}: {e.reason}" for e in lost])

    if request.output is None or not _is_file(request.output):
        _deliver(request, sorted_out(sources.of_files(session, found, files, request.top)), sink)
    else:
        part = PartFile(request.output, sources.fingerprint(found, files, request.top))
        if part.done:
            session.feedback.note(f"{part.path} has {counted(part.done, 'image')} already")
        if part.done < len(files):
            for block in sources.of_files(session, found, files, request.top, part.done):
                part.append(block)
        try:
            _deliver(request, sorted_out([entry] for entry in part.entries()), sink)
        except BadInputError:
            part.remove()
            raise
        part.remove()
    summary.images, summary.unreadable, summary.classes = sum(counts.values()), len(lost), dict(counts)
    for entry in lost[:UNREADABLE_SHOWN]:
        session.feedback.warn(f"{entry.path}: {entry.reason}")
    if len(lost) > UNREADABLE_SHOWN:
        session.feedback.warn(f"... and {len(lost) - UNREADABLE_SHOWN} more images that cannot be read")


def _deliver(request: PredictRequest, blocks: Iterator[Sequence[Prediction]], sink: Sink) -> None:
    """To the output, all of it or nothing; or to the sink, as it comes."""
    write = lines(request.form)
    head = header(request.form, request.top)
    if request.output is None:
        for block in blocks:
            if block and not request.quiet_lines:
                sink(head + write(block))
                head = b""
        if head and not request.quiet_lines:  # once it is clear that nothing is wrong
            sink(head)
        return

    def fill(path: Path) -> None:
        with path.open("wb") as file:
            file.write(head)
            for block in blocks:
                file.write(write(block))

    if _is_file(request.output):
        write_via(request.output.resolve(), fill)  # a link stays a link
    else:
        fill(request.output)


def _is_file(output: Path) -> bool:
    """Not a pipe or a device, which must not be replaced by a file."""
    return output.is_file() or not output.exists()


def _text(output: Path | None) -> str | None:
    return None if output is None else str(output)
