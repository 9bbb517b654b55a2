"""Take in what was answered on a Label Studio server."""

from __future__ import annotations

from dalcli.commands import label_studio
from dalcli.config.words import counted
from dalcli.errors import BadInputError
from dalcli.label_studio.access import Access
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
    opened = _door(night)  # told at once, not in the first night that needs it
    if not pushed:
        return Need(False, f"nothing was pushed to {opened.server} yet")
    return Need(True, f"{opened.server} is asked")


def _run(night: Night) -> Done:
    opened = _door(night)
    before = _votes(night)
    pulled = label_studio.pull(night.session, label_studio.PullRequest(), opened, PATIENCE)
    new = _votes(night) - before
    details = {"projects": list(pulled.projects), "answers": pulled.annotations, "new_votes": new}
    return Done(f"{counted(new, 'new answer')} of {pulled.annotations} on the server", details, changed=new > 0)


def _door(night: Night) -> Access:
    """The server and what opens it; BadInputError without."""
    named = night.config.credentials
    if named is not None:
        return label_studio.door(night.session.workspace.absolute_path(named))
    try:
        return label_studio.door(None)
    except BadInputError as error:
        raise BadInputError(
            error.message, "set both variables, or name a file that has them: run.credentials in dalcli.yaml"
        ) from None


def _votes(night: Night) -> int:
    with night.session.database.read() as connection:
        return ledger.count_votes(connection)


STEP = Step("pull", _needed, _run)
