"""What ``push`` and ``pull`` were asked for, and what they tell."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.label_studio.images import Way
from dalcli.state.batches import Batch


@dataclass(frozen=True)
class PushRequest:
    """``batch`` None: every open batch. Without ``project`` and ``title``: where the last batch went, or a new one."""

    batch: str | None = None
    project: int | None = None
    title: str | None = None
    images: Way = "auto"
    image_url: str | None = None


@dataclass(frozen=True)
class Pushed:
    """One batch: how many of its rows are still to be labeled, and how many of those have a task on the server."""

    batch_id: str
    outstanding: int
    tasks: int


@dataclass(frozen=True)
class PushResult:
    """Where it went; the same for a second run."""

    project: int
    address: str
    batches: tuple[Pushed, ...]


@dataclass(frozen=True)
class PullRequest:
    """``project`` None: every project that batches were pushed to. ``control``: which one holds the class."""

    project: int | None = None
    control: str | None = None
    allow_new_classes: bool = False


@dataclass(frozen=True)
class PullResult:
    """What the projects have of our samples, new or not, and where those batches stand; the same for a second run."""

    projects: tuple[str, ...]
    annotations: int
    skipped: int
    batches: tuple[Batch, ...]
