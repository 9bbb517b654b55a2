"""What people found who checked labels by a model that were drawn at random for that (``query --auto-labeled``)."""

from __future__ import annotations

from dalcli.state.auto_labels import AutoRun
from dalcli.state.database import Connection


def contradictions(connection: Connection, run: AutoRun) -> tuple[int, int]:
    """How many labels of a run people have checked, and how many of those are wrong.

    Checked are those that ``query --auto-labeled`` drew at random before the run was withdrawn, once their effective
    label is known; those too that were drawn from earlier runs of the same version with a promise at least as strict:
    the same labels, recorded again, are not unchecked by that.
    """
    return _contradictions(connection, run.version, run.promise["max_error"], run.key, run.withdrawn_at)


def contradictions_of(connection: Connection, version: str, max_error: float) -> tuple[int, int]:
    """The same for a run of ``version`` that is still to be made."""
    return _contradictions(connection, version, max_error, None, None)


def _contradictions(
    connection: Connection, version: str, max_error: float, last_run: int | None, until: str | None
) -> tuple[int, int]:
    row = connection.execute(
        "SELECT count(*) AS checked, coalesce(sum(wrong), 0) AS wrong FROM ("
        " SELECT max(a.class <> n.counts_as) AS wrong FROM auto_vote AS v"
        " JOIN auto_run AS r ON r.id = v.run JOIN model_version AS m ON m.id = r.model"
        " JOIN answer AS a ON a.sample = v.sample AND a.state = 'labeled' JOIN class_now AS n ON n.position = v.class"
        " WHERE m.version = :version AND (:last_run IS NULL OR r.id <= :last_run)"
        " AND json_extract(r.promise, '$.max_error') <= :max_error"
        " AND EXISTS (SELECT 1 FROM batch_row AS x JOIN batch AS b ON b.id = x.batch"
        "  WHERE x.sample = v.sample AND x.strategy = 'auto-labeled' AND b.issued_at >= r.recorded_at"
        "  AND (:until IS NULL OR b.issued_at <= :until))"
        " GROUP BY v.sample)",
        {"version": version, "max_error": max_error, "last_run": last_run, "until": until},
    ).fetchone()
    return int(row["checked"]), int(row["wrong"])
