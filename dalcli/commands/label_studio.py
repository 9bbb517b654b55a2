"""``label-studio``: the labeling interface for the classes; batches to a server, answers back."""

from __future__ import annotations

import os
from pathlib import Path

from dalcli.errors import UsageError
from dalcli.label_studio import pull as pulling
from dalcli.label_studio import push as pushing
from dalcli.label_studio.access import Access, access
from dalcli.label_studio.client import Client
from dalcli.label_studio.interface import class_names, interface, read_as_data
from dalcli.label_studio.request import PullRequest, PullResult, PushRequest, PushResult
from dalcli.label_studio.server import Server
from dalcli.prediction.checking import check_stored
from dalcli.workspace.session import Session

__all__ = ["PullRequest", "PullResult", "PushRequest", "PushResult", "check_push", "config", "door", "pull", "push"]

SHORTEST_TITLE, LONGEST_TITLE = 3, 50


def config(session: Session) -> bytes:
    """The labeling interface for the classes of today."""
    with session.database.read() as connection:
        names = class_names(connection)
    for name in read_as_data(names):
        session.feedback.warn(f"class '{name}': Label Studio takes what begins with $ for task data; rename the class")
    return interface(names).encode()


def check_push(request: PushRequest) -> None:
    """Refuse, before anything is opened, what does not go together.

    Raises:
        UsageError: contradicting options, or a title that the server would refuse.
    """
    if request.project is not None and request.title is not None:
        raise UsageError("--project and --title both name the project", "leave one of them out")
    if request.title is not None and not SHORTEST_TITLE <= len(request.title.strip()) <= LONGEST_TITLE:
        raise UsageError("--title has the wrong length", f"{SHORTEST_TITLE} to {LONGEST_TITLE} characters")
    if request.image_url is not None and request.images != "auto":
        raise UsageError("--image-url and --images both say where images are", "leave one of them out")


def door(credentials: Path | None) -> Access:
    """The server and what opens it: from a file, or else the environment; BadInputError without."""
    return access(credentials, os.environ)


def push(session: Session, request: PushRequest, opened: Access, patience: float = 60.0) -> PushResult:
    """Put what is still to be labeled on the server."""
    check_push(request)
    return pushing.push(session, Server(Client(opened, session.feedback, patience)), request)


def pull(session: Session, request: PullRequest, opened: Access, patience: float = 60.0) -> PullResult:
    """Record what was answered there since the last pull."""
    found = pulling.pull(session, Server(Client(opened, session.feedback, patience)), request)
    check_stored(session)
    return found
