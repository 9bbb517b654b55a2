"""A training job is a value: every process trains the same model on the same images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dalcli.config.schema import Config
from dalcli.models.preprocess import IMAGENET, PixelStats
from dalcli.models.spec import ModelSpec
from dalcli.runtime.ranks import Ranks
from dalcli.training.job import TrainingJob
from dalcli.workspace.jobs import announced, no_more
from tests.rank_groups import Agent, agent

JOB = TrainingJob(
    config=Config.model_validate({"training": {"max_epochs": 3, "learning_rate": 0.1 + 0.2}}),
    spec=ModelSpec("resnet18", 3, (32, 48), stem="large", dropout=0.1, weights="w/é \udcff.pt"),
    stats=PixelStats(mean=(0.1 + 0.2, 1e-300, 0.0), std=(1 / 3, 2 / 3, 1.0)),
    version="m-0007",
    threads=2,
    fingerprint="f",
    images=[(1, "s-00", "a.png"), (9, "s-01", "b\n.png")],
    truth=(2, 0),
)
OTHER = JOB.model_copy(update={"spec": ModelSpec("cnn", 2, (8, 8)), "stats": IMAGENET, "images": [], "truth": ()})

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
CHANNELS = st.tuples(FLOATS, FLOATS, FLOATS)


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Agent]:
    with agent(tmp_path / "agent") as started:
        yield started


def sent(job: TrainingJob) -> Any:
    return json.loads(json.dumps(job.model_dump()))


@pytest.mark.parametrize("job", [JOB, OTHER])
def test_a_job_survives_its_way(job: TrainingJob) -> None:
    found = TrainingJob.received(sent(job))
    assert found == job
    assert isinstance(found.spec.image_size, tuple), "it is compared with the sizes of caches and checkpoints"


@given(CHANNELS, CHANNELS, st.lists(st.integers(0, 2**40), max_size=5))
def test_numbers_arrive_to_the_last_bit(mean: Any, std: Any, truth: list[int]) -> None:
    job = JOB.model_copy(update={"stats": PixelStats(mean, std), "truth": tuple(truth)})
    assert TrainingJob.received(sent(job)) == job


def test_what_is_not_known_is_refused() -> None:
    document = sent(JOB)
    for wrong in (
        document | {"surprise": 1},
        document | {"config": document["config"] | {"surprise": 1}},
        document | {"truth": ["cat", "dog"]},
        {name: value for name, value in document.items() if name != "truth"},
    ):
        with pytest.raises(ValidationError):
            TrainingJob.received(wrong)


def converse(ranks: Ranks) -> list[TrainingJob]:
    if not ranks.main:
        return [TrainingJob.received(document) for document in announced(ranks)]
    for job in (JOB, OTHER):
        job.announce(ranks)
    no_more(ranks)
    return []


def test_the_other_processes_receive_what_is_announced(group: Agent) -> None:
    assert group.run(2, converse) == [[], [JOB, OTHER]]
