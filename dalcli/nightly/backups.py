"""Backups of what cannot be computed again: the database and the configuration, with a list of the model files.

A backup is a folder: ``state.db`` (checked), ``dalcli.yaml``, ``models.json`` (every file of every version with its
size and SHA-256) and ``backup.json``. It is there, complete, or not at all. Models, scores and caches are not copied:
they come out of the labels again, at the price of computing.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dalcli
from dalcli.state import atomic
from dalcli.state.backup import copy_database
from dalcli.state.workspace import CONFIG_NAME
from dalcli.workspace.session import Session

ABOUT, MODELS, DATABASE = "backup.json", "models.json", "state.db"
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z(-\d+)?")


@dataclass(frozen=True)
class Backup:
    """What was kept: the newest backup, whether it was made now, and how many there are."""

    folder: Path
    made: bool
    kept: int
    removed: int


def listing(place: Path) -> list[Path]:
    """Complete backups, oldest first."""
    found = place.iterdir() if place.is_dir() else ()
    return sorted(path for path in found if _NAME.fullmatch(path.name) and (path / ABOUT).is_file())


def is_current(session: Session, place: Path) -> bool:
    """Whether nothing was written since the newest backup: a look at times and sizes, which never says yes wrongly
    while the same program writes."""
    kept = listing(place)
    return bool(kept) and _about(kept[-1]).get("stamp") == _stamp(session)


def back_up(session: Session, place: Path, keep: int) -> Backup:
    """Make a backup unless the newest one says the same, and remove all but the newest ``keep``.

    Raises:
        DalcliError: the copy of the database is not sound.
        OSError: the place cannot be written to.
    """
    place.mkdir(parents=True, exist_ok=True)
    _sweep(place)
    session.database.checkpoint()  # so that nothing is left to be written when this program ends
    kept = listing(place)
    before = kept[-1] if kept else None
    target = _free(place)
    made = True
    stamp = _stamp(session)
    with atomic.new_folder(target) as folder:
        copy_database(session.database, folder / DATABASE)
        shutil.copy2(session.workspace.config_path, folder / CONFIG_NAME)
        models = _models(session, _listed(before))
        (folder / MODELS).write_text(json.dumps(models, indent=1), encoding="utf-8")
        content = {name: _sha256(folder / name) for name in (DATABASE, CONFIG_NAME, MODELS)}
        about = {
            "dalcli": dalcli.__version__,
            "workspace": str(session.workspace.root),
            "made_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sha256": content,
            "stamp": stamp,
        }
        (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        if before is not None and _about(before).get("sha256") == content:
            made = False
    if not made:
        assert before is not None
        shutil.rmtree(target)
        _restamp(before, stamp)
    removed = _rotate(place, keep)
    return Backup(target if made or before is None else before, made, len(listing(place)), removed)


def _sweep(place: Path) -> None:
    """Remove what a killed run left: a folder that was being filled, or one that was being removed."""
    for path in place.iterdir():
        name = path.name.removesuffix(".partial")
        if _NAME.fullmatch(name) and path.is_dir() and (name != path.name or not (path / ABOUT).is_file()):
            shutil.rmtree(path)


def _rotate(place: Path, keep: int) -> int:
    old = listing(place)[:-keep]
    for path in old:
        (path / ABOUT).unlink()  # without it, what a killed removal leaves is no backup
        shutil.rmtree(path)
    return len(old)


def _restamp(backup: Path, stamp: list[int]) -> None:
    about = json.dumps(_about(backup) | {"stamp": stamp}, indent=1)
    atomic.write_bytes(backup / ABOUT, about.encode())


def _stamp(session: Session) -> list[int]:
    """Sizes and times of what a backup copies."""
    numbers = []
    state = session.workspace.database_path
    for path in (state, state.with_name(f"{state.name}-wal"), session.workspace.config_path):
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        numbers += [status.st_size, status.st_mtime_ns] if status.st_size else []
    return numbers


def _models(session: Session, known: Mapping[str, Any]) -> dict[str, Any]:
    """Every file of every version, by its path in the workspace; one that has not changed is not read again."""
    found = {}
    for path in sorted((session.workspace.state / "models").glob("*/*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        name, status = path.relative_to(session.workspace.root).as_posix(), path.stat()
        before = known.get(name, {})
        same = (before.get("size"), before.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)
        digest = before["sha256"] if same else _sha256(path)
        found[name] = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest}
    return found


def _listed(backup: Path | None) -> dict[str, Any]:
    return {} if backup is None else _read(backup / MODELS)


def _about(backup: Path) -> dict[str, Any]:
    return _read(backup / ABOUT)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _free(place: Path) -> Path:
    """Its name is its time; two in one second are told apart."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%SZ")
    number, target = 1, place / name
    while target.exists():
        number += 1
        target = place / f"{name}-{number}"
    return target


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
