"""What later strategies build on: blocked access to eligible and labeled rows, seeded noise, wrapped scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
from pools import ArrayTable, ids, pool, random_digests, request
from scipy import stats

from dalcli.errors import DalcliError, NotReadyError
from dalcli.scores.samples import SampleSet
from dalcli.scores.table import ScoreBlock
from dalcli.strategies.base import Acquisition, Request, Selection
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.selection import TopValues


def table(count: int = 30) -> ArrayTable:
    rng = np.random.default_rng(5)
    return ArrayTable(random_digests(count), {"features": rng.random((count, 2), np.float32)}, cuts=[7, 7, 20])


def test_eligible_rows_stream_in_table_order() -> None:
    scores = table()
    mask = np.arange(30) % 3 == 0
    blocks = list(request(scores, 5, scores.digests[mask]).eligible_blocks(("features",)))
    np.testing.assert_array_equal(
        np.concatenate([block["features"] for block in blocks]), scores.columns["features"][mask]
    )
    np.testing.assert_array_equal(np.concatenate([block.digests for block in blocks]), scores.digests[mask])


def test_labeled_rows_stream_and_unscored_ones_are_left_out() -> None:
    scores = table()
    labeled = SampleSet(np.concatenate([scores.digests[[3, 25]], random_digests(2, seed=8)]))
    blocks = list(request(scores, 5, scores.digests[:1], labeled=labeled).labeled_blocks(("features",)))
    np.testing.assert_array_equal(np.concatenate([block.digests for block in blocks]), scores.digests[[3, 25]])


def test_an_unscored_eligible_sample_is_noticed() -> None:
    scores = table()
    asked = request(scores, 5, np.concatenate([scores.digests[:4], random_digests(2, seed=8)]))
    with pytest.raises(NotReadyError, match=r"2 of 6 .*\n.*dalcli score"):
        list(asked.eligible_blocks(("features",)))


@pytest.mark.parametrize("cuts", [[], [30]])
def test_a_sample_scored_twice_is_noticed(cuts: list[int]) -> None:
    once = table()
    digests = np.concatenate([once.digests, once.digests[:2]])
    scores = ArrayTable(digests, {"features": np.zeros((32, 2), np.float32)}, cuts)
    with pytest.raises(DalcliError, match=r"2 samples twice\n.*dalcli score"):
        list(request(scores, 5).eligible_blocks(("features",)))


def test_a_budget_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="budget"):
        request(table(), 0)


def test_noise_depends_on_seed_purpose_and_content_alone() -> None:
    asked, other = request(table(), 5, seed=1), request(table(), 5, seed=2)
    digests = random_digests(100)
    noise = asked.keys(digests, "gumbel", 3)
    np.testing.assert_array_equal(noise[::-1], asked.keys(digests[::-1], "gumbel", 3))
    for different in (asked.keys(digests), asked.keys(digests, "gumbel", 4), other.keys(digests, "gumbel", 3)):
        assert not (noise == different).any()
    assert asked.generator("init").random() == request(table(), 9, seed=1).generator("init").random()
    assert asked.generator("init").random() != asked.generator("other").random()


@dataclass(frozen=True)
class Gumbel:
    """A transform as issue-4 strategies will write them: one acquisition around another, noise keyed by content."""

    acquisition: Acquisition
    temperature: float

    @property
    def columns(self) -> tuple[str, ...]:
        return self.acquisition.columns

    def values(self, block: ScoreBlock, request: Request) -> np.ndarray:
        uniform = (request.keys(block.digests, "gumbel").astype(np.float64) + 0.5) / 2.0**64
        return self.acquisition.values(block, request) - self.temperature * np.log(-np.log(uniform))


def test_a_transform_composes_with_any_acquisition_and_stays_order_free() -> None:
    scores = pool(np.log([8.0, 4.0, 2.0, 1.0, 1.0]))
    strategy = TopValues(Gumbel(Dynamical(math.inf), temperature=1.0))
    firsts = [ids(strategy.select(request(scores, 1, seed=seed)).digests)[0] for seed in range(800)]
    counts = [firsts.count(sample) for sample in ids(scores.digests)]
    # Gumbel top-1 samples in proportion to exp(value).
    assert stats.chisquare(counts, np.array([8, 4, 2, 1, 1]) * 50).pvalue > 1e-3
    shuffled = scores.shuffled(np.random.default_rng(1), cuts=[2])
    a, b = (strategy.select(request(data, 3, seed=4)) for data in (scores, shuffled))
    assert ids(a.digests) == ids(b.digests)


class FarthestFirst:
    """A joint strategy as issue-4 strategies will write them: labeled features as centres, eligible ones in blocks."""

    columns = ("features",)

    def select(self, request: Request) -> Selection:
        centres = np.concatenate([block["features"] for block in request.labeled_blocks(self.columns)])
        chosen: list[np.ndarray] = []
        for _ in range(request.size):
            best, where, point = -1.0, None, None
            for block in request.eligible_blocks(self.columns):
                gaps = ((block["features"][:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1)
                if gaps.max() > best:
                    best, where, point = gaps.max(), block.digests[gaps.argmax()], block["features"][gaps.argmax()]
            assert where is not None
            assert point is not None
            chosen.append(where)
            centres = np.concatenate([centres, point[None]])
        return Selection(np.array(chosen))


def test_a_joint_strategy_can_be_written_against_the_request_alone() -> None:
    position = np.array([[0.0], [1.0], [10.0], [4.0], [9.0]], np.float32)
    scores = ArrayTable(random_digests(5), {"features": position}, cuts=[2])
    asked = request(scores, 2, scores.digests[1:], labeled=SampleSet(scores.digests[:1]))
    assert ids(FarthestFirst().select(asked).digests) == ids(scores.digests[[2, 3]])
    assert scores.passes == 3
