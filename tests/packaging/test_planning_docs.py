"""``docs/planning.md`` names every key of ``plan --json`` and every verdict with its exit status."""

from __future__ import annotations

import dataclasses
import re
import typing
from pathlib import Path

from dalcli.commands.plan import EXIT_CODES
from dalcli.planning import history, ledger, money, result, trajectory

PAGE = (Path(__file__).parents[2] / "docs/planning.md").read_text(encoding="utf-8")
DOCUMENTS = [
    result.PlanResult, result.Standing, result.Basis, result.BandPoint, result.ToTarget, result.Purchase,
    result.NextBatch, result.BatchOption, result.Decision, result.Proof, result.ClassShortfall, result.TrackRecord,
    trajectory.CurvePoint, money.Spent, history.HistoryResult, history.MetricRecord, ledger.ScoredForecast,
    ledger.Outcome,
]  # fmt: skip


def test_every_key_is_named() -> None:
    told = set(re.findall(r"`(\w+)`", PAGE.split("## `--json`")[1].split("## ")[0]))
    keys = {
        field.name for each in DOCUMENTS for field in dataclasses.fields(each) if not field.metadata.get("internal")
    }
    assert keys - told == set()


def test_every_verdict_has_its_status() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| .+ \| (\d+) \|$", PAGE, re.MULTILINE))
    assert {name: int(code) for name, code in rows.items()} == {name: int(code) for name, code in EXIT_CODES.items()}
    assert set(EXIT_CODES) == set(typing.get_args(result.Verdict))
    assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
