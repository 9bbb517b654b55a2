"""The images of a simulation on disk: found or written out once, and dealt into pool and test set for every seed."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from dalcli.config.hashing import fingerprint
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.simulation import dataset as datasets
from dalcli.simulation.cells import Base, Cell
from dalcli.simulation.config import Simulation
from dalcli.simulation.dataset import Dataset
from dalcli.simulation.draw import Draw, draw
from dalcli.simulation.output import Output
from dalcli.simulation.png import encode
from dalcli.simulation.sources.base import ArraySource, LabeledImage
from dalcli.simulation.sources.registry import SOURCES
from dalcli.state import atomic

POOL_NAME, TEST_NAME, ANSWERS_NAME = "pool.csv", "test.csv", "answers.csv"
_LIST_NAME = "samples.csv"


def open_dataset(simulation: Simulation, output: Output, feedback: Feedback) -> Dataset:
    """The images; read, or written out as PNG files, the first time and whenever the source has changed.

    Raises:
        BadInputError, DalcliError: the source is not there or not usable.
    """
    config = simulation.config.source
    source = SOURCES[config.kind]
    name = f"{simulation.path}: source"
    where = fingerprint(config)
    if hasattr(source, "images"):
        folder = output.data / where
        if not (folder / _LIST_NAME).is_file():
            _export(cast(ArraySource, source), simulation, folder, feedback)
    else:
        images = source.find(config)
        folder = output.data / fingerprint(where, datasets.listing_digest(images))
        if not (folder / _LIST_NAME).is_file():
            dataset = datasets.examine(images, name, feedback)
            folder.mkdir(parents=True, exist_ok=True)
            datasets.write(folder / _LIST_NAME, dataset)
    return datasets.read(folder / _LIST_NAME)


def _export(source: ArraySource, simulation: Simulation, folder: Path, feedback: Feedback) -> None:
    """One PNG file per image; the folder appears only complete."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "images").mkdir(parents=True)
    found = []
    with feedback.task("writing images", None) as task:
        for image in source.images(simulation.config.source):
            path = partial / "images" / f"{image.name}.png"
            path.write_bytes(encode(image.pixels))
            found.append(LabeledImage(path, image.label, image.split))
            task.advance()
    dataset = datasets.examine(found, f"{simulation.path}: source", feedback)
    datasets.write(partial / _LIST_NAME, dataset)
    if hasattr(os, "sync"):  # one for all files: each by itself would take minutes for 60,000
        os.sync()
    partial.rename(folder)
    atomic.sync_directory(folder.parent)


def deal(simulation: Simulation, output: Output, dataset: Dataset, cells: Sequence[Cell]) -> dict[str, Draw]:
    """What every seed makes of the data set, and whether the pool lasts for all rounds; by the draw's name.

    Raises:
        BadInputError: it does not.
    """
    draws: dict[str, Draw] = {}
    for cell in cells:
        if cell.base.draw not in draws:
            draws[cell.base.draw] = draw(dataset, simulation.config, cell.seed)
        wanted = cell.base.initial_labels + cell.rounds * cell.setting.batch_size
        pool = len(draws[cell.base.draw].pool)
        if wanted > pool:
            raise BadInputError(
                f"{simulation.path}: {cell.base.initial_labels} initial labels and {cell.rounds} rounds of "
                f"{cell.setting.batch_size} are {wanted} labels, and the pool of seed {cell.seed} has {pool} images",
                "lower rounds, batch_sizes or initial_labels, or take a larger source",
            )
    return draws


def write_draw(output: Output, base: Base, dataset: Dataset, drawn: Draw) -> None:
    """The files that ``init`` and the labeler of a base read; written once."""
    folder = output.draw(base.draw)
    if (folder / ANSWERS_NAME).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    samples = dataset.samples
    _write_csv(folder / POOL_NAME, ["path"], ([_name(samples[row].path)] for row in drawn.pool))
    _write_csv(
        folder / TEST_NAME, ["path", "label"], ([_name(samples[row].path), samples[row].label] for row in drawn.test)
    )
    answers = (
        [samples[row].sample_id, dataset.classes[answer], samples[row].label]
        for row, answer in zip(drawn.pool, drawn.answers, strict=True)
    )
    _write_csv(folder / ANSWERS_NAME, ["sample_id", "answer", "truth"], answers)


def _name(path: Path) -> str:
    return os.path.abspath(path)


def _write_csv(path: Path, header: list[str], rows: Iterable[list[str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    atomic.write_bytes(path, text.getvalue().encode(errors="surrogateescape"))
