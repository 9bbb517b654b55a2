"""Batches on their way to a server. What decides whether a row is there is the server itself, never a memory of ours:
whatever was cut off between its commit and our knowledge of it is found by the batch and sample in the tasks' data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from dalcli.config.words import counted, suggestion
from dalcli.errors import BadInputError, LockedError, NotReadyError
from dalcli.formats.batch import Sheet
from dalcli.formats.label_studio import CONTROL, LabelStudio
from dalcli.label_studio import images
from dalcli.label_studio.client import Json, UnsureError
from dalcli.label_studio.images import Address
from dalcli.label_studio.interface import MADE_HERE, class_names, interface, read_as_data
from dalcli.label_studio.request import Pushed, PushRequest, PushResult
from dalcli.label_studio.server import Project, Server
from dalcli.state import batches, catalog, classes, label_studio
from dalcli.state.batches import Batch
from dalcli.state.database import Connection, now
from dalcli.state.lock import file_lock
from dalcli.workspace.image_files import find_files
from dalcli.workspace.session import Session

MOST_TASKS, MOST_BYTES = 200, 8 << 20
"""Of one request: what a restart in the middle costs."""


def push(session: Session, server: Server, request: PushRequest) -> PushResult:
    """Put every row that is still to be labeled on the server, once.

    Raises:
        NotReadyError: no batch is open.
        BadInputError: no such batch or project, a project that cannot take the classes, a token that opens nothing.
        AwayError: the server does not answer; what it has is kept, and the same command goes on.
        LockedError: another push runs.
    """
    with file_lock(session.workspace.state / "label-studio.lock", _already_pushing):
        with session.database.read() as connection:
            chosen = _batches(connection, request)
            names = class_names(connection)
        project = _project(session, server, request, names)
        with session.database.write() as connection:
            label_studio.remember(connection, server.address, project.number, now())
        pushed = tuple(_Batch(session, server, project, request, batch).push() for batch in chosen)
    return PushResult(project.number, server.page_of(project.number), pushed)


def _already_pushing() -> LockedError:
    return LockedError("another `dalcli label-studio push` of this workspace runs", "wait for it to end")


def _batches(connection: Connection, request: PushRequest) -> Sequence[Batch]:
    if request.batch is None:
        found = batches.open_batches(connection)
        if not found:
            raise NotReadyError("no batch is open", "hand one out first: dalcli query --budget N > to_label.csv")
        return found
    batch = batches.get(connection, request.batch)
    if batch is None:
        known = [each.batch_id for each in batches.listing(connection)]
        raise BadInputError(
            f"no batch '{request.batch}'{suggestion(request.batch, known)}", "`dalcli batch list` shows all of them"
        )
    if not batch.open:
        raise NotReadyError(
            f"batch {batch.batch_id} is closed: {batch.answered} of {batch.issued} answered",
            "hand out another one: dalcli query --budget N > to_label.csv",
        )
    return [batch]


def _project(session: Session, server: Server, request: PushRequest, names: Sequence[str]) -> Project:
    wanted = interface(names)
    number = request.project
    if number is None and request.title is None:
        with session.database.read() as connection:
            number = next(iter(label_studio.projects(connection, server.address)), None)
    if number is not None:
        found: Project | None = server.project(number)
    else:
        title = request.title or f"dalcli: {session.workspace.root.name}"[:50]
        found = server.titled(title)
        if found is None:
            _warn_of(session, names)
            made = server.create(title, wanted)
            session.feedback.note(f"made project {made.number}, '{title}'")
            return made
    assert found is not None
    _fit(session, server, found, names, wanted)
    return found


def _fit(session: Session, server: Server, project: Project, names: Sequence[str], wanted: str) -> None:
    """See to it that every class can be chosen in a project, without touching an interface that people made."""
    missing = [name for name in names if name not in (project.choices or ())]
    if not missing:
        return
    if (project.choices is None and "<Choices" not in project.interface) or MADE_HERE in project.interface:
        _warn_of(session, names)
        server.set_interface(project, wanted)
        session.feedback.note(
            f"gave project {project.number} a labeling interface with {counted(len(names), 'class', 'classes')}"
        )
        return
    lacks = (
        f"has no Choices named '{CONTROL}'" if project.choices is None else f"lacks {', '.join(map(repr, missing[:5]))}"
    )
    raise BadInputError(
        f"the labeling interface of project {project.number} ('{project.title}') {lacks}",
        "put what `dalcli label-studio config` prints into its settings, or push to another project: --title TEXT",
    )


def _warn_of(session: Session, names: Sequence[str]) -> None:
    for name in read_as_data(names):
        session.feedback.warn(f"class '{name}': Label Studio takes what begins with $ for task data; rename the class")


class _Batch:
    """One batch on its way."""

    def __init__(self, session: Session, server: Server, project: Project, request: PushRequest, batch: Batch) -> None:
        self._session, self._server, self._project = session, server, project
        self._request, self._batch = request, batch

    def push(self) -> Pushed:
        out = self._outstanding()
        there = self._there()
        missing = {sample: task for sample, task in out.items() if sample not in there}
        if missing:
            self._send(missing)
        else:
            self._session.feedback.note(f"batch {self._batch.batch_id} is up to date: every row has its task")
        return Pushed(self._batch.batch_id, len(out), len(out))

    def _send(self, missing: Mapping[str, Json]) -> None:
        feedback, batch_id = self._session.feedback, self._batch.batch_id
        address = self._addresses(list(missing))
        before, attempt = len(missing), 0
        with feedback.task(f"pushing {batch_id}", before, "tasks") as bar:
            for chunk in _chunks(missing, address):
                left = chunk
                while left:
                    try:
                        self._server.add_tasks(self._project.number, list(left.values()))
                        left = {}
                    except UnsureError as unsure:
                        feedback.note(f"the server was cut off ({unsure}): looking for what it has")
                        attempt += 1
                        self._server.client.wait(attempt)
                        there = self._there()
                        left = {sample: task for sample, task in left.items() if sample not in there}
                bar.advance(len(chunk))
        twice = sum(count > 1 for count in self._there().values())
        if twice:
            feedback.warn(
                f"{counted(twice, 'sample has', 'samples have')} two tasks on the server: delete one of each there"
            )
        feedback.note(
            f"batch {batch_id}: {counted(before, 'task')} pushed to {self._server.page_of(self._project.number)}"
        )

    def _there(self) -> dict[str, int]:
        """Samples of this batch that have tasks on the server, and how many."""
        found: dict[str, int] = {}
        for task in self._server.tasks(self._project.number, self._batch.batch_id):
            data = task.get("data")
            if isinstance(data, dict) and data.get("batch_id") == self._batch.batch_id:
                sample = str(data.get("sample_id"))
                found[sample] = found.get(sample, 0) + 1
        return found

    def _outstanding(self) -> dict[str, Json]:
        """Tasks of rows that are still to be labeled, by sample id, as ``query --format label-studio`` prints them."""
        with self._session.database.read() as connection:
            csv = batches.csv_bytes(connection, self._batch)
            out = {row.sample_id for row in batches.rows(connection, self._batch) if row.state == "out"}
            names, positions = classes.names(connection), classes.positions(connection)
        sheet = Sheet(csv, self._batch.batch_id, self._batch.model or "", names, self._request.image_url)
        tasks: list[Json] = json.loads(LabelStudio().write(sheet))
        found: dict[str, Json] = {}
        for task in tasks:
            data = task["data"]
            assert isinstance(data, dict)
            if data["sample_id"] in out:
                found[data["sample_id"]] = _as_called_today(task, names, positions)
        return found

    def _addresses(self, samples: Sequence[str]) -> Address | None:
        """Where the tasks say their images are; None: as they say already. What was decided is said."""
        way, feedback = self._request.images, self._session.feedback
        if self._request.image_url is not None:
            feedback.note(f"images: at {self._request.image_url}")
            return None
        files = self._files(samples)
        if way != "data":
            address, why = images.local_addresses(self._server, self._project.number, files)
            if address is not None:
                feedback.note(f"images: {why}, which the server reads itself")
                return address
            if way == "local":
                raise BadInputError(
                    f"{self._server.address} cannot read the images: {why}",
                    "docs/labels.md says how to let it, or leave --images out to send them inside the tasks",
                )
            feedback.note(f"images: inside the tasks, as the server cannot read them from disk ({why})")
        else:
            feedback.note("images: inside the tasks")
        warning = images.weight_warning(list(files.values()))
        if warning is not None:
            feedback.warn(warning)
        return lambda sample: images.data_address(files[sample])

    def _files(self, samples: Sequence[str]) -> dict[str, Path]:
        with self._session.database.read() as connection:
            keys = catalog.keys_by_id(connection)
            found = catalog.images_of(connection, [keys[sample] for sample in samples])
        places = find_files(self._session, found)
        gone = [f"{place.path}: {place.problem}" for place in places if place.problem is not None]
        unreadable = len(samples) - len(found)
        if gone or unreadable:
            images_are = counted(len(gone) + unreadable, "image")
            raise BadInputError(
                f"{images_are} of batch {self._batch.batch_id} cannot be shown; nothing was pushed",
                "say where they went with `dalcli pool relocate`, or `dalcli batch release` them",
                gone[:20],
            )
        workspace = self._session.workspace
        return {
            image.sample_id: workspace.absolute_path(place.path) for image, place in zip(found, places, strict=True)
        }


def _as_called_today(task: Json, names: Sequence[str], positions: Mapping[str, int]) -> Json:
    """The task with the model's guess under the name that the class has by now: others are refused."""
    predictions = task.get("predictions")
    for prediction in predictions if isinstance(predictions, list) else []:
        for result in prediction["result"]:
            chosen = result["value"]["choices"]
            result["value"]["choices"] = [names[positions[name]] if name in positions else name for name in chosen]
    return task


def _chunks(tasks: Mapping[str, Json], address: Callable[[str], str] | None) -> Iterator[dict[str, Json]]:
    """Tasks as they are sent together: not too many, and not too heavy."""
    chunk: dict[str, Json] = {}
    size = 0
    for sample, task in tasks.items():
        data = task["data"]
        assert isinstance(data, dict)
        whole: Json = {**task, "data": {**data, "image": data["image"] if address is None else address(sample)}}
        weight = len(str(whole["data"]))
        if chunk and (len(chunk) == MOST_TASKS or size + weight > MOST_BYTES):
            yield chunk
            chunk, size = {}, 0
        chunk[sample] = whole
        size += weight
    if chunk:
        yield chunk
