"""What ``init`` is asked for, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.schema import Config
from dalcli.state import catalog, classes
from dalcli.state.database import Database
from dalcli.state.workspace import Workspace
from dalcli.workspace.session import evaluation_reserve, model_choice


@dataclass(frozen=True)
class InitRequest:
    """What the command line of ``init`` asks for."""

    sources: Sequence[Path]
    classes: Sequence[str] | None = None
    test: Path | None = None
    labels_from_folders: bool = False
    config: Path | None = None
    model: str | None = None
    weights: str | None = None


@dataclass(frozen=True)
class InitResult:
    """What ``init`` tells: the workspace as it stands, the same whether it was made now or before."""

    root: str
    classes: tuple[str, ...]
    states: dict[str, dict[str, int]]
    model: str
    image_size: tuple[int, int]
    evaluation_reserve: float
    train: str
    weights: str | None


def result_of(workspace: Workspace, config: Config) -> InitResult:
    """The workspace as it is now."""
    with Database(workspace.database_path) as database, database.read() as connection:
        choice = model_choice(connection, config)
        return InitResult(
            root=str(workspace.root),
            classes=classes.names(connection),
            states={purpose: dict(counts) for purpose, counts in catalog.count_states(connection).items()},
            model=choice.name,
            image_size=choice.image_size,
            evaluation_reserve=evaluation_reserve(connection),
            train=config.model.train,
            weights=config.model.weights,
        )
