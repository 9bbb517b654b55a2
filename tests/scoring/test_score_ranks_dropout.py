"""Processes that score together draw the same dropout masks."""

from __future__ import annotations

from pathlib import Path

import torch

from dalcli.feedback import SilentFeedback
from dalcli.runtime.ranks import Ranks
from dalcli.scoring.run import ScoreRequest, score, serve
from dalcli.workspace.session import open_session
from tests.rank_groups import agent
from tests.score_tables import assert_same_table
from tests.small_pools import copied, make_pool


def scored(ranks: Ranks, root: Path) -> None:
    torch.set_num_threads(1)
    if not ranks.main:
        serve(root, ranks)
        return
    with open_session(root, SilentFeedback()) as session:
        score(session, ScoreRequest(full=True), ranks)


def test_three_processes_make_the_table_of_one(tmp_path: Path) -> None:
    alone = make_pool(tmp_path / "w", 30, scoring={"batch_size": 4, "shard_size": 6, "mc_samples": 5})
    alone.label(alone.pool()[:9])
    alone.ok("train")
    together = copied(alone, tmp_path / "together")
    alone.ok("score", "--full")
    with agent(tmp_path / "agent") as group:
        assert group.run(3, scored, together.root) == [None] * 3
    assert_same_table(together, alone)
    shards = list(together.shards().values())
    assert len(shards) >= 3
    assert all(columns["mc_probabilities"].shape[1:] == (5, 3) for columns in shards)
