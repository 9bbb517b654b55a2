"""Take in what was answered on a Label Studio server."""

from __future__ import annotations

from dalcli.commands import label_studio
from dalcli.config.words import counted
from dalcli.nightly.step import Done, Need, Night, Step


def _needed(night: Night) -> Need:
    if not night.config.label_studio:
        return Need(False, "run.label_studio is off")
    return Need(True, "the server is asked")


def _run(night: Night) -> Done:
    credentials = night.config.credentials
    opened = label_studio.door(None if credentials is None else night.session.workspace.absolute_path(credentials))
    before = _votes(night)
    pulled = label_studio.pull(night.session, label_studio.PullRequest(), opened)
    new = _votes(night) - before
    details = {"projects": list(pulled.projects), "answers": pulled.annotations, "new_votes": new}
    return Done(f"{counted(new, 'new answer')} of {pulled.annotations} on the server", details, changed=new > 0)


def _votes(night: Night) -> int:
    from dalcli.state import ledger

    with night.session.database.read() as connection:
        return ledger.count_votes(connection)


STEP = Step("pull", _needed, _run)
