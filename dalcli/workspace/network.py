"""The frozen network of a workspace: adopted once, and from then on part of it.

To adopt it means to read its weights, wherever they are, and to keep its tensors in ``.dalcli/networks``: no later
command needs the file or the download, and all of them get the same features. Imports torch only to adopt.
"""

from __future__ import annotations

import json
from pathlib import Path

from dalcli.config.schema import Config
from dalcli.data import network
from dalcli.data.network import NetworkRecord
from dalcli.feedback import Feedback
from dalcli.state import meta
from dalcli.state.database import Connection
from dalcli.state.workspace import Workspace
from dalcli.workspace.session import ModelChoice, Session, model_choice

KEY = "network"
DEFAULT_WEIGHTS = "DEFAULT"


def recorded(connection: Connection, config: Config) -> NetworkRecord | None:
    """The network that the configuration names, if it was adopted: to be frozen, or to be trained as a whole."""
    text = meta.get(connection, KEY)
    if text is None:
        return None
    known = json.loads(text)
    return network.from_json(known["record"]) if known["asked"] == asked(connection, config) else None


def frozen_network(session: Session) -> NetworkRecord | None:
    """The network that the configuration asks for, adopted if it was not; None where all of the model is trained.

    Raises:
        BadInputError: there is no such network, or its weights do not fit.
        DalcliError: the weights cannot be downloaded.
    """
    if session.config.model.train != "head":
        return None
    with session.database.read() as connection:
        known = recorded(connection, session.config)
        choice, wanted = model_choice(connection, session.config), asked(connection, session.config)
    if known is not None:
        return known
    record = adopt(session.workspace, session.workspace.state, session.config, choice, session.feedback)
    with session.database.write() as connection:
        remember(connection, record, wanted)
    return record


def adopt(workspace: Workspace, state: Path, config: Config, choice: ModelChoice, feedback: Feedback) -> NetworkRecord:
    """Read the network, and keep it below ``state``, which becomes the workspace's; :func:`remember` makes it count.

    Raises:
        BadInputError: there is no such network, or its weights do not fit.
        DalcliError: the weights cannot be downloaded.
    """
    from dalcli.models import networks

    size = config.data.image_size
    found = networks.load(
        choice.name,
        config.model.weights or DEFAULT_WEIGHTS,
        workspace.root,
        downloads=state / "downloads",
        image_size=None if size == "auto" else size,
        feedback=feedback,
    )
    networks.store(state / workspace.networks.name, found)
    for note in found.notes:
        feedback.note(note)
    record: NetworkRecord = found.record
    return record


def remember(connection: Connection, record: NetworkRecord, asked: list[object]) -> None:
    """From now on the network that was ``asked`` for is ``record``."""
    meta.put(connection, KEY, json.dumps({"asked": asked, "record": network.to_json(record)}))


def asked(connection: Connection, config: Config) -> list[object]:
    """What decides which network it is, as JSON has it."""
    size = config.data.image_size
    return [model_choice(connection, config).name, config.model.weights, None if size == "auto" else list(size)]
