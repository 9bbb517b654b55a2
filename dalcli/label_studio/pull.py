"""Answers on their way back: annotations that are new or were changed since they were read, all of them or none.

Which were read is committed together with the votes made of them, so nothing is read twice and nothing is lost,
whatever is killed when. They go through the same reader as a file of ``ingest-labels --format label-studio``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dalcli.config.words import counted
from dalcli.data.text import TextInput
from dalcli.errors import NotReadyError
from dalcli.formats.labels import LabelFile, ReadOptions
from dalcli.formats.registry import read_labels
from dalcli.label_studio.client import Json, a_number, objects
from dalcli.label_studio.request import PullRequest, PullResult
from dalcli.label_studio.server import Server
from dalcli.labels import recording
from dalcli.state import batches, catalog, label_studio
from dalcli.state.database import now
from dalcli.workspace.session import Session


@dataclass
class _Answers:
    """What a project has: tasks of ours with annotations that were not read yet, and how many there are at all.

    ``new``: annotation → when it was changed. ``emptied``: annotations that were read and say nothing any more.
    """

    tasks: list[Json] = field(default_factory=list)
    new: dict[int, str] = field(default_factory=dict)
    annotations: int = 0
    skipped: int = 0
    foreign: int = 0
    emptied: int = 0
    samples: set[int] = field(default_factory=set)


def pull(session: Session, server: Server, request: PullRequest) -> PullResult:
    """Record what was answered since the last pull.

    Raises:
        NotReadyError: nothing was pushed to this server.
        BadInputError: answers that say nothing usable, each listed with its task; nothing was changed.
        AwayError: the server does not answer.
    """
    with session.database.read() as connection:
        projects = label_studio.projects(connection, server.address)
    if request.project is not None:
        projects = [request.project]
    if not projects:
        raise NotReadyError(
            f"nothing was pushed to {server.address} from this workspace",
            "push a batch first: dalcli label-studio push; or name the project: --project ID",
        )
    found = [_pull(session, server, project, request) for project in sorted(projects)]
    samples = set[int]().union(*(answers.samples for answers in found))
    with session.database.read() as connection:
        touched = tuple(batches.holding(connection, samples))
    return PullResult(
        projects=tuple(server.page_of(project) for project in sorted(projects)),
        annotations=sum(answers.annotations for answers in found),
        skipped=sum(answers.skipped for answers in found),
        batches=touched,
    )


def _pull(session: Session, server: Server, project: int, request: PullRequest) -> _Answers:
    server.project(project)  # one that is gone is told as such
    with session.database.read() as connection:
        known = label_studio.taken(connection, server.address, project)
        samples = catalog.keys_by_id(connection)
    answers = _Answers()
    with session.feedback.task(f"reading project {project}", None, "tasks") as bar:
        for task in server.tasks(project, answers=True):
            _sort(task, known, samples, answers)
            bar.advance()
    name = server.page_of(project)
    if answers.foreign:
        session.feedback.note(f"{name}: {counted(answers.foreign, 'task is', 'tasks are')} none of ours: passed over")
    if answers.emptied:
        were = counted(answers.emptied, "answer was", "answers were")
        session.feedback.warn(f"{name}: {were} emptied since; what was said before stands")
    _record(session, server.address, project, request, answers, name)
    return answers


def _sort(task: Json, known: dict[int, str], samples: dict[str, int], answers: _Answers) -> None:
    """Find what is new in a task."""
    data = task.get("data")
    sample = samples.get(str(data.get("sample_id")).strip().lower()) if isinstance(data, dict) else None
    if sample is None or not isinstance(data, dict):
        answers.foreign += 1
        return
    new = []
    for annotation in objects(task.get("annotations") or []):
        number, changed = a_number(annotation.get("id")), str(annotation.get("updated_at"))
        answers.annotations += 1
        answers.skipped += annotation.get("was_cancelled") is True
        answers.samples.add(sample)
        if known.get(number) != changed:
            answers.new[number] = changed
            empty = not annotation.get("result") and annotation.get("was_cancelled") is not True
            answers.emptied += empty and number in known
            new.append(annotation)
    if new:
        kept = {key: value for key, value in data.items() if not _is_heavy(value)}
        answers.tasks.append({"id": task.get("id"), "data": kept, "annotations": new})


def _is_heavy(value: object) -> bool:
    return isinstance(value, str) and value.startswith("data:")


def _record(session: Session, address: str, project: int, request: PullRequest, answers: _Answers, name: str) -> None:
    if not answers.new:
        session.feedback.note(f"{name}: up to date, {counted(answers.annotations, 'answer')} known already")
        if request.project is not None:  # named now: else it is one that is known, and nothing is to be written
            with session.database.write() as connection:
                label_studio.remember(connection, address, project, now())
        return
    table = _table(answers.tasks, request.control, name)
    with session.database.write() as connection:
        key = label_studio.remember(connection, address, project, now())
        recorded = recording.record(
            connection,
            session,
            table,
            name,
            None,
            on_conflict="replace",  # an annotation that was changed is its annotator's later word
            allow_new_classes=request.allow_new_classes,
        )
        label_studio.take(connection, key, answers.new)
    recording.tell(session, recorded, f"{name}: no label in {counted(len(answers.new), 'new answer')}")


def _table(tasks: Sequence[Json], control: str | None, name: str) -> LabelFile:
    """The answers as the reader of exports reads them; a row's place is its task's number on the server."""
    numbers = [a_number(task["id"]) for task in tasks]
    text = TextInput(name, json.dumps(tasks).encode())
    table = read_labels(text, "label-studio", ReadOptions(control))
    rows = [replace(row, line=numbers[row.line - 1]) for row in table.rows]
    problems = [replace(problem, line=numbers[problem.line - 1], unit="task") for problem in table.problems]
    return replace(table, rows=rows, problems=problems, unit="task")
