"""What is said where a prescreen left samples without exact scores."""

from __future__ import annotations

import numpy as np
import pytest

from dalcli.querying.prescreened import Narrowed
from dalcli.scores.samples import SampleSet
from dalcli.strategies.base import Request, Selection

POOL = np.arange(5 * 16, dtype=np.uint8).reshape(5, 16)


@pytest.mark.parametrize(
    ("exact", "budget", "said"),
    [
        (4, 2, "1 sample without exact scores was left out (scoring.prescreen)"),
        (3, 2, "2 samples without exact scores were left out (scoring.prescreen)"),
        (4, 5, "only 4 eligible samples have exact scores (scoring.prescreen); the last one was drawn at random"),
        (1, 3, "only 1 eligible sample has exact scores (scoring.prescreen); the last 2 were drawn at random"),
    ],
)
def test_one_and_many(exact: int, budget: int, said: str) -> None:
    request = Request(budget=budget, eligible=SampleSet(POOL[:exact]), seed=0)
    narrowed = Narrowed(request, away=SampleSet(POOL[exact:]), wanted=budget)
    chosen = Selection(POOL[: min(exact, budget)], np.ones(min(exact, budget)))
    completed = narrowed.completed(chosen)
    assert len(np.unique(completed.digests, axis=0)) == budget
    [note] = completed.notes
    assert note.startswith(said)
