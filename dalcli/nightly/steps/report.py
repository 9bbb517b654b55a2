"""Write the page for the person who pays, as things stand at the end of the night."""

from __future__ import annotations

from pathlib import Path

from dalcli.commands import report
from dalcli.nightly.step import Done, Need, Night, Step
from dalcli.state.atomic import write_bytes
from dalcli.workspace.outputs import require_replaceable


def _needed(night: Night) -> Need:
    if night.config.report is None:
        return Need(False, "run.report is not set")
    page = _place(night, night.config.report)
    shown = night.session.workspace.stored_path(page)
    if not page.is_file():
        return Need(True, f"{shown} is not there")
    if page.stat().st_mtime < _written(night):
        return Need(True, f"{shown} is older than what it tells of")
    return Need(False, f"{shown} is up to date", later=True)


def _written(night: Night) -> float:
    """When the state was last changed, or the configuration."""
    state = night.session.workspace.database_path
    files = (state, state.with_name(f"{state.name}-wal"), night.session.workspace.config_path)
    return max(file.stat().st_mtime for file in files if file.is_file() and file.stat().st_size)


def _place(night: Night, page: str) -> Path:
    return night.session.workspace.absolute_path(page)


def _run(night: Night) -> Done:
    assert night.config.report is not None
    page = _place(night, night.config.report)
    require_replaceable(page)
    night.session.database.checkpoint()  # what was committed is in the database's file before the page is made
    found = report.run(night.session, report.Options())
    data = report.written(found, "md" if page.suffix.lower() in {".md", ".markdown"} else "html")
    write_bytes(page.resolve(), data)  # a link stays a link
    shown = night.session.workspace.stored_path(page)
    return Done(shown, {"file": shown, "bytes": len(data)})


STEP = Step(
    "report", _needed, _run, after=("inbox", "pull", "train", "score", "evaluate", "plan", "query"), always=True
)
