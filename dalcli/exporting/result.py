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
class ExportResult:
    """A folder that is there, complete.

    Attributes:
        out: the folder.
        model: the version.
        network: what the network is called.
        classes: names, in the order of the probabilities.
        temperature: that the logits are divided by; ``calibrated``: measured on evaluation labels, else 1.
        forms: what was written.
    """

    out: str
    model: str
    network: str
    classes: tuple[str, ...]
    temperature: float
    calibrated: bool
    forms: tuple[WrittenForm, ...]


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
    )
