"""Take in the label files that wait in the inbox; a refused one stops nothing."""

from __future__ import annotations

from pathlib import Path

from dalcli.commands import ingest_labels
from dalcli.config.words import counted
from dalcli.errors import BadInputError
from dalcli.nightly import inbox
from dalcli.nightly.step import Done, Need, Night, Step


def _needed(night: Night) -> Need:
    files = inbox.waiting(night.options.inbox)
    if not files:
        if not night.options.inbox.is_dir():
            return Need(False, f"no folder {_shown(night, night.options.inbox)}")
        folders = inbox.folders(night.options.inbox)
        if folders:
            return Need(
                False, f"no file; folders are taken in by hand: dalcli ingest-labels {_shown(night, folders[0])}"
            )
        return Need(False, "the inbox is empty")
    return Need(True, f"{counted(len(files), 'file')} in the inbox: {_names(files)}")


def _run(night: Night) -> Done:
    files = inbox.waiting(night.options.inbox)
    calm = inbox.settled(files, night.config.settle)
    taken, refused, labels = list[str](), list[str](), 0
    for path in files:
        if path not in calm:
            night.session.feedback.note(f"{_shown(night, path)} is still being written: the next run takes it")
            continue
        try:
            labels += _ingest(night, path)
        except BadInputError as error:
            if inbox.stamp_of(path) != calm[path]:  # somebody has just taken it, or is still writing it
                continue
            refused.append(_refuse(night, path, error))
            continue
        if inbox.stamp_of(path) == calm[path]:
            inbox.put_away(path, inbox.DONE)
        elif path.exists():
            night.session.feedback.warn(f"{_shown(night, path)} changed while it was read: the next run takes it again")
        taken.append(path.name)
    left = len(files) - len(taken) - len(refused)
    parts = [f"{counted(len(taken), 'file')} taken in, {counted(labels, 'label')}"]
    parts += [f"{len(refused)} refused"] if refused else []
    parts += [f"{left} still being written"] if left else []
    details = {"files": taken, "labels": labels, "refused": refused, "left": left}
    return Done("; ".join(parts), details, changed=bool(taken or refused), refused=tuple(refused))


def _ingest(night: Night, path: Path) -> int:
    options = ingest_labels.Options(on_conflict=night.config.on_conflict)
    return ingest_labels.run(night.session, path, options).labels


def _refuse(night: Night, path: Path, error: BadInputError) -> str:
    target = inbox.refuse(path, error)
    why = _shown(night, target.with_name(target.name + inbox.WHY))
    night.session.feedback.warn(f"{_shown(night, path)} was refused: {error.message}; see {why}")
    return _shown(night, target)


def _shown(night: Night, path: Path) -> str:
    return night.session.workspace.stored_path(path)


def _names(files: list[Path]) -> str:
    names = [path.name for path in files[:3]]
    return ", ".join(names) + (", ..." if len(files) > 3 else "")


STEP = Step("inbox", _needed, _run)
