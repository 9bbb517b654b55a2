"""What was run with what: programs, seeds, and names for everything that results depend on."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version

from dalcli import __version__
from dalcli.report.contents import Made
from dalcli.state import changes, classes, ledger, versions
from dalcli.state.database import Connection
from dalcli.workspace.network import recorded
from dalcli.workspace.session import Session

PACKAGES = ("torch", "torchvision", "numpy", "pillow", "safetensors", "timm")


def made(session: Session, connection: Connection) -> Made:
    """As it is now; nothing heavy is imported to find out."""
    meanings = classes.meanings(connection)
    network = recorded(connection, session.config)
    return Made(
        programs={"dalcli": __version__, "python": platform.python_version()} | _installed(),
        seed=session.config.seed,
        config=hashlib.sha256(session.workspace.config_path.read_bytes()).hexdigest(),
        schema=changes.schema(connection),
        labels=ledger.digest(ledger.labels(connection, "training"), meanings),
        evaluation_labels=ledger.digest(ledger.labels(connection, "evaluation"), meanings),
        network=None if network is None else network.fingerprint,
        versions=tuple(versions.history(connection)),
    )


def _installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
