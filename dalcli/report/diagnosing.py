"""The last diagnosis that was made for a report: kept, so that the next report need not make it again."""

from __future__ import annotations

import json
from dataclasses import asdict

from dalcli.diagnosis.result import DiagnoseResult, Finding
from dalcli.report.contents import Diagnosis
from dalcli.state import meta
from dalcli.state.database import Connection, now

_KEY = "diagnosis"


def keep(connection: Connection, result: DiagnoseResult) -> None:
    """Remember its findings; the same ones again change nothing, not even the time."""
    before = last(connection)
    if before is not None and (before.version, before.findings) == (result.version, result.findings):
        return
    meta.put(connection, _KEY, json.dumps(asdict(Diagnosis(result.version, now(), result.findings))))


def last(connection: Connection) -> Diagnosis | None:
    """What was kept last, if anything."""
    text = meta.get(connection, _KEY)
    if text is None:
        return None
    known = json.loads(text)
    return Diagnosis(known["version"], known["made_at"], tuple(Finding(**each) for each in known["findings"]))
