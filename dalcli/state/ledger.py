"""The label ledger: append-only votes, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dalcli.config.hashing import short_hash
from dalcli.state.catalog import Purpose
from dalcli.state.database import Connection, now

OnConflict = Literal["refuse", "replace", "keep"]


@dataclass(frozen=True)
class Vote:
    """One answer about one sample; ``label`` None means that it could not be labeled (skipped)."""

    sample: int
    label: int | None
    annotator: str
    file: str
    line: int
    labeled_at: str | None = None
    seconds: float | None = None
    cost: float | None = None


@dataclass(frozen=True)
class Conflict:
    """A vote that differs from what the same annotator said before (in the file or line named)."""

    vote: Vote
    before: int
    before_file: str
    before_line: int


@dataclass
class Recording:
    """What became of a list of votes."""

    recorded: int = 0
    skipped: int = 0
    unchanged: int = 0
    replaced: int = 0
    kept: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


def record(
    connection: Connection, votes: Iterable[Vote], on_conflict: OnConflict = "refuse", *, again: bool = False
) -> Recording:
    """Append votes in order. The same vote again is a no-op, unless annotators were asked ``again``: they confirm it.

    A different label by the same annotator is a conflict: refused (listed in ``conflicts``; the caller rolls
    back), replaced by a newer vote, or ignored. A label after a skip is an answer at last, not a conflict, and that
    skip, when its file is read again, is history.
    """
    result = Recording()
    for vote in votes:
        before = connection.execute(
            "SELECT class, file, line FROM standing_vote WHERE sample = ? AND annotator = ? ORDER BY id DESC LIMIT 1",
            (vote.sample, vote.annotator),
        ).fetchone()
        if before is not None and before["class"] == vote.label and not again:
            result.unchanged += 1
        elif before is None or before["class"] is None or on_conflict == "replace":
            result.replaced += before is not None and before["class"] is not None
            result.recorded += vote.label is not None
            result.skipped += vote.label is None
            _append(connection, vote)
        elif on_conflict == "keep":
            result.kept += 1
        elif vote.label is None and _was_skipped(connection, vote):
            result.unchanged += 1
        else:
            result.conflicts.append(Conflict(vote, before["class"], before["file"], before["line"]))
    return result


def _was_skipped(connection: Connection, vote: Vote) -> bool:
    return (
        connection.execute(
            "SELECT 1 FROM vote WHERE sample = ? AND annotator = ? AND class IS NULL LIMIT 1",
            (vote.sample, vote.annotator),
        ).fetchone()
        is not None
    )


def was_said_before(connection: Connection, vote: Vote) -> bool:
    """Whether the ledger has this very vote from this file: a newer vote may have replaced it since."""
    return (
        connection.execute(
            "SELECT 1 FROM vote WHERE sample = ? AND annotator = ? AND class IS ? AND file = ? LIMIT 1",
            (vote.sample, vote.annotator, vote.label, vote.file),
        ).fetchone()
        is not None
    )


def _append(connection: Connection, vote: Vote) -> None:
    connection.execute(
        "INSERT INTO vote (sample, class, annotator, labeled_at, seconds, cost, file, line, recorded_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            vote.sample,
            vote.label,
            vote.annotator,
            vote.labeled_at,
            vote.seconds,
            vote.cost,
            vote.file,
            vote.line,
            now(),
        ),
    )


def labels(connection: Connection, purpose: Purpose) -> dict[int, int]:
    """Effective labels of the readable samples of one purpose: sample key → class position."""
    rows = connection.execute(
        "SELECT a.sample, a.class FROM answer AS a JOIN sample AS s ON s.id = a.sample"
        " WHERE a.state = 'labeled' AND s.purpose = ? AND s.quarantine IS NULL ORDER BY s.sample_id",
        (purpose,),
    )
    return {row["sample"]: row["class"] for row in rows}


def class_counts(connection: Connection, purpose: Purpose) -> Counter[int]:
    """Effective labels of one purpose, counted by class."""
    return Counter(labels(connection, purpose).values())


def digest(sample_labels: Mapping[int, int], classes: Sequence[str]) -> str:
    """A name for exactly this set of labels and classes."""
    text = repr((sorted(sample_labels.items()), tuple(classes)))
    return short_hash(text)
