"""Disputes and what settles them: the table ``consensus``, derived from the votes by the rule that is in force.

Whoever changes votes, classes or the rule calls :func:`settle` in the same transaction; ``ledger.record`` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from dalcli.crowd.consensus import RULES, Opinion, Rule, Said, opinions
from dalcli.state import meta
from dalcli.state.database import Connection

_KEY = "consensus"


@dataclass(frozen=True)
class InForce:
    """The rule, and the least probability that settles a dispute under ``dawid-skene``."""

    rule: Rule
    certainty: float


UNANIMOUS = InForce("unanimous", 1.0)


def in_force(connection: Connection) -> InForce:
    """What the stored consensus was made with."""
    text = meta.get(connection, _KEY)
    if text is None:
        return UNANIMOUS
    found = json.loads(text)
    return InForce(next(rule for rule in RULES if rule == found["rule"]), float(found["certainty"]))


def adopt(connection: Connection, wanted: InForce) -> None:
    """From now on ``wanted`` is in force; every dispute is looked at again."""
    meta.put(connection, _KEY, json.dumps({"rule": wanted.rule, "certainty": wanted.certainty}))
    settle(connection)


def settle(connection: Connection, samples: Iterable[int] | None = None) -> None:
    """Bring the consensus on ``samples`` (None: all) up to date with their votes.

    How annotators err shows in all the samples that they share: one more vote there can settle a dispute elsewhere.
    """
    force = in_force(connection)
    touched = None if samples is None else sorted(set(samples))
    if touched is not None and force.rule == "dawid-skene":
        if not _shared(connection, touched):
            return
        touched = None
    if touched is None:
        connection.execute("DELETE FROM consensus")
    else:
        connection.executemany("DELETE FROM consensus WHERE sample = ?", [(sample,) for sample in touched])
    _store(connection, opinions(force.rule, force.certainty, _said(connection, touched)))


def _store(connection: Connection, found: Iterable[Opinion]) -> None:
    connection.executemany(
        "INSERT INTO consensus (sample, class, leading, confidence) VALUES (?, ?, ?, ?)",
        [(each.sample, each.leading if each.settled else None, each.leading, each.confidence) for each in found],
    )


_LABELED_TWICE = """
    SELECT sample FROM vote WHERE class IS NOT NULL GROUP BY sample HAVING min(annotator) < max(annotator)
"""


def _said(connection: Connection, samples: list[int] | None) -> Iterable[Said]:
    """Latest labels of the samples that more than one annotator has labeled."""
    chosen = f"({_LABELED_TWICE})"
    values: tuple[str, ...] = ()
    if samples is not None:
        chosen, values = "(SELECT value FROM json_each(?))", (json.dumps(samples),)
    rows = connection.execute(
        f"SELECT sample, annotator, class FROM counted_vote WHERE class IS NOT NULL AND sample IN {chosen}", values
    )
    return [Said(row["sample"], row["annotator"], row["class"]) for row in rows]


def _shared(connection: Connection, samples: list[int]) -> bool:
    """Whether several annotators have answered one of ``samples``."""
    row = connection.execute(
        "SELECT 1 FROM vote WHERE sample IN (SELECT value FROM json_each(?))"
        " GROUP BY sample HAVING min(annotator) < max(annotator) LIMIT 1",
        (json.dumps(samples),),
    ).fetchone()
    return row is not None
