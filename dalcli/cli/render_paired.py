"""Comparisons in one line each, for ``evaluate`` and ``status``: two versions, and choosing against drawing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dalcli.config.words import counted

if TYPE_CHECKING:
    from dalcli.evaluation.paired import PairedTest


def paired(test: PairedTest) -> str:
    """m-0007 is better than m-0006, p = 0.01 (31 against 14 of 500 common examples)."""
    relation = {
        "better": f"{test.version} is better than {test.against}",
        "worse": f"{test.version} is worse than {test.against}",
        "undecided": f"{test.version} and {test.against} cannot be told apart",
    }[test.verdict]
    examples = counted(test.examples, "common example", "common examples")
    return f"{relation}, p {_p_value(test.p_value)} ({test.better} against {test.worse} of {examples})"


def _p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def gain(document: Mapping[str, Any]) -> str:
    """+1.2 points (95% interval -0.3 to +2.7) with 40 labels of either kind, m-0007; or why that is not known."""
    if document["reason"] is not None:
        return str(document["reason"])
    interval = document["gain_interval"]
    low, high = 100 * interval["low"], 100 * interval["high"]
    return (
        f"{100 * document['gain']:+.1f} points ({100 * interval['level']:g}% interval {low:+.1f} to {high:+.1f}) with "
        f"{counted(document['compared'], 'label')} of either kind, {document['version']}"
    )
