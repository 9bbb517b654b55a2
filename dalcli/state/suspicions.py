"""Which labels a model contradicts, as `labels suspects` found; each finding holds for the labels of its moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from dalcli.state import classes, ledger
from dalcli.state.database import Connection, now


@dataclass(frozen=True)
class Suspect:
    """A training sample (key), the class it is labeled with, what the model says instead, how probable each is.

    ``probability``: of the label; ``instead``: of the suggestion. ``by``: whose prediction it is, which has not seen
    the label: a model version, or one of the folds of a cross-validation.
    """

    sample: int
    given: int
    suggested: int
    probability: float
    instead: float
    by: str


@dataclass(frozen=True)
class Finding:
    """Suspects, most suspicious first, of ``checked`` labels; ``unchecked`` ones nobody could judge.

    ``made_from``: which predictions, as a text that is the same for the same ones.
    """

    labels_digest: str
    made_from: str
    checked: int
    unchecked: int
    suspects: tuple[Suspect, ...]


def labels_digest(connection: Connection) -> str:
    """A name for the training labels and classes of now."""
    return ledger.digest(ledger.labels(connection, "training"), [str(c) for c in classes.counted_as(connection)])


def store(connection: Connection, finding: Finding) -> None:
    """Keep a finding beside those before it."""
    report = {
        "checked": finding.checked,
        "unchecked": finding.unchecked,
        "suspects": [asdict(suspect) for suspect in finding.suspects],
    }
    connection.execute(
        "INSERT INTO suspicion (model, labels_digest, made_from, report, measured_at)"
        " VALUES ((SELECT max(id) FROM model_version WHERE finished_at IS NOT NULL), ?, ?, ?, ?)",
        (finding.labels_digest, finding.made_from, json.dumps(report), now()),
    )


def newest(connection: Connection) -> Finding | None:
    """The last finding, if any."""
    row = connection.execute("SELECT * FROM suspicion ORDER BY id DESC LIMIT 1").fetchone()
    if row is None:
        return None
    report = json.loads(row["report"])
    suspects: Sequence[Suspect] = [Suspect(**each) for each in report["suspects"]]
    return Finding(row["labels_digest"], row["made_from"], report["checked"], report["unchecked"], tuple(suspects))


def is_current(connection: Connection, finding: Finding) -> bool:
    """Whether labels are what they were then."""
    return finding.labels_digest == labels_digest(connection)


def looked_at(connection: Connection) -> set[int]:
    """Samples that were suspect once and that people have answered again since."""
    rows = connection.execute(
        "SELECT DISTINCT p.sample FROM batch_progress AS p"
        " JOIN batch_row AS r ON r.batch = p.batch AND r.rank = p.rank JOIN batch AS b ON b.id = p.batch"
        " WHERE b.relabel AND r.strategy = 'suspects' AND p.answered"
    )
    return {row["sample"] for row in rows}
