"""The bandit's arithmetic, by hand, and its memory."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from pools import ArrayTable, ids, random_digests, request, rows_of
from scipy import stats

from dalcli.scores.samples import SampleSet
from dalcli.strategies.albl import ActiveByLearning, weighted_accuracy
from dalcli.strategies.base import Answers, Request, Selection
from dalcli.strategies.random import Random

NO_ANSWERS = Answers(np.empty((0, 16), np.uint8), np.empty(0, np.int64))


@dataclass(frozen=True, eq=False)
class Fixed:
    """Eligible samples in a given order."""

    order: np.ndarray
    columns: tuple[str, ...] = ()

    def select(self, request: Request) -> Selection:
        return Selection(self.order[request.eligible.contains(self.order)][: request.size])


def table(correct: list[bool]) -> ArrayTable:
    """Predictions of class 1 where ``correct``, else 0."""
    return ArrayTable(random_digests(len(correct)), {"probabilities": np.eye(2, dtype=np.float32)[np.int64(correct)]})


def test_a_first_batch_follows_all_experts_alike() -> None:
    scores = table([True] * 40)
    bandit = ActiveByLearning({"up": Fixed(scores.digests), "down": Fixed(scores.digests[::-1])})
    firsts = []
    for seed in range(400):
        selection, memory = bandit.select(request(scores, 6, seed=seed), None, NO_ANSWERS)
        rows = rows_of(scores, selection.digests)
        assert len(set(rows)) == 6
        up = sorted(row for row in rows if row < 20)
        assert up == list(range(len(up)))  # every expert's best first, none skipped
        firsts.append(rows[0] == 0)
        assert memory["round"] == 1
        assert [row[1] for row in memory["asked"]] == [0.5] * 6
    assert stats.binomtest(sum(firsts), 400, 0.5).pvalue > 1e-3


def test_experts_that_agree_share_the_probability() -> None:
    scores = table([True] * 9)
    same = Fixed(scores.digests)
    bandit = ActiveByLearning({"a": same, "b": same, "c": Fixed(scores.digests[::-1])})
    selection, memory = bandit.select(request(scores, 1, seed=2), None, NO_ANSWERS)
    (row,) = memory["asked"]
    assert row[0] == ids(selection.digests)[0]
    experts = row[2]
    assert row[1] == pytest.approx(len(experts) / 3)
    assert experts in ([0, 1], [2])


def test_weights_follow_the_reward() -> None:
    """Two experts, one asked sample each, right and wrong: EXP4.P written out."""
    scores = table([True, False, True, True])
    a, b = ids(scores.digests[:2])
    bandit = ActiveByLearning({"a": Fixed(scores.digests), "b": Fixed(scores.digests[::-1])}, rounds=10)
    memory = {
        "experts": ["a", "b"],
        "weights": [1.0, 2.0],
        "asked": [[a, 0.4, [0], 3], [b, 0.6, [1], 3]],
        "round": 3,
    }
    answers = Answers(scores.digests[:2], np.array([1, 1]))
    asked = request(scores, 1, scores.digests[2:], labeled=SampleSet(scores.digests[:2]))
    _, after = bandit.select(asked, memory, answers)
    floor = math.sqrt(math.log(2) / 20)
    reward = (1 / 0.4) / (1 / 0.4 + 1 / 0.6)
    bonus = math.sqrt(math.log(2 / 0.1) / 20)
    grown = []
    for weight, probability in ((1.0, 0.4), (2.0, 0.6)):
        p = (1 - 2 * floor) * weight / 3 + floor
        gain = reward / probability / 2
        grown.append(weight * math.exp(floor / 2 * (gain + bonus / p)))
    np.testing.assert_allclose(after["weights"], np.array(grown) / np.mean(grown), rtol=1e-12)
    assert after["round"] == 4
    assert len(after["asked"]) == 3
    assert bandit.exploration == pytest.approx(floor)


def test_followed_is_the_expert_with_the_weight() -> None:
    scores = table([True] * 40)
    bandit = ActiveByLearning({"up": Fixed(scores.digests), "down": Fixed(scores.digests[::-1])}, rounds=100)
    memory = {"experts": ["up", "down"], "weights": [0.5, 1.5], "asked": [], "round": 2}
    floor = math.sqrt(math.log(2) / 200)
    likely = (1 - 2 * floor) * 0.75 + floor
    firsts = []
    for seed in range(400):
        selection, after = bandit.select(request(scores, 1, seed=seed), memory, NO_ANSWERS)
        row, probability = rows_of(scores, selection.digests)[0], after["asked"][0][1]
        assert probability == pytest.approx(likely if row == 39 else 1 - likely)
        firsts.append(row == 39)
    assert stats.binomtest(sum(firsts), 400, likely).pvalue > 1e-3


def test_earlier_rounds_count_in_the_accuracy_and_only_the_last_ones_experts_gain() -> None:
    scores = table([False, True, True, True])
    a, b = ids(scores.digests[:2])
    bandit = ActiveByLearning({"a": Fixed(scores.digests), "b": Fixed(scores.digests[::-1])}, rounds=10)
    memory = {"experts": ["a", "b"], "weights": [1.0, 1.0], "asked": [[a, 0.2, [0], 1], [b, 0.5, [1], 2]], "round": 2}
    asked = request(scores, 1, scores.digests[2:], labeled=SampleSet(scores.digests[:2]))
    _, after = bandit.select(asked, memory, Answers(scores.digests[:2], np.array([1, 1])))
    reward = (1 / 0.5) / (1 / 0.2 + 1 / 0.5)
    first, second = after["weights"]
    assert second / first == pytest.approx(math.exp(bandit.exploration / 2 * reward / 0.5), rel=1e-12)


def test_the_memory_of_many_rounds_is_json_and_forgets_nothing() -> None:
    scores = table([True] * 100 + [False] * 100)
    bandit = ActiveByLearning({"right": Fixed(scores.digests[:100]), "wrong": Fixed(scores.digests[100:])})
    memory = None
    answers, left = NO_ANSWERS, scores.digests
    for number in range(8):
        asked = request(scores, 4, left, seed=number)
        selection, memory = bandit.select(asked, memory, answers)
        left = left[~SampleSet(selection.digests).contains(left)]
        digests = np.concatenate([answers.digests, selection.digests])
        answers = Answers(digests, np.ones(len(digests), np.int64))
        memory = json.loads(json.dumps(memory))  # what is kept is JSON
    assert memory is not None
    assert [row[3] for row in memory["asked"]] == sorted(list(range(1, 9)) * 4)
    assert len({row[0] for row in memory["asked"]}) == 32
    assert np.mean(memory["weights"]) == pytest.approx(1.0)
    assert memory["weights"][0] != memory["weights"][1]


def test_the_same_memory_gives_the_same_batch_and_other_experts_start_afresh() -> None:
    scores = table([True] * 30)
    bandit = ActiveByLearning({"up": Fixed(scores.digests), "random": Random()})
    first, memory = bandit.select(request(scores, 5), None, NO_ANSWERS)
    left = scores.digests[~SampleSet(first.digests).contains(scores.digests)]
    asked = request(scores, 5, left, labeled=SampleSet(first.digests))
    answers = Answers(first.digests, np.ones(5, np.int64))
    (a, after_a), (b, after_b) = (bandit.select(asked, memory, answers) for _ in range(2))
    assert ids(a.digests) == ids(b.digests)
    assert after_a == after_b
    other = ActiveByLearning({"down": Fixed(scores.digests[::-1]), "random": Random()})
    _, fresh = other.select(asked, memory, answers)
    assert fresh["weights"] == [1.0, 1.0]
    assert len(fresh["asked"]) == 5


def test_unanswered_samples_leave_the_weights_as_they_were() -> None:
    scores = table([True] * 30)
    bandit = ActiveByLearning({"up": Fixed(scores.digests), "random": Random()})
    first, memory = bandit.select(request(scores, 5), None, NO_ANSWERS)
    left = scores.digests[~SampleSet(first.digests).contains(scores.digests)]
    unrelated = Answers(random_digests(3, seed=9), np.zeros(3, np.int64))
    _, after = bandit.select(request(scores, 5, left), memory, unrelated)
    assert after["weights"] == memory["weights"]


def test_weighted_accuracy_is_unbiased_for_unequal_sampling() -> None:
    assert weighted_accuracy([True, False], [0.25, 0.5]) == pytest.approx(4 / 6)
    assert weighted_accuracy([True, True], [0.1, 0.9]) == 1.0


def test_columns_are_those_of_all_experts_and_one_expert_is_no_bandit() -> None:
    bandit = ActiveByLearning({"a": Random(), "b": Fixed(random_digests(1), columns=("features",))})
    assert bandit.columns == ("features", "probabilities")
    with pytest.raises(ValueError, match="two"):
        ActiveByLearning({"a": Random()})


def test_a_pool_smaller_than_the_budget_is_asked_whole() -> None:
    scores = table([True] * 4)
    bandit = ActiveByLearning({"up": Fixed(scores.digests), "random": Random()})
    selection, _ = bandit.select(request(scores, 9), None, NO_ANSWERS)
    assert sorted(rows_of(scores, selection.digests)) == [0, 1, 2, 3]
    empty, memory = bandit.select(Request(3, SampleSet.EMPTY, 1, scores), None, NO_ANSWERS)
    assert len(empty.digests) == 0
    assert memory["asked"] == []
