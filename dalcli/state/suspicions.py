"""Which labels a model contradicts, as `labels suspects` found; each finding holds for the labels of its moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from dalcli.state import classes, ledger
from dalcli.state.database import Connection, now
from dalcli.state.versions import ModelVersion


@dataclass(frozen=True)
class Suspect:
    """A training sample (its key), the class it is labeled with, what the model says instead, and how probable each is.

    ``probability``: of the label; ``instead``: of the suggestion. ``by``: the version that has not seen the label.
    """

    sample: int
    given: int
    suggested: int
    probability: float
    instead: float
    by: str


@dataclass(frozen=True)
class Finding:
    """Suspects, most suspicious first, of ``checked`` labels; ``unchecked`` ones nobody could judge."""

    labels_digest: str
    how: str
    checked: int
    unchecked: int
    suspects: tuple[Suspect, ...]


def labels_digest(connection: Connection) -> str:
    """A name for the training labels and classes of now."""
    return ledger.digest(ledger.labels(connection, "training"), [str(c) for c in classes.counted_as(connection)])


def store(connection: Connection, model: ModelVersion, finding: Finding) -> None:
    """Keep a finding; it replaces none."""
    report = {
        "how": finding.how,
        "checked": finding.checked,
        "unchecked": finding.unchecked,
        "suspects": [asdict(suspect) for suspect in finding.suspects],
    }
    connection.execute(
        "INSERT INTO suspicion (model, labels_digest, report, measured_at) VALUES (?, ?, ?, ?)",
        (model.key, finding.labels_digest, json.dumps(report), now()),
    )


def newest(connection: Connection) -> Finding | None:
    """The last finding, if any."""
    row = connection.execute("SELECT labels_digest, report FROM suspicion ORDER BY id DESC LIMIT 1").fetchone()
    if row is None:
        return None
    report = json.loads(row["report"])
    suspects: Sequence[Suspect] = [Suspect(**each) for each in report["suspects"]]
    return Finding(row["labels_digest"], report["how"], report["checked"], report["unchecked"], tuple(suspects))


def is_current(connection: Connection, finding: Finding) -> bool:
    """Whether labels are what they were then."""
    return finding.labels_digest == labels_digest(connection)
