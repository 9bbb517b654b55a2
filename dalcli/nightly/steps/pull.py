"""Take in what was answered on a Label Studio server."""

from __future__ import annotations

from pathlib import Path

from dalcli.commands import label_studio
from dalcli.config.words import counted
from dalcli.nightly.step import Done, Need, Night, Step
from dalcli.state import label_studio as label_studio_state
from dalcli.state import ledger

PATIENCE = 60.0
"""Seconds for which a silent server is asked again."""


def _needed(night: Night) -> Need:
    if not night.config.label_studio:
        return Need(False, "run.label_studio is off")
    with night.session.database.read() as connection:
        pushed = label_studio_state.any_project(connection)
    opened = label_studio.door(_credentials(night))  # told at once, not in the first night that needs it
    if not pushed:
        return Need(False, f"nothing was pushed to {opened.server} yet")
    return Need(True, f"{opened.server} is asked")


def _run(night: Night) -> Done:
    opened = label_studio.door(_credentials(night))
    before = _votes(night)
    pulled = label_studio.pull(night.session, label_studio.PullRequest(), opened, PATIENCE)
    new = _votes(night) - before
    details = {"projects": list(pulled.projects), "answers": pulled.annotations, "new_votes": new}
    return Done(f"{counted(new, 'new answer')} of {pulled.annotations} on the server", details, changed=new > 0)


def _credentials(night: Night) -> Path | None:
    named = night.config.credentials
    return None if named is None else night.session.workspace.absolute_path(named)


def _votes(night: Night) -> int:
    with night.session.database.read() as connection:
        return ledger.count_votes(connection)


STEP = Step("pull", _needed, _run)
