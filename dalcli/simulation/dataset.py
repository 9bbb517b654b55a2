"""The labeled images of a simulation as a list on disk: made once, the same for every cell.

Who a sample is follows from its bytes, so the list says so once for all: the same bytes under two names are one sample,
and contradicting labels for them are nobody's.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dalcli.config.class_names import problem_with_classes
from dalcli.config.hashing import short_hash
from dalcli.config.words import counted
from dalcli.data.found import FoundImage, Split
from dalcli.data.identity import digests
from dalcli.data.pixels import UInt8Array
from dalcli.data.scan import scan_images
from dalcli.data.table import csv_text
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.simulation.sources.base import LabeledImage
from dalcli.state import atomic

_COLUMNS = ("sample_id", "path", "label", "split")


@dataclass(frozen=True)
class Sample:
    """One image: its id, where its file is, its class, and what the source says it serves."""

    sample_id: str
    path: Path
    label: str
    split: Split | None


@dataclass(frozen=True)
class Dataset:
    """Holds what a simulation knows of its images: different samples in the order of their ids."""

    samples: tuple[Sample, ...]

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Sorted; numbers by value."""
        names = {sample.label for sample in self.samples}
        return tuple(sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))

    @cached_property
    def digest(self) -> str:
        """A name for exactly these samples, labels and splits, wherever the files are."""
        text = "\n".join(f"{s.sample_id},{s.split},{s.label}" for s in self.samples)
        return short_hash(text)

    @cached_property
    def digests(self) -> UInt8Array:
        """(n, 16) uint8."""
        return digests([sample.sample_id for sample in self.samples])

    @cached_property
    def labels(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """(n,) positions in ``classes``."""
        position = {name: index for index, name in enumerate(self.classes)}
        return np.array([position[sample.label] for sample in self.samples], dtype=np.int64)

    @property
    def has_test_split(self) -> bool:
        """Whether the source says which images are for testing."""
        return any(sample.split == "evaluation" for sample in self.samples)


def examine(images: Sequence[LabeledImage], name: str, feedback: Feedback) -> Dataset:
    """Read every file once: damaged ones and those with contradicting labels are left out, and counted in a warning.

    Raises:
        BadInputError: fewer than two classes are left, or a class name cannot be used.
    """
    by_id: dict[str, Sample] = {}
    contradicting: set[str] = set()
    damaged = 0
    with feedback.task("reading images", len(images)) as task:
        found = [FoundImage(image.path) for image in images]
        for image, scanned in zip(images, scan_images(found, advance=task.advance), strict=True):
            if scanned.problem is not None or scanned.sample_id is None:
                damaged += 1
                continue
            sample = Sample(scanned.sample_id, image.path, image.label, image.split)
            before = by_id.setdefault(sample.sample_id, sample)
            if before.label != sample.label:
                contradicting.add(sample.sample_id)
            elif sample.split == "evaluation":  # in both: it serves evaluation, as in a workspace
                by_id[sample.sample_id] = sample
    if damaged:
        what = counted(damaged, "image cannot be read: it is", "images cannot be read: they are")
        feedback.warn(f"{name}: {what} left out")
    if contradicting:
        labels = "different labels under two names"
        what = counted(len(contradicting), f"image carries {labels}: it is", f"images carry {labels}: they are")
        feedback.warn(f"{name}: {what} left out")
    dataset = Dataset(tuple(by_id[key] for key in sorted(by_id.keys() - contradicting)))
    problem = problem_with_classes(dataset.classes)
    if problem is not None:
        raise BadInputError(f"{name}: {problem}", "rename the class")
    if len(dataset.classes) < 2:
        raise BadInputError(
            f"{name}: {counted(len(dataset.classes), 'class', 'classes')}", "a classifier needs at least two"
        )
    return dataset


def listing_digest(images: Sequence[LabeledImage]) -> str:
    """Changes when a file was added, removed, renamed or written anew; looks at no file's content."""
    facts = []
    for image in images:
        try:
            status = image.path.stat()
            facts.append([str(image.path), image.label, image.split, status.st_size, status.st_mtime_ns])
        except OSError:
            facts.append([str(image.path), image.label, image.split])
    return short_hash(json.dumps(facts))


def write(path: Path, dataset: Dataset) -> None:
    """Keep the list: the file is there complete, or not at all. Paths below its folder are stored relative to it."""
    folder = path.parent
    rows = (
        (
            s.sample_id,
            s.path.relative_to(folder) if s.path.is_relative_to(folder) else s.path.absolute(),
            s.label,
            s.split,
        )
        for s in dataset.samples
    )
    atomic.write_bytes(path, csv_text(_COLUMNS, rows).encode(errors="surrogateescape"))


def read(path: Path) -> Dataset:
    """The list that :func:`write` kept; OSError if there is none."""
    text = path.read_bytes().decode(errors="surrogateescape")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    splits: dict[str, Split | None] = {"": None, "training": "training", "evaluation": "evaluation"}
    return Dataset(
        tuple(Sample(row["sample_id"], path.parent / row["path"], row["label"], splits[row["split"]]) for row in rows)
    )
