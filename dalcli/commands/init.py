"""``init``: make a workspace and register its images.

The workspace is built in ``.dalcli.partial`` and renamed into place at the end: there either is one or there is
not. A killed ``init`` continues with the images it has already read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from dalcli.config.schema import Config
from dalcli.config.template import render
from dalcli.config.words import problem_with_classes
from dalcli.errors import BadInputError, LockedError, UsageError
from dalcli.feedback import Feedback
from dalcli.state import atomic, catalog, classes, meta
from dalcli.state.database import Database, now
from dalcli.state.workspace import STATE_NAME, Workspace, printable
from dalcli.workspace.model_choice import choose
from dalcli.workspace.registration import Findings, check_labels, collect, register, report
from dalcli.workspace.session import (
    ModelChoice,
    contains_in_order,
    evaluation_reserve,
    load_config,
    model_choice,
    open_session,
)

PARTIAL_NAME = ".dalcli.partial"
LOCK_NAME = "init.lock"


@dataclass(frozen=True)
class InitResult:
    """The workspace as it stands: the same whether it was made now or before."""

    root: str
    classes: tuple[str, ...]
    states: dict[str, dict[str, int]]
    model: str
    image_size: tuple[int, int]
    evaluation_reserve: float


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    sources: Sequence[Path]
    classes: Sequence[str] | None = None
    test: Path | None = None
    labels_from_folders: bool = False
    config: Path | None = None


def run(root: Path, request: Request, feedback: Feedback) -> InitResult:
    """Make ``root`` a workspace, or bring an existing one up to date with the request."""
    root = Path(os.path.abspath(root))
    if not root.is_dir():
        raise BadInputError(f"{root}: no such folder", "create it first, or choose another with -C DIR")
    workspace = Workspace(root)
    if workspace.database_path.is_file():
        return _update(workspace, request, feedback)
    config = _configuration(workspace, request)
    findings = collect(request.sources, request.test, request.labels_from_folders)
    names = _class_names(request, config, findings)
    check_labels(findings, names)
    partial = root / PARTIAL_NAME
    partial.mkdir(exist_ok=True)
    with _only_one(partial):
        if workspace.database_path.is_file():  # the other one has just finished
            shutil.rmtree(partial, ignore_errors=True)
            return _update(workspace, request, feedback)
        try:
            _build(workspace, partial, request, config, findings, names, feedback)
        except BadInputError:  # nothing was changed; after anything else the next `init` continues
            shutil.rmtree(partial, ignore_errors=True)
            raise
    (workspace.state / LOCK_NAME).unlink(missing_ok=True)
    return _result(workspace, config)


def _configuration(workspace: Workspace, request: Request) -> Config:
    existing = workspace.config_path
    if request.config is None:
        return load_config(existing) if existing.is_file() else Config()
    config = load_config(request.config)
    same = existing.is_file() and existing.read_bytes() == request.config.read_bytes()
    if existing.is_file() and not same:
        raise BadInputError(f"{existing}: already there and different from {request.config}", "remove one of them")
    return config


def _class_names(request: Request, config: Config, findings: Findings) -> tuple[str, ...]:
    given = tuple(request.classes) if request.classes is not None else None
    if given is not None and config.classes is not None and given != config.classes:
        raise BadInputError(
            f"--classes {','.join(given)} contradicts classes: {list(config.classes)} of the configuration",
            "give the list in one place",
        )
    names = given or config.classes or findings.labels
    problem = problem_with_classes(names)
    if problem is not None:
        raise BadInputError(
            f"the images' labels cannot be classes: {problem}", "rename the folder or correct the label"
        )
    if len(names) < 2:
        found = f"only found: {', '.join(names)}" if names else "none are given, and the images carry no labels"
        raise UsageError(f"a classifier needs at least two classes; {found}", "pass --classes cat,dog,other")
    return names


@contextmanager
def _only_one(partial: Path) -> Iterator[None]:
    """Two ``init`` at once: the second one is told so."""
    lock = FileLock(partial / LOCK_NAME)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError(f"{partial}: another `dalcli init` is running here", "wait for it to end") from None
    except FileNotFoundError:  # renamed under us
        raise LockedError(f"{partial}: another `dalcli init` has just ended here", "run the same again") from None
    try:
        yield
    finally:
        lock.release()


def _build(
    workspace: Workspace,
    partial: Path,
    request: Request,
    config: Config,
    findings: Findings,
    names: tuple[str, ...],
    feedback: Feedback,
) -> None:
    reserve = _reserve(request, config, findings)
    facts = json.dumps([config.seed, reserve, names, *_asked(request)])
    with _begin(partial, facts) as database:
        with database.write() as connection:
            meta.put(connection, "init", facts)
            meta.put(connection, "split_seed", str(config.seed))
            meta.put(connection, "evaluation_reserve", repr(reserve))
            classes.append(connection, names)
        result = register(database, workspace, findings, data=config.data, feedback=feedback)
        with database.write() as connection:
            choice = choose(catalog.sizes(connection), config)
            meta.put(connection, "model_choice", json.dumps({"name": choice.name, "image_size": choice.image_size}))
            meta.put(connection, "created_at", now())
    if not workspace.config_path.is_file():
        text = (
            request.config.read_text(encoding="utf-8-sig") if request.config else render(choice.name, reserve, config)
        )
        atomic.write_bytes(workspace.config_path, text.encode())
    partial.rename(workspace.root / STATE_NAME)
    atomic.sync_directory(workspace.root)
    report(result, feedback)
    _advise(choice, findings, feedback)


def _begin(partial: Path, facts: str) -> Database:
    """The database of an interrupted ``init`` that was asked for the same, else a fresh one."""
    database = Database(partial / "state.db")
    with database.read() as connection:
        before = meta.get(connection, "init")
    if before in {None, facts}:
        return database
    database.close()
    for file in partial.glob("state.db*"):
        file.unlink()
    return Database(partial / "state.db")


def _asked(request: Request) -> list[object]:
    sources = [printable(os.path.abspath(source)) for source in request.sources]
    test = None if request.test is None else printable(os.path.abspath(request.test))
    return [sources, test, request.labels_from_folders]


def _reserve(request: Request, config: Config, findings: Findings) -> float:
    has_test = request.test is not None or any(image.split == "evaluation" for image in findings.images)
    explicit = "reserve" in config.evaluation.model_fields_set
    return 0.0 if has_test and not explicit else config.evaluation.reserve


def _advise(choice: ModelChoice, findings: Findings, feedback: Feedback) -> None:
    height, width = choice.image_size
    feedback.note(
        f"chose model {choice.name} at {height}×{width} pixels (model.name and data.image_size in dalcli.yaml)"
    )
    if choice.name == "resnet18":
        feedback.note(
            "pretrained weights usually save many labels: try `weights: DEFAULT` under `model:` in dalcli.yaml"
        )
    if findings.ignored:
        feedback.note(f"{findings.ignored} files that are not images were left out")
    if not findings.images:
        feedback.note("the pool is empty: add images with `dalcli pool add FOLDER`")


def _update(workspace: Workspace, request: Request, feedback: Feedback) -> InitResult:
    """``init`` in an existing workspace: the same request changes nothing, new files come in."""
    with open_session(workspace.root, feedback) as session:
        if request.config is not None and load_config(request.config) != session.config:
            raise BadInputError(
                f"{workspace.config_path}: differs from {request.config}",
                "the workspace already exists: edit its dalcli.yaml instead",
            )
        with session.database.read() as connection:
            owned = classes.names(connection)
        if request.classes is not None and not contains_in_order(owned, request.classes):
            raise BadInputError(
                f"--classes {','.join(request.classes)} contradicts the workspace's {','.join(owned)}",
                "new classes come in with ingest-labels --allow-new-classes",
            )
        findings = collect(request.sources, request.test, request.labels_from_folders)
        check_labels(findings, owned)
        result = register(
            session.database, workspace, findings, data=session.config.data, feedback=feedback, in_parts=False
        )
        feedback.note(f"{workspace.root} is already a workspace; {result.new_samples} new samples")
        report(result, feedback)
    return _result(workspace, session.config)


def _result(workspace: Workspace, config: Config) -> InitResult:
    with Database(workspace.database_path) as database, database.read() as connection:
        choice = model_choice(connection, config)
        return InitResult(
            root=str(workspace.root),
            classes=classes.names(connection),
            states={purpose: dict(counts) for purpose, counts in catalog.count_states(connection).items()},
            model=choice.name,
            image_size=choice.image_size,
            evaluation_reserve=evaluation_reserve(connection),
        )
