"""A scoring job is a value: every process gets the same one, and the names of files follow from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dalcli.config.schema import Config
from dalcli.runtime.ranks import Ranks
from dalcli.scores.columns import Group
from dalcli.scores.settings import DropoutSettings, GradientSettings, TableSettings
from dalcli.scoring.job import LabeledSet, ScoringJob, ShardPlan
from dalcli.state.versions import ModelVersion
from dalcli.workspace.jobs import announced, no_more
from tests.rank_groups import Agent, agent

MODEL = ModelVersion(
    key=3,
    version="m-0003",
    parent="m-0002",
    classes=2,
    labels=14,
    labels_digest="d",
    fingerprint="f",
    seed=1,
    threads=2,
    device="cpu",
    started_at="2026-01-01T00:00:00Z",
    finished_at="2026-01-01T00:00:01Z",
    epochs=4,
    converged=True,
    stopped="converged",
    train_accuracy=1.0,
    train_loss=0.1 + 0.2,
)
PLAIN = ScoringJob(
    config=Config(),
    model=replace(MODEL, parent=None, converged=None, train_loss=None),
    settings=TableSettings(pixels="p"),
    micro_batch=4,
    images=[],
    cached=False,
    shards=(),
    labeled=None,
    gradients=False,
)
FULL = ScoringJob(
    config=Config.model_validate({"query": {"gamma": math.inf}, "scoring": {"prescreen": 0.5, "mc_samples": 3}}),
    model=MODEL,
    settings=TableSettings(
        pixels="p",
        gradients=GradientSettings(sketch=8, sketch_seed=2**63 - 1, prescreen=0.1, gamma=math.inf),
        dropout=DropoutSettings(samples=3, seed=2**62),
    ),
    micro_batch=4,
    images=[(1, "s-00", "a/é \udcff.png"), (7, "s-01", "/b\n.png")],
    cached=True,
    shards=(
        ShardPlan(ordinal=0, rows=(0,), groups=(Group.GRADIENTS,)),
        ShardPlan(ordinal=5, rows=(1,), groups=tuple(Group)),
    ),
    labeled=LabeledSet(rows=(1, 0), labels=(0, 1)),
    gradients=True,
)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "agent") as started:
        yield started


def sent(job: ScoringJob) -> Any:
    return json.loads(json.dumps(job.model_dump()))


@pytest.mark.parametrize("job", [PLAIN, FULL])
def test_a_job_survives_its_way(job: ScoringJob) -> None:
    found = ScoringJob.received(sent(job))
    assert found == job
    assert found.settings.gradient_key == job.settings.gradient_key
    assert [plan.file for plan in found.shards] == [plan.file for plan in job.shards]
    assert all(isinstance(name, Group) for plan in found.shards for name in plan.groups)


@given(
    st.lists(st.tuples(st.integers(0, 2**40), st.text(max_size=5), st.text(max_size=9)), max_size=4),
    st.lists(st.tuples(st.integers(0, 99), st.lists(st.integers(0, 9), max_size=4), st.sets(st.sampled_from(Group)))),
    st.one_of(st.none(), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=4)),
)
def test_any_cut_survives_its_way(
    images: list[tuple[int, str, str]],
    plans: list[tuple[int, list[int], set[Group]]],
    labeled: list[tuple[int, int]] | None,
) -> None:
    shards = tuple(ShardPlan(ordinal=o, rows=tuple(rows), groups=tuple(groups)) for o, rows, groups in plans)
    rows, labels = ((), ()) if not labeled else tuple(zip(*labeled, strict=True))
    seen = None if labeled is None else LabeledSet(rows=rows, labels=labels)
    job = FULL.model_copy(update={"images": images, "shards": shards, "labeled": seen})
    assert ScoringJob.received(sent(job)) == job


def test_what_is_not_known_is_refused() -> None:
    document = sent(FULL)
    for wrong in (
        document | {"surprise": 1},
        document | {"settings": document["settings"] | {"surprise": 1}},
        document | {"shards": [{"ordinal": 0, "rows": [0], "groups": ["no such group"]}]},
        document | {"labeled": {"rows": [0]}},
        {name: value for name, value in document.items() if name != "labeled"},
    ):
        with pytest.raises(ValidationError):
            ScoringJob.received(wrong)


def converse(ranks: Ranks) -> list[ScoringJob]:
    if not ranks.main:
        return [ScoringJob.received(document) for document in announced(ranks)]
    for job in (PLAIN, FULL):
        job.announce(ranks)
    no_more(ranks)
    return []


def test_the_other_processes_receive_what_is_announced(group: Agent) -> None:
    assert group.run(2, converse) == [[], [PLAIN, FULL]]


def test_files_are_named_after_their_shard_and_what_is_added_after_itself() -> None:
    def name(*groups: Group) -> str:
        return ShardPlan(ordinal=12, rows=(), groups=groups).file

    assert name(Group.PREDICTIONS) == name(*Group) == "shard-00012.safetensors"
    assert name(Group.GRADIENTS) == "shard-00012-gradients.safetensors"
    assert name(Group.GRADIENTS, Group.DROPOUT) == name(Group.DROPOUT, Group.GRADIENTS)
    assert name(Group.DROPOUT, Group.GRADIENTS) == "shard-00012-dropout-gradients.safetensors"
