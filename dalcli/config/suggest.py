"""Guess what a misspelled name was meant to be, for "did you mean" in error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest to ``word`` regardless of case, or None if nothing is close.

    ``word`` itself is never suggested. Ties go to the candidate that comes first.
    """
    spellings: dict[str, str] = {}
    for candidate in candidates:
        if candidate != word:
            spellings.setdefault(candidate.casefold(), candidate)
    matches = get_close_matches(word.casefold(), spellings, n=1, cutoff=0.6)
    return spellings[matches[0]] if matches else None


def suggestion(word: str, candidates: Iterable[str]) -> str:
    """``": did you mean 'cat'?"`` to append to a message, or an empty text if nothing is close."""
    guess = did_you_mean(word, candidates)
    return "" if guess is None else f": did you mean {guess!r}?"
