"""Two versions compared, in one line: for ``evaluate`` and ``status``."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
