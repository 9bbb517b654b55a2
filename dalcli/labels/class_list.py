"""Classes renamed and merged: events in the ledger, after which nothing that was there has become wrong.

Votes keep the class that they named, versions their outputs, batches the bytes that were printed. What is asked from
then on is answered as if the class had always been called so, or had always been a part of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dalcli.config.class_names import problem_with_classes
from dalcli.config.words import suggestion
from dalcli.errors import BadInputError
from dalcli.state import classes, consensus, ledger
from dalcli.state.classes import ClassEvent
from dalcli.state.database import Connection


@dataclass(frozen=True)
class ClassEntry:
    """One class: ``position`` is the model's output, ``part_of`` what it was merged into, ``labels`` those of today.

    ``earlier_names`` mean it still, wherever a label file says them.
    """

    position: int
    name: str
    earlier_names: tuple[str, ...]
    part_of: str | None
    labels: int


@dataclass(frozen=True)
class ClassList:
    """All classes by position, merged ones included, and what happened to them."""

    classes: tuple[ClassEntry, ...]
    events: tuple[ClassEvent, ...]


def listing(connection: Connection) -> ClassList:
    """The class list of today."""
    names, counted_as = classes.names(connection), classes.counted_as(connection)
    labels = ledger.class_counts(connection, "training") + ledger.class_counts(connection, "evaluation")
    entries = [
        ClassEntry(
            position=position,
            name=name,
            earlier_names=spellings[1:],
            part_of=None if target == position else names[target],
            labels=labels[position],
        )
        for position, (name, target, spellings) in enumerate(
            zip(names, counted_as, classes.spellings(connection), strict=True)
        )
    ]
    return ClassList(tuple(entries), tuple(classes.events(connection)))


def rename(connection: Connection, old: str, new: str) -> bool:
    """Call the class ``old`` ``new``; False if it is called so already, by a rename of ``old``.

    Raises:
        BadInputError: no such class, or the new name cannot be one, or means another class.
    """
    names = classes.names(connection)
    position = _meant(connection, old)
    if names[position] == new and old in classes.spellings(connection)[position]:
        return False
    if names[position] != old:
        raise BadInputError(
            f"'{old}' is called '{names[position]}' by now", f"dalcli classes rename {names[position]} {new}"
        )
    _not_merged(connection, position)
    problem = problem_with_classes([new])
    if problem is not None:
        raise BadInputError(problem, "a name has no spaces around it and is valid text")
    for other, spellings in enumerate(classes.spellings(connection)):
        if other != position and new in spellings:
            now = (
                "a class" if names[other] == new else f"an earlier name of '{names[other]}', which labels may still use"
            )
            raise BadInputError(f"'{new}' is {now}", f"choose another name, or: dalcli classes merge '{old}' '{new}'")
    classes.rename(connection, position, new)
    return True


def merge(connection: Connection, part: str, whole: str) -> bool:
    """From now on ``part`` counts as ``whole``; False if it does already.

    Raises:
        BadInputError: no such class, both are the same one, or only one class would be left.
    """
    position, into = _meant(connection, part), _meant(connection, whole)
    counted_as = classes.counted_as(connection)
    if position == into:
        raise BadInputError(f"'{part}' and '{whole}' are the same class", "name two classes")
    if counted_as[position] == counted_as[into]:
        return False
    _not_merged(connection, position)
    _not_merged(connection, into)
    if len(set(counted_as)) == 2:
        raise BadInputError("only one class would be left", "a classifier needs at least two")
    classes.merge(connection, position, into)
    consensus.settle(connection)
    return True


def _meant(connection: Connection, name: str) -> int:
    """The position of the class that ``name`` means, today or earlier; a merged one itself."""
    found = _position(classes.names(connection), name)
    if found is None:
        found = next((p for p, known in enumerate(classes.spellings(connection)) if name in known), None)
    if found is None:
        known = classes.names(connection)
        raise BadInputError(f"no class '{name}'{suggestion(name, known)}", "`dalcli classes list` shows all of them")
    return found


def _position(names: Sequence[str], name: str) -> int | None:
    return names.index(name) if name in names else None


def _not_merged(connection: Connection, position: int) -> None:
    names, target = classes.names(connection), classes.counted_as(connection)[position]
    if target != position:
        raise BadInputError(
            f"'{names[position]}' has been merged into '{names[target]}'", f"use '{names[target]}' instead"
        )
