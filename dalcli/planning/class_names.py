"""A class by any name that it has had: configurations and ledgers go on when one is renamed."""

from __future__ import annotations

from collections.abc import Sequence

from dalcli.config.words import suggestion
from dalcli.errors import BadInputError, DalcliError, UsageError

Spellings = Sequence[Sequence[str]]
"""By position, every name that a class has had, that of today first."""


def find(name: str, spellings: Spellings) -> int | None:
    """The position of the class that is or was called ``name``."""
    return next((position for position, names in enumerate(spellings) if name in names), None)


def required(name: str, spellings: Spellings, where: str) -> int:
    """The same; ``where`` it was named, an option (``--metric``) or a key, is for the message.

    Raises:
        UsageError, BadInputError: no class was ever called so, and an option or the configuration named it.
    """
    position = find(name, spellings)
    if position is None:
        names = [each[0] for each in spellings]
        raise refusal(where, f"unknown class '{name}'{suggestion(name, names)}", f"known: {', '.join(names)}")
    return position


def refusal(where: str, problem: str, remedy: str) -> DalcliError:
    """A usage error where an option said so, bad input where the configuration did."""
    kind = UsageError if where.startswith("--") else BadInputError
    return kind(f"{where}: {problem}", remedy)
