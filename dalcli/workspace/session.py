"""What every command starts from: the workspace, its configuration and its database, checked against each other.

The first file of this room to read. Around it: ``creation`` and ``repetition`` (``init``), ``registration`` and
``relocation`` (``pool``), ``label_files`` and ``matching`` (labels on their way in), ``versions`` and ``loading``
(models on their way out), ``images`` and ``image_cache`` (pixels).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.loading import load
from dalcli.config.schema import Config, ImageSize
from dalcli.errors import BadInputError
from dalcli.feedback import Feedback
from dalcli.state import catalog, classes, consensus, meta
from dalcli.state.consensus import InForce
from dalcli.state.database import Connection, Database
from dalcli.state.workspace import Workspace, find
from dalcli.strategies import registry


@dataclass(frozen=True)
class ModelChoice:
    """What ``auto`` in the configuration stands for in this workspace; fixed by ``init``."""

    name: str
    image_size: ImageSize


@dataclass(frozen=True)
class Surroundings:
    """What computing needs of a workspace; every process of a ``torchrun`` has it."""

    workspace: Workspace
    config: Config
    feedback: Feedback


@dataclass(frozen=True)
class Session(Surroundings):
    """One command's view of a workspace, with the database, which one process alone opens; a context manager."""

    database: Database

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.database.close()


def open_session(directory: Path | None, feedback: Feedback) -> Session:
    """Open the workspace at ``directory`` (None: the nearest one at or above the current directory).

    Raises:
        NotReadyError: there is no workspace.
        BadInputError: the configuration is wrong, or contradicts the database.
    """
    workspace = find(directory)
    if not workspace.config_path.exists():
        raise BadInputError(
            f"{workspace.config_path}: the workspace's configuration is gone",
            "restore it, or make an empty file of that name: every key has a default",
        )
    config = load_config(workspace.config_path)
    database = Database(workspace.database_path)
    try:
        with database.read() as connection:
            check_against_database(config, connection, workspace.config_path)
        _adopt_consensus(database, config, feedback)
    except BaseException:
        database.close()
        raise
    return Session(workspace, config, feedback, database)


def _adopt_consensus(database: Database, config: Config, feedback: Feedback) -> None:
    """Labels depend on this part of the configuration: what the database makes of votes follows it at once."""
    rule = config.labels.consensus
    wanted = InForce(rule, config.labels.certainty if rule == "dawid-skene" else 1.0)
    with database.read() as connection:
        before = consensus.in_force(connection)
    if before == wanted:
        return
    with database.write() as connection:
        disputed = _disputed(connection)
        consensus.adopt(connection, wanted)
        left = _disputed(connection)
    if disputed or left:
        feedback.note(f"labels.consensus: {wanted.rule} is in force now: {left} disputed, {disputed} before")


def _disputed(connection: Connection) -> int:
    return sum(states["disputed"] for states in catalog.count_states(connection).values())


def load_config(path: Path) -> Config:
    """Read a configuration file and check what its schema cannot know: the names of strategies.

    Raises:
        BadInputError: the file is wrong, or names an unknown strategy.
    """
    config = load(path)
    for key, name in (("strategy", config.query.strategy), ("cold_start", config.query.cold_start)):
        registry.create(name, config.query, f"{path}: query.{key}")
    return config


def strategy_columns(config: Config) -> tuple[str, ...]:
    """The columns that the configured strategy reads: what ``score`` computes unless told otherwise."""
    return registry.create(config.query.strategy, config.query).columns


def check_against_database(config: Config, connection: Connection, path: Path) -> None:
    """What was decided at ``init`` cannot be changed by editing the configuration.

    Raises:
        BadInputError: naming the key, both values and the remedy.
    """
    owned = classes.names(connection)
    if config.classes is not None and not contains_in_order(classes.spellings(connection), config.classes):
        raise BadInputError(
            f"{path}: classes: {', '.join(config.classes)} contradicts the workspace's {', '.join(owned)}",
            "remove the key (the database owns the list); new classes come in with ingest-labels --allow-new-classes",
        )
    reserve = evaluation_reserve(connection)
    if "reserve" in config.evaluation.model_fields_set and config.evaluation.reserve != reserve:
        raise BadInputError(
            f"{path}: evaluation.reserve: {config.evaluation.reserve:g} contradicts {reserve:g}, fixed by `init`",
            f"set it back to {reserve:g}: changing it later would bias the evaluation set",
        )


def contains_in_order(owned: Sequence[Collection[str]], given: Sequence[str]) -> bool:
    """Whether ``given`` is the workspace's class list, or what it was before classes were added or renamed.

    ``owned``: by position, all names that the class has had.
    """
    return len(given) <= len(owned) and all(name in known for name, known in zip(given, owned, strict=False))


def evaluation_reserve(connection: Connection) -> float:
    """The fraction of the pool set aside for evaluation, fixed by ``init``."""
    return float(meta.get(connection, "evaluation_reserve") or 0.0)


def split_seed(connection: Connection) -> int:
    """The seed of the evaluation reserve, fixed by ``init``: a later change of ``seed`` must not move samples."""
    return int(meta.get(connection, "split_seed") or 0)


def model_choice(connection: Connection, config: Config) -> ModelChoice:
    """Model name and input size, with ``auto`` replaced by what ``init`` chose."""
    chosen = json.loads(meta.get(connection, "model_choice") or "{}")
    name = chosen["name"] if config.model.name == "auto" else config.model.name
    size = chosen["image_size"] if config.data.image_size == "auto" else config.data.image_size
    return ModelChoice(name, (int(size[0]), int(size[1])))
