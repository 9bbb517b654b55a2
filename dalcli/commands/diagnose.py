"""``diagnose``: does the theory behind the scores hold for this model, this labeled set and this batch size?"""

from __future__ import annotations

from dalcli.config.querying import MAX_BUDGET
from dalcli.diagnosis.request import DiagnoseRequest
from dalcli.diagnosis.result import DiagnoseResult
from dalcli.errors import BadInputError, UsageError
from dalcli.workspace.session import Session

LEAST_SAMPLES, MOST_SAMPLES = 16, 2048
LEAST_BATCHES, MOST_BATCHES = 10, 2000  # the rank correlation compares all pairs at once
MOST_SKETCH = 65_536

__all__ = ["DiagnoseRequest", "check", "run"]


def check(request: DiagnoseRequest) -> None:
    """Refuse what no workspace could make sense of.

    Raises:
        UsageError: an option is out of range.
        BadInputError: there is no such labels file.
    """
    ranges = (
        ("--budget", request.budget, 1, MAX_BUDGET),
        ("--samples", request.samples, LEAST_SAMPLES, MOST_SAMPLES),
        ("--random-batches", request.random_batches, LEAST_BATCHES, MOST_BATCHES),
        ("--sketch", request.sketch, 0, MOST_SKETCH),
        ("--seed", request.seed, 0, 2**63 - 1),
    )
    for name, value, least, most in ranges:
        if value is not None and not least <= value <= most:
            raise UsageError(f"{name} {value} is out of range", f"{least} to {most}")
    if not 0 < request.ridge <= 1:
        raise UsageError(f"--ridge {request.ridge:g} is out of range", "above 0, at most 1 (of Θ's mean diagonal)")
    if request.labels is not None and not request.labels.is_file():
        raise BadInputError(f"{request.labels}: no such file", "name a CSV of true labels: --labels FILE")


def run(session: Session, request: DiagnoseRequest) -> DiagnoseResult:
    """Diagnose the newest version, or the one named."""
    check(request)
    from dalcli.diagnosis.run import diagnose  # all of torch: nobody should wait for it to be told of a wrong option

    return diagnose(session, request)
