"""Keep a checked copy of the database and the configuration."""

from __future__ import annotations

from pathlib import Path

from dalcli.config.words import counted
from dalcli.nightly import backups
from dalcli.nightly.step import Done, Need, Night, Step


def _needed(night: Night) -> Need:
    if not night.config.keep_backups:
        return Need(False, "run.keep_backups is 0")
    if backups.is_current(night.session, _place(night)):
        return Need(False, "nothing was written since the newest one", later=True)
    return Need(True, "the newest one is older than the database" if backups.listing(_place(night)) else "the first")


def _run(night: Night) -> Done:
    found = backups.back_up(night.session, _place(night), night.config.keep_backups)
    shown = night.session.workspace.stored_path(found.folder)
    details = {"folder": shown, "made": found.made, "kept": found.kept, "removed": found.removed}
    kept = f"{counted(found.kept, 'backup')} kept"
    said = f"{shown}; {kept}" if found.made else f"{shown} says the same; {kept}"
    return Done(said, details, changed=False)  # of the loop: nobody need hear of a copy


def _place(night: Night) -> Path:
    return night.session.workspace.absolute_path(night.config.backup)


STEP = Step("backup", _needed, _run, after=("inbox", "train", "score", "evaluate", "plan", "query"), always=True)
