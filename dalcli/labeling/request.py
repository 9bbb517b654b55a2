"""What ``dalcli label`` was asked for, and what it tells when it ends."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.state.batches import Batch
from dalcli.state.labeling import Proposal

FILE = "dalcli label"
"""What the ledger has for the file of an answer given in the page."""


@dataclass(frozen=True)
class LabelRequest:
    """Options of one run; ``batch`` None: every open batch; ``relabel``: disputed samples instead.

    ``token`` None: a random one. ``port`` 0: one that is free.
    """

    annotator: str = ""
    batch: str | None = None
    relabel: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None


@dataclass(frozen=True)
class Guesses:
    """How often the model's guess was the answer, among the images of these batches that have both."""

    seen: int
    right: int


@dataclass(frozen=True)
class LabelResult:
    """What one run of the page brought.

    Attributes:
        labels, skipped: answers of this run that count; an answer taken back does not.
        taken_back: answers of this run that were taken back, whatever was answered then.
        seconds: time that people looked at the images they answered.
        annotators: answers by annotator.
        outstanding: images that are still to be labeled.
        proposals: classes proposed so far, in this run or before.
    """

    labels: int
    skipped: int
    taken_back: int
    seconds: float
    annotators: dict[str, int]
    outstanding: int
    guesses: Guesses
    proposals: tuple[Proposal, ...]
    batches: tuple[Batch, ...]
