"""What ``export-model`` says: the same when it is run again and finds everything there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WrittenForm:
    """One form of the network, loaded again in a process of its own.

    Attributes:
        form: one of ``request.FORMATS``, or hf.
        file: its name within the folder, and its ``bytes``.
        example: the program that was run.
        max_difference: the largest difference between a probability that it printed and dalcli's own, over ``images``
            images of the pool, from their files.
    """

    form: str
    file: str
    bytes: int
    example: str
    max_difference: float
    images: int


@dataclass(frozen=True)
class Quantised:
    """The graph in eight bits, and what that costs on ``examples`` labeled evaluation images.

    Attributes:
        file, bytes, example: as of :class:`WrittenForm`.
        calibrated_on: labeled training images that the ranges are from.
        accuracy: of the eight bits, with its interval ``low`` to ``high``; ``float_accuracy``: of 32.
        changed: images whose class is another; ``better`` of them right now, ``worse`` right before.
        p_value: McNemar's exact test of those.
        max_difference: the largest difference of a probability.
        images_per_second: of the network alone, both in turns, here.
    """

    file: str
    bytes: int
    example: str
    calibrated_on: int
    examples: int
    accuracy: float
    low: float
    high: float
    float_accuracy: float
    changed: int
    better: int
    worse: int
    p_value: float
    max_difference: float
    images_per_second: float
    float_images_per_second: float


@dataclass(frozen=True)
class ExportResult:
    """A folder that is there, complete.

    Attributes:
        out: the folder.
        model: the version.
        network: what the network is called.
        classes: names, in the order of the probabilities.
        temperature: that the logits are divided by; ``calibrated``: measured on evaluation labels, else 1.
        forms: what was written; ``int8``: and in eight bits, if that was asked for.
    """

    out: str
    model: str
    network: str
    classes: tuple[str, ...]
    temperature: float
    calibrated: bool
    forms: tuple[WrittenForm, ...]
    int8: Quantised | None = None


def from_document(out: str, document: Mapping[str, Any]) -> ExportResult:
    """What is told of an export by its ``model.json``."""
    return ExportResult(
        out=out,
        model=document["model"],
        network=document["network"]["name"],
        classes=tuple(document["classes"]),
        temperature=document["temperature"],
        calibrated=document["calibrated"],
        forms=tuple(WrittenForm(**form) for form in document["forms"]),
        int8=Quantised(**document["int8"]) if document.get("int8") else None,
    )
