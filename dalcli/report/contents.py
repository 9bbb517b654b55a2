"""Everything that a report tells, as values: what ``report --format json`` prints, and what the pages are made from.

Nothing here is computed anew: each part is the result of the command that is named beside it, so that a figure on the
page and the figure of that command are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dalcli.diagnosis.result import Finding
from dalcli.labels.annotators import Comparison
from dalcli.planning.history import HistoryResult
from dalcli.planning.result import PlanResult
from dalcli.state.auto_labels import AutoRun
from dalcli.state.batches import Batch
from dalcli.state.database import INTERNAL
from dalcli.state.versions import ModelVersion


@dataclass(frozen=True)
class Loop:
    """Where the loop stands (``status``)."""

    states: Mapping[str, Mapping[str, int]]
    labels_per_class: Mapping[str, int]
    model_name: str
    train: str
    image_size: tuple[int, int]
    newer_labels: int
    open_batches: tuple[Batch, ...]
    next_step: str


@dataclass(frozen=True)
class Round:
    """One batch, what came back, and what that cost (``batch list``, and the prices that ``plan`` takes).

    Attributes:
        batch: None: votes that no batch asked for, but that have a cost in the ledger.
        strategies: who chose its images.
        votes: that were bought.
        money: for those, and for the round; None where nobody has said what a vote costs.
    """

    batch: Batch | None
    strategies: tuple[str, ...]
    votes: int
    money: float | None


@dataclass(frozen=True)
class LabeledByModel:
    """One run of ``predict --auto``, standing or withdrawn (``status``, ``predict --check``).

    Attributes:
        checked: of its labels, by people who got them at random; ``wrong`` of those.
    """

    run: AutoRun
    checked: int
    wrong: int


@dataclass(frozen=True)
class ClassRow:
    """One class of today (``evaluate``, ``status``, ``plan``); None: there is no example to tell from.

    Attributes:
        labels: training labels; ``support`` evaluation labels of the measured version.
        low, high: of ``recall``, at ``evaluation.confidence``.
        below: by how much the recall lies below what ``plan`` wants; None: it does not.
    """

    name: str
    labels: int
    support: int
    recall: float | None
    low: float | None
    high: float | None
    precision: float | None
    below: float | None


@dataclass(frozen=True)
class Confused:
    """So many examples of one class were taken for another: a share of ``support``."""

    label: str
    predicted: str
    count: int
    support: int


@dataclass(frozen=True)
class Evaluation:
    """The newest measured version (``evaluate``).

    Attributes:
        matrix: rows are true classes, columns predictions, in the order of ``matrix_classes``; None: too many to show.
        pairs: the most confused ones.
    """

    version: str
    examples: int
    accuracy: float
    ece: float | None
    matrix_classes: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...] | None
    pairs: tuple[Confused, ...]


@dataclass(frozen=True)
class Picture:
    """One image of a contact sheet; ``jpeg`` None: it cannot be shown, and ``problem`` says why."""

    sample_id: str
    path: str
    caption: tuple[str, ...]
    problem: str | None
    jpeg: bytes | None = field(metadata=INTERNAL)
    size: tuple[int, int] | None = field(metadata=INTERNAL)


@dataclass(frozen=True)
class Sheet:
    """Some of ``total`` images; ``missing`` says why there are none."""

    name: Literal["next-batch", "most-confused", "suspects"]
    total: int
    pictures: tuple[Picture, ...]
    missing: str | None
    note: str | None = None


@dataclass(frozen=True)
class Saved:
    """What the gain over random draws comes to, read off the measured curve; see ``dalcli/report/saved.py``.

    Attributes:
        labels: of each compared model; ``as_good_at``: where the curve had got as far as random draws get with them.
        saved: their difference; ``saved_low`` and ``saved_high`` at the ends of the gain's interval.
        money: what ``saved`` labels cost; None: nobody has said.
        at_least: the curve begins above what random draws reach: more was saved than could be measured.
    """

    labels: int
    as_good_at: int
    saved: int
    saved_low: int
    saved_high: int
    money: float | None
    at_least: bool


@dataclass(frozen=True)
class Diagnosis:
    """Answers of ``diagnose`` in plain words, of the version they were given for."""

    version: str
    made_at: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Made:
    """What was run with what.

    Attributes:
        programs: versions of dalcli and what it computes with, of the process that made the report.
        config: SHA-256 of dalcli.yaml; ``labels`` and ``evaluation_labels``: names for the labels of now.
        network: fingerprint of the frozen network, where there is one.
        versions: every finished model version.
    """

    programs: Mapping[str, str]
    seed: int
    config: str
    schema: int
    labels: str
    evaluation_labels: str
    network: str | None
    versions: tuple[ModelVersion, ...]


@dataclass(frozen=True)
class Report:
    """The whole of it; ``as_of`` is the last change of the workspace, ``today`` the day that dates are counted from."""

    workspace: str
    as_of: str | None
    today: str
    loop: Loop
    plan: PlanResult
    history: HistoryResult
    rounds: tuple[Round, ...]
    by_model: tuple[LabeledByModel, ...]
    evaluation: Evaluation | None
    classes: tuple[ClassRow, ...]
    sheets: tuple[Sheet, ...]
    annotators: Comparison
    control_gain: Mapping[str, Any] | None
    saved: Saved | None
    diagnosis: Diagnosis | None
    diagnosis_missing: str | None
    made: Made
