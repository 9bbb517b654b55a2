"""``query`` on damaged scores: an error that says what to do, never a silent choice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small_pools import SmallPool


def damaged(pool: SmallPool, offset: int) -> Path:
    """Change one byte of the second shard, counted from the end if negative."""
    path = pool.root / ".dalcli" / "scores" / "m-0001" / "shard-00001.safetensors"
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)
    return path


def content_of(path: Path, column: str) -> int:
    """Where a column's bytes begin."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    start: int = json.loads(data[8 : 8 + length])[column]["data_offsets"][0]
    return 8 + length + start


def test_query_refuses_damaged_numbers_and_score_mends_them(scored: SmallPool) -> None:
    scored.configure(query={"strategy": "dynamical"})
    expected = scored.ok("query", "--budget", "4", "--new", "--key", "before").out
    path = scored.root / ".dalcli" / "scores" / "m-0001" / "shard-00001.safetensors"
    scored.ok("batch", "release", "b-0001")
    damaged(scored, content_of(path, "grad_inner"))
    outcome = scored.run("query", "--budget", "4")
    assert outcome.code == 1
    assert "shard-00001.safetensors" in outcome.err
    assert "dalcli score" in outcome.err
    assert len(scored.ok("batch", "list").out.splitlines()) == 3
    scored.ok("score", "--full")
    again = scored.ok("query", "--budget", "4").out
    assert again.replace("b-0002", "b-0001") == expected


@pytest.mark.parametrize("place", ["header", "digest"])
def test_a_shard_that_does_not_tell_its_samples_is_scored_again_by_query(scored: SmallPool, place: str) -> None:
    before = scored.scores()
    path = scored.root / ".dalcli" / "scores" / "m-0001" / "shard-00001.safetensors"
    damaged(scored, 8 if place == "header" else content_of(path, "digest"))
    assert scored.json("status")["unscored"] == 8
    outcome = scored.ok("query", "--budget", "4")
    assert "shard-00001.safetensors is missing or damaged" in outcome.err
    assert scored.scores().keys() == before.keys()
