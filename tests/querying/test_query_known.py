"""What `query` tells a strategy about the workspace, and what a strategy tells the user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import message, ok, run, write_labels
from workspaces import add_model, add_scores, make

from dalcli.data.identity import id_from_digest
from dalcli.strategies import registry
from dalcli.strategies.base import Request, Selection
from dalcli.strategies.random import Random


class Spy:
    """Chooses at random, keeps the request, and has something to say."""

    columns = ("features",)

    def __init__(self) -> None:
        self.request: Request | None = None

    def select(self, request: Request) -> Selection:
        self.request = request
        return Selection(Random().select(request).digests, notes=("half of the pool was compared",))


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    found = Spy()
    monkeypatch.setattr(registry, "STRATEGIES", {**registry.STRATEGIES, "spy": lambda query: found})
    return found


def names(digests: np.ndarray) -> set[str]:
    return {id_from_digest(bytes(row)) for row in digests}


def test_a_strategy_learns_what_is_labeled_and_in_flight(tmp_path: Path, spy: Spy) -> None:
    root = make(tmp_path / "work", 20, config="query: {memory_limit: 3MB}\n")
    rows = ok(root, "query", "--budget", "6").rows
    answers = [
        {"sample_id": row["sample_id"], "label": "cat", "skipped": "1" if i == 0 else ""} for i, row in enumerate(rows)
    ]
    ok(root, "ingest-labels", write_labels(root / "l.csv", answers))
    add_model(root)
    add_scores(root)
    out = ok(root, "query", "--new", "--budget", "4", "--strategy", "margin").rows
    asked = ok(root, "query", "--new", "--budget", "3", "--strategy", "spy")
    assert spy.request is not None
    assert names(spy.request.labeled.digests) == {row["sample_id"] for row in rows[1:]}
    assert names(spy.request.in_flight.digests) == {row["sample_id"] for row in out}
    assert len(spy.request.eligible) == 10
    assert spy.request.memory_limit == 3_000_000
    assert "half of the pool was compared" in asked.err


def test_a_strategy_without_its_column_is_not_ready(tmp_path: Path) -> None:
    root = make(tmp_path / "work")
    rows = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows, all_of_them="cat"))
    add_model(root)
    add_scores(root)
    refused = run(root, "query", "--new", "--budget", "2", "--strategy", "lcmd")
    assert refused.code == 5
    assert "scoring.sketch" in message(refused)[1]


def test_an_open_batch_of_another_composition_is_not_printed_again(tmp_path: Path) -> None:
    parts = "query: {{strategy: composed, budget: 2, compose: {{score: {}}}}}\n"
    root = make(tmp_path / "work", config=parts.format("margin"))
    first = ok(root, "query")
    assert ok(root, "query", "--budget", "2").out == first.out  # typed otherwise, the same in effect
    text = (root / "dalcli.yaml").read_text().replace("margin", "entropy")
    (root / "dalcli.yaml").write_text(text)
    assert run(root, "query", "--budget", "2").code == 5
