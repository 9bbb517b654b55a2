"""Making a workspace: what ``init`` does.

It is built in ``.dalcli.partial`` and renamed into place at the end: there either is one or there is not. A killed
``init`` continues with the images it has already read.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dalcli.config.class_names import problem_with_classes
from dalcli.config.schema import Config
from dalcli.config.template import render
from dalcli.config.words import counted
from dalcli.data.network import NetworkRecord
from dalcli.errors import BadInputError, DalcliError, LockedError, UsageError
from dalcli.feedback import Feedback
from dalcli.state import atomic, catalog, classes, meta
from dalcli.state.database import Database, now
from dalcli.state.lock import file_lock
from dalcli.state.workspace import STATE_NAME, Workspace, printable
from dalcli.workspace import network
from dalcli.workspace.init_request import InitRequest, InitResult, result_of
from dalcli.workspace.model_choice import (
    asked_for,
    check_model,
    choose,
    configured,
    photograph_config,
    wants_photograph_network,
)
from dalcli.workspace.registration import Findings, check_labels, collect, register, tell
from dalcli.workspace.repetition import bring_up_to_date
from dalcli.workspace.session import (
    ModelChoice,
    load_config,
)

PARTIAL_NAME = ".dalcli.partial"
LOCK_NAME = "init.lock"


@dataclass(frozen=True)
class _Design:
    """Everything that is decided about a workspace before its images are read."""

    workspace: Workspace
    request: InitRequest
    config: Config
    findings: Findings
    classes: tuple[str, ...]

    @property
    def reserve(self) -> float:
        """The evaluation reserve: a test set turns it off, unless the configuration names one."""
        images = self.findings.images
        has_test = self.request.test is not None or any(image.split == "evaluation" for image in images)
        explicit = "reserve" in self.config.evaluation.model_fields_set
        return 0.0 if has_test and not explicit else self.config.evaluation.reserve

    @property
    def facts(self) -> str:
        """What tells this ``init`` from another one in the same place, as text."""
        asked = self.request
        sources = [printable(os.path.abspath(source)) for source in asked.sources]
        test = None if asked.test is None else printable(os.path.abspath(asked.test))
        facts = [self.config.seed, self.reserve, self.classes, sources, test, asked.labels_from_folders]
        model = [] if asked.model is None and asked.weights is None else [asked.model, asked.weights]
        return json.dumps([*facts, *model])


def create(workspace: Workspace, request: InitRequest, feedback: Feedback) -> InitResult:
    """Make a workspace where there is none yet.

    Raises:
        BadInputError: something is wrong with the configuration, the images or their labels; nothing was changed.
        UsageError: fewer than two classes.
        LockedError: another ``init`` is at work here.
    """
    config = _configuration(workspace, request)
    check_model(configured(config), config, workspace.root)
    findings = collect(request.sources, request.test, request.labels_from_folders)
    names = _class_names(request, config, findings)
    check_labels(findings, names)
    partial = workspace.root / PARTIAL_NAME
    partial.mkdir(exist_ok=True)
    with _only_one(partial):
        if workspace.database_path.is_file():  # the other one has just finished
            shutil.rmtree(partial, ignore_errors=True)
            return bring_up_to_date(workspace, request, feedback)
        try:
            _build(partial, _Design(workspace, request, config, findings, names), feedback)
        except BadInputError:  # nothing was changed; after anything else the next `init` continues
            shutil.rmtree(partial, ignore_errors=True)
            raise
    (workspace.state / LOCK_NAME).unlink(missing_ok=True)
    return result_of(workspace, load_config(workspace.config_path))


def _configuration(workspace: Workspace, request: InitRequest) -> Config:
    existing = workspace.config_path
    if request.model is not None or request.weights is not None:
        given = request.config or (existing if existing.is_file() else None)
        asked = asked_for(Config(), request.model, request.weights).model
        if given is not None and load_config(given).model != asked:  # else a killed `init` has written it
            raise UsageError(f"--model and --weights: {given} says which model", "set model.name and weights there")
    if request.config is None:
        config = load_config(existing) if existing.is_file() else Config()
        return asked_for(config, request.model, request.weights)
    config = load_config(request.config)
    same = existing.is_file() and existing.read_bytes() == request.config.read_bytes()
    if existing.is_file() and not same:
        raise BadInputError(f"{existing}: already there and different from {request.config}", "remove one of them")
    return config


def _class_names(request: InitRequest, config: Config, findings: Findings) -> tuple[str, ...]:
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

    def refusal() -> LockedError:
        if partial.is_dir():
            return LockedError(f"{partial}: another `dalcli init` is running here", "wait for it to end")
        return LockedError(f"{partial}: another `dalcli init` has just ended here", "run the same again")

    with file_lock(partial / LOCK_NAME, refusal):
        yield


def _build(partial: Path, design: _Design, feedback: Feedback) -> None:
    workspace, config = design.workspace, design.config
    with _begin(partial, design.facts) as database:
        with database.write() as connection:
            meta.put(connection, "init", design.facts)
            meta.put(connection, "split_seed", str(config.seed))
            meta.put(connection, "evaluation_reserve", repr(design.reserve))
            classes.append(connection, design.classes)
        result = register(database, workspace, design.findings, data=config.data, feedback=feedback)
        with database.read() as connection:
            choice = choose(catalog.sizes(connection), config)
        model = _model(partial, design, choice, feedback)
        config, choice = model.config, model.choice
        with database.write() as connection:
            meta.put(connection, "model_choice", json.dumps({"name": choice.name, "image_size": choice.image_size}))
            if model.network is not None:
                network.remember(connection, model.network, network.asked(connection, config))
            meta.put(connection, "created_at", now())
    if not workspace.config_path.is_file():
        given = design.request.config
        text = given.read_text(encoding="utf-8-sig") if given else render(choice.name, design.reserve, config)
        atomic.write_bytes(workspace.config_path, text.encode())
    partial.rename(workspace.root / STATE_NAME)
    atomic.sync_directory(workspace.root)
    tell(result, feedback)
    _advise(choice, config, design.findings, feedback)


@dataclass(frozen=True)
class _Model:
    """What was decided; ``config`` says it, where the configuration left it open."""

    config: Config
    choice: ModelChoice
    network: NetworkRecord | None = None


def _model(partial: Path, design: _Design, choice: ModelChoice, feedback: Feedback) -> _Model:
    """The model, and the frozen network if it is to be one: that is adopted now, or it cannot be had.

    Raises:
        BadInputError: what was asked for does not exist, or does not fit.
        DalcliError: what was asked for cannot be downloaded.
    """
    config, root = design.config, design.workspace
    open_choice = not root.config_path.is_file() and design.request.config is None
    if open_choice and wants_photograph_network(choice, config):
        wanted = photograph_config(config)
        frozen = ModelChoice(wanted.model.name, choice.image_size)
        try:
            return _with_network(partial, design, wanted, frozen, feedback)
        except DalcliError as error:
            feedback.warn(
                f"no pretrained network: {error.message}. {choice.name} learns from nothing instead and needs about "
                "three times the labels; to have one, bring that file and make a new workspace with "
                "`dalcli init --weights FILE`"
            )
    check_model(choice, config, root.root)
    if config.model.train == "head":
        return _with_network(partial, design, config, choice, feedback)
    return _Model(config, choice)


def _with_network(partial: Path, design: _Design, config: Config, choice: ModelChoice, feedback: Feedback) -> _Model:
    record = network.adopt(design.workspace, partial, config, choice, feedback)
    return _Model(config, ModelChoice(choice.name, record.recipe.image_size), record)


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


def _advise(choice: ModelChoice, config: Config, findings: Findings, feedback: Feedback) -> None:
    height, width = choice.image_size
    frozen = config.model.train == "head"
    model = f"the frozen network {choice.name}" if frozen else f"model {choice.name}"
    feedback.note(f"chose {model} at {height}×{width} pixels (model.name and data.image_size in dalcli.yaml)")
    if choice.name == "resnet18" and config.model.weights is None and "name" in config.model.model_fields_set:
        feedback.note(
            "pretrained weights usually save many labels: try `weights: DEFAULT` under `model:` in dalcli.yaml"
        )
    if findings.ignored:
        one, many = "file that is no image was left out", "files that are not images were left out"
        feedback.note(counted(findings.ignored, one, many))
    if not findings.images:
        feedback.note("the pool is empty: add images with `dalcli pool add FOLDER`")
