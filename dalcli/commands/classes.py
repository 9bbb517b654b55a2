"""``classes``: the class list, and what may happen to it: a new name, or two classes that become one."""

from __future__ import annotations

from dalcli.labels import class_list
from dalcli.labels.class_list import ClassList
from dalcli.state import versions
from dalcli.workspace.session import Session


def listing(session: Session) -> ClassList:
    """All classes."""
    with session.database.read() as connection:
        return class_list.listing(connection)


def rename(session: Session, old: str, new: str) -> ClassList:
    """Give a class another name.

    Raises:
        BadInputError: no such class, or the name means another one; nothing was changed.
    """
    with session.database.write() as connection:
        changed = class_list.rename(connection, old, new)
        result = class_list.listing(connection)
    if changed:
        session.feedback.note(f"'{old}' is called '{new}' from now on; labels that say '{old}' are read as before")
    else:
        session.feedback.note(f"up to date: it is called '{new}'")
    return result


def merge(session: Session, part: str, whole: str) -> ClassList:
    """Let one class count as another.

    Raises:
        BadInputError: no such class, or only one would be left; nothing was changed.
    """
    with session.database.write() as connection:
        changed = class_list.merge(connection, part, whole)
        result = class_list.listing(connection)
        model = versions.newest(connection)
        newer = 0 if model is None else versions.newer_labels(connection, model)
    if not changed:
        session.feedback.note(f"up to date: '{part}' counts as '{whole}'")
    else:
        session.feedback.note(f"'{part}' counts as '{whole}' from now on, in labels, predictions and evaluations")
    if changed and newer and model is not None:
        session.feedback.note(f"{model.version} was trained to tell them apart: run `dalcli train`")
    return result
