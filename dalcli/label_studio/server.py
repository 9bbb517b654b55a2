"""What is asked of Label Studio's API, as observed on version 1.23: projects, tasks, storages, images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dalcli.errors import BadInputError
from dalcli.formats.label_studio import CONTROL, LOCAL_FILES
from dalcli.label_studio.client import Client, Json, RefusedError, UnsureError, a_number, an_object, objects

PAGE = 100


@dataclass(frozen=True)
class Project:
    """A project there; ``choices`` are those of our control, None without it."""

    number: int
    title: str
    interface: str
    choices: frozenset[str] | None


@dataclass(frozen=True)
class Server:
    """One server, as the commands see it."""

    client: Client

    @property
    def address(self) -> str:
        return self.client.access.server

    def page_of(self, project: int) -> str:
        """Where people find a project."""
        return f"{self.address}/projects/{project}"

    def project(self, number: int) -> Project:
        """The project of this number; BadInputError if there is none."""
        try:
            return _project(an_object(self.client.get(f"/api/projects/{number}/")))
        except RefusedError as error:
            if error.status != 404:
                raise
            raise BadInputError(
                f"{self.address} has no project {number}", "name another one: --project ID, or --title TEXT"
            ) from None

    def titled(self, title: str) -> Project | None:
        """The oldest project of exactly this title."""
        found: list[Json] = []
        page = 1
        while True:
            answer = an_object(self.client.get("/api/projects/", title=title, page=page, page_size=PAGE))
            found += objects(answer.get("results"))
            if not answer.get("next"):
                break
            page += 1
        same = [a_number(item.get("id")) for item in found if item.get("title") == title]
        return self.project(min(same)) if same else None

    def create(self, title: str, interface: str) -> Project:
        """A new project; one that a lost answer hides is found by its title."""
        attempt = 0
        while True:
            try:
                made = self.client.change("POST", "/api/projects/", {"title": title, "label_config": interface})
                return _project(an_object(made))
            except UnsureError:
                found = self.titled(title)
                if found is not None:
                    return found
                attempt += 1
                self.client.wait(attempt)

    def set_interface(self, project: Project, interface: str) -> None:
        """Change what a project shows; the same change twice is harmless."""
        self._again("PATCH", f"/api/projects/{project.number}/", {"label_config": interface}, lambda: False)

    def tasks(self, project: int, batch_id: str | None = None, *, answers: bool = False) -> Iterator[Json]:
        """Tasks of a project, or those of one batch, page by page; with ``answers``, their annotations, too."""
        query: dict[str, object] = {"project": project, "page_size": PAGE}
        if answers:
            query["fields"] = "all"
        if batch_id is not None:
            wanted = {"filter": "filter:tasks:data.batch_id", "operator": "equal", "type": "String", "value": batch_id}
            query["query"] = json.dumps({"filters": {"conjunction": "and", "items": [wanted]}})
        seen = 0
        page = 1
        while True:
            answer = an_object(self.client.get("/api/tasks", **query, page=page))
            found = objects(answer.get("tasks"))
            yield from found
            seen += len(found)
            if not found or seen >= a_number(answer.get("total")):
                return
            page += 1

    def add_tasks(self, project: int, tasks: Sequence[Json]) -> None:
        """Import tasks; UnsureError if nothing says whether they were."""
        self.client.change("POST", f"/api/projects/{project}/import", list(tasks))

    def storages(self, project: int) -> list[str]:
        """Folders on the server's machine that it serves to a project."""
        found = self.client.get("/api/storages/localfiles/", project=project)
        return [path for item in objects(found) if isinstance(path := item.get("path"), str)]

    def add_storage(self, project: int, folder: Path) -> str | None:
        """Let the server serve a folder to a project; why it does not, if so."""
        document: Json = {"project": project, "path": str(folder), "title": f"dalcli: {folder.name}"}
        try:
            self._again("POST", "/api/storages/localfiles/", document, lambda: str(folder) in self.storages(project))
        except RefusedError as error:
            return error.said
        return None

    def local_file(self, path: str) -> bytes | None:
        """The bytes that browsers get for a path below the server's document root; None if it has none for it."""
        try:
            return self.client.fetch(LOCAL_FILES.split("?")[0], d=path)
        except (RefusedError, BadInputError):  # 404, or 403 where local files are not served
            return None

    def _again(self, method: str, path: str, document: Json, done: Callable[[], bool]) -> None:
        """Send a change until it is known to be made."""
        attempt = 0
        while True:
            try:
                self.client.change(method, path, document)
                return
            except UnsureError:
                if done():
                    return
                attempt += 1
                self.client.wait(attempt)


def _project(found: Json) -> Project:
    controls = found.get("parsed_label_config")
    control = controls.get(CONTROL) if isinstance(controls, dict) else None
    choices = control.get("labels") if isinstance(control, dict) and control.get("type") == "Choices" else None
    return Project(
        number=a_number(found.get("id")),
        title=str(found.get("title")),
        interface=str(found.get("label_config") or ""),
        choices=frozenset(map(str, choices)) if isinstance(choices, list) else None,
    )
