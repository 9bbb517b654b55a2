"""The label ledger: append-only votes, and what they say together."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dalcli.config.hashing import short_hash
from dalcli.errors import BadInputError
from dalcli.state import auto_labels, consensus
from dalcli.state.catalog import Purpose
from dalcli.state.database import Connection, Row, now

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
    batch: str = ""
    """The batch that it answers, where the file says so."""


@dataclass(frozen=True)
class Conflict:
    """A vote that differs from what the same annotator said before (in the file or line named)."""

    vote: Vote
    before: int
    before_file: str
    before_line: int


@dataclass
class Recording:
    """What became of a list of votes; ``nameless``: answers to another look by nobody who had been named."""

    recorded: int = 0
    skipped: int = 0
    unchanged: int = 0
    confirmed: int = 0
    nameless: int = 0
    replaced: int = 0
    kept: int = 0
    conflicts: list[Conflict] = field(default_factory=list)


def record(
    connection: Connection, votes: Iterable[Vote], on_conflict: OnConflict = "refuse", *, again: bool = False
) -> Recording:
    """Append votes in order. The same vote again is a no-op, unless annotators were asked ``again``: they confirm it.

    A different label by the same annotator is a conflict: refused (listed in ``conflicts``; the caller rolls
    back), replaced by a newer vote, or ignored. A label after a skip is an answer at last, not a conflict, and that
    skip, when its file is read again, is history. Who was asked again (``query --relabel``) may confirm or correct: the
    first answer to such a batch is a vote of its own.
    """
    votes = list(votes)
    _refuse_models(votes)
    result, asked = Recording(), _AskedAgain(connection, votes)
    touched: set[int] = set()
    for vote in votes:
        before = connection.execute(
            "SELECT v.id, n.counts_as AS class, v.file, v.line, v.labeled_at"
            " FROM standing_vote AS v LEFT JOIN class_now AS n ON n.position = v.class"
            " WHERE v.sample = ? AND v.annotator = ? ORDER BY v.id DESC LIMIT 1",
            (vote.sample, vote.annotator),
        ).fetchone()
        touched.add(vote.sample)
        result.nameless += before is None and not vote.annotator and asked.about(vote.sample)
        if before is not None and asked.answers(vote, before):
            result.confirmed += before["class"] == vote.label
            result.replaced += before["class"] is not None and before["class"] != vote.label
            result.recorded += vote.label is not None and before["class"] != vote.label
            result.skipped += vote.label is None and before["class"] is not None
            _append(connection, vote)
        elif before is not None and before["class"] == vote.label and not again:
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
    consensus.settle(connection, touched)
    return result


def _refuse_models(votes: Iterable[Vote]) -> None:
    """Raises BadInputError for a name that only a model may have: what it says is never a vote."""
    for vote in votes:
        if auto_labels.is_model(vote.annotator):
            raise BadInputError(
                f"annotator '{vote.annotator}': names that begin with '{auto_labels.PREFIX}' are those of models",
                "give whoever labels another name",
            )


class _AskedAgain:
    """Which of ``votes`` answer a batch of samples that had been labeled before."""

    def __init__(self, connection: Connection, votes: Sequence[Vote]) -> None:
        rows = connection.execute(
            "SELECT r.sample, b.batch_id, b.after_vote FROM batch AS b JOIN batch_row AS r ON r.batch = b.id"
            " WHERE b.relabel AND r.sample IN (SELECT value FROM json_each(?)) ORDER BY b.id",
            (json.dumps([vote.sample for vote in votes]),),
        )
        self._issued: defaultdict[int, dict[str, int]] = defaultdict(dict)
        for row in rows:
            self._issued[row["sample"]][row["batch_id"]] = row["after_vote"]

    def about(self, sample: int) -> bool:
        """Whether the sample was handed out for another look."""
        return sample in self._issued

    def answers(self, vote: Vote, before: Row) -> bool:
        """Whether ``vote`` is the annotator's first answer to such a batch; ``before`` is the last one they gave.

        A file that names no batch may be an old one, read again: what contradicts is then a conflict as ever, and what
        repeats is an answer only if it differs in its file or its time.
        """
        issued = self._issued.get(vote.sample)
        if not issued:
            return False
        if vote.batch:
            return vote.batch in issued and before["id"] <= issued[vote.batch]
        fresh = (vote.file, vote.labeled_at) != (before["file"], before["labeled_at"])
        return before["id"] <= max(issued.values()) and before["class"] == vote.label and fresh


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
            "SELECT 1 FROM vote AS v LEFT JOIN class_now AS n ON n.position = v.class"
            " WHERE v.sample = ? AND v.annotator = ? AND n.counts_as IS ? AND v.file = ? LIMIT 1",
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


def count_votes(connection: Connection) -> int:
    """All votes ever recorded, those that newer ones replaced included."""
    return int(connection.execute("SELECT count(*) FROM vote").fetchone()[0])


def class_counts(connection: Connection, purpose: Purpose) -> Counter[int]:
    """Effective labels of one purpose, counted by class."""
    return Counter(labels(connection, purpose).values())


def digest(sample_labels: Mapping[int, int], classes: Sequence[str]) -> str:
    """A name for exactly this set of labels and classes."""
    text = repr((sorted(sample_labels.items()), tuple(classes)))
    return short_hash(text)
