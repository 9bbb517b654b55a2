"""What ``simulate`` and its worker processes say to each other: tasks there, events back, each a line of JSON.

The values are dataclasses and their text is made by ``json`` and not by pydantic: a path may hold bytes that are no
text, and a setting may be infinite.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter


@dataclass(frozen=True)
class BaseTask:
    """Asks a worker for a base: the scored workspace that all strategies of a seed start from.

    Attributes:
        root: where the workspace is to be.
        draw: the folder with the seed's pool, test set and answers.
        cache: the folder of decoded pixels that all workspaces share.
        log: the file for what the commands say.
        classes: names in class order.
        settings: the keys of its ``dalcli.yaml``, but for ``classes``.
        budget: labels to begin with.
    """

    root: Path
    draw: Path
    cache: Path
    log: Path
    classes: tuple[str, ...]
    settings: dict[str, Any]
    budget: int
    kind: Literal["base"] = "base"


@dataclass(frozen=True)
class CellTask:
    """Asks a worker for a cell: a copy of a base that goes on with a strategy of its own.

    Attributes:
        root: where the workspace is to be; what a killed run left there is continued.
        base: the workspace of the base, complete.
        draw, log, classes: as those of :class:`BaseTask`.
        record: the file for the rounds, once all are done.
        title: what people call the cell.
        query: the ``query`` keys of its ``dalcli.yaml``.
        budget: labels a round.
        rounds: how many, after the shared start.
        keep: whether the workspace stays when the cell is finished.
    """

    root: Path
    base: Path
    draw: Path
    log: Path
    record: Path
    title: str
    classes: tuple[str, ...]
    query: dict[str, Any]
    budget: int
    rounds: int
    keep: bool
    kind: Literal["cell"] = "cell"


@dataclass(frozen=True)
class RoundDone:
    """Tells that the shared start or a round of a cell was computed, and how good the model is."""

    labels: int
    accuracy: float
    kind: Literal["round"] = "round"


@dataclass(frozen=True)
class TaskDone:
    """Tells that all of a task is done, and its files are in their places."""

    kind: Literal["done"] = "done"


@dataclass(frozen=True)
class TaskFailed:
    """Tells that a task was given up, and why."""

    message: str
    kind: Literal["failed"] = "failed"


WorkerTask = BaseTask | CellTask
WorkerEvent = RoundDone | TaskDone | TaskFailed

_TASKS: TypeAdapter[WorkerTask] = TypeAdapter(Annotated[WorkerTask, Field(discriminator="kind")])
_EVENTS: TypeAdapter[WorkerEvent] = TypeAdapter(Annotated[WorkerEvent, Field(discriminator="kind")])


def line_of(message: WorkerTask | WorkerEvent) -> str:
    """One line, line end included, of ASCII."""
    return json.dumps(asdict(message), default=str) + "\n"


def task_of(line: str) -> WorkerTask:
    """The task that :func:`line_of` wrote; ValueError if the line is none."""
    return _TASKS.validate_python(json.loads(line))


def event_of(line: str) -> WorkerEvent:
    """The event that :func:`line_of` wrote; ValueError if the line is none."""
    return _EVENTS.validate_python(json.loads(line))
