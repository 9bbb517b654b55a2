"""The images of a simulation on disk: found or written out once, and dealt into pool and test set for every seed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from dalcli.config.hashing import fingerprint
from dalcli.config.words import counted
from dalcli.data.table import csv_text
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
    if isinstance(source, ArraySource):
        listing = output.data / fingerprint(config) / _LIST_NAME
        if not listing.is_file():
            with output.writing_images(feedback):
                if not listing.is_file():  # another process has just done it
                    _export(source, simulation, listing.parent, feedback)
    else:
        images = source.find(config)
        listing = output.data / fingerprint(fingerprint(config), datasets.listing_digest(images)) / _LIST_NAME
        if not listing.is_file():
            dataset = datasets.examine(images, _place(simulation), feedback)
            listing.parent.mkdir(parents=True, exist_ok=True)
            datasets.write(listing, dataset)
    return datasets.read(listing)


def _export(source: ArraySource, simulation: Simulation, folder: Path, feedback: Feedback) -> None:
    """One PNG file per image, and the list of them."""
    with atomic.new_folder(folder) as partial:
        (partial / "images").mkdir()
        found = []
        with feedback.task("writing images", None) as progress:
            for image in source.images(simulation.config.source):
                path = partial / "images" / f"{image.name}.png"
                path.write_bytes(encode(image.pixels))
                found.append(LabeledImage(path, image.label, image.split))
                progress.advance()
        datasets.write(partial / _LIST_NAME, datasets.examine(found, _place(simulation), feedback))


def _place(simulation: Simulation) -> str:
    """Where messages about the images send people."""
    return f"{simulation.path}: source"


def deal(simulation: Simulation, dataset: Dataset, cells: Sequence[Cell]) -> dict[str, Draw]:
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
            initial = counted(cell.base.initial_labels, "initial label")
            rounds = f"{counted(cell.rounds, 'round')} of {cell.setting.batch_size}"
            raise BadInputError(
                f"{simulation.path}: {initial} and {rounds} are {counted(wanted, 'label')}, "
                f"and the pool of seed {cell.seed} has {counted(pool, 'image')}",
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
    pool = [(_name(samples[row].path),) for row in drawn.pool]
    test = [(_name(samples[row].path), samples[row].label) for row in drawn.test]
    answers = [
        (samples[row].sample_id, dataset.classes[answer], samples[row].label)
        for row, answer in zip(drawn.pool, drawn.answers, strict=True)
    ]
    for name, header, rows in (
        (POOL_NAME, ("path",), pool),
        (TEST_NAME, ("path", "label"), test),
        (ANSWERS_NAME, ("sample_id", "answer", "truth"), answers),  # the last one: with it the folder is complete
    ):
        atomic.write_bytes(folder / name, csv_text(header, rows).encode(errors="surrogateescape"))


def _name(path: Path) -> str:
    return os.path.abspath(path)
