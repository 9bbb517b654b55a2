"""EM against a second implementation in plain loops, and against numbers that crowd-kit computed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.crowd import dawid_skene as module
from dalcli.crowd.dawid_skene import Votes, companies, dawid_skene

SAID = (
    "0-00 -002 2-22 111- 0-11 1-11 2-02 -000 20-1 000- 1-01 -222 11-1 001- 111- 00-0 222- 12-2 222- 11-1 "
    "-221 111- -000 1-21 1-11 1-11 22-0 0-00 -222 02-2 -112 21-2 0-00 2-12 12-1 111- 22-2 -122 210- -101 "
    "2-22 -222 000- 0-00 0-02 111- 2-02 112- -222 11-1 22-0 1-11 -222 112- 111- -202 2-22 201- -222 0-00"
)
"""Sixty samples of three classes, seen by three of four annotators, who are right 85, 75, 65 and 60% of the time."""
BY_CROWD_KIT = {
    0: [0.993919, 0.0, 0.006081],
    4: [0.407804, 0.590605, 0.001592],
    6: [0.092437, 0.0, 0.907563],
    17: [0.0, 0.194691, 0.805309],
    20: [0.0, 0.834054, 0.165946],
    30: [0.0, 0.808449, 0.191551],
    33: [0.075847, 0.0, 0.924153],
    37: [0.0, 0.118128, 0.881872],
    39: [0.0, 0.995335, 0.004665],
    44: [0.828053, 0.003024, 0.168924],
    47: [0.0, 0.956263, 0.043737],
    55: [0.0, 0.007582, 0.992418],
}
"""crowdkit.aggregation.DawidSkene(n_iter=30, tol=-1e9), version 1.4.2."""


def read(said: str) -> Votes:
    found = [
        (sample, annotator, int(label))
        for sample, word in enumerate(said.split())
        for annotator, label in enumerate(word)
        if label != "-"
    ]
    samples, annotators, classes = np.array(found, dtype=np.int64).T
    return Votes(samples, annotators, classes)


def test_without_pseudo_votes_it_is_what_crowd_kit_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ITERATIONS", 30)
    found = dawid_skene(read(SAID), right=1e-13, anything=1e-13)
    for sample, expected in BY_CROWD_KIT.items():
        np.testing.assert_allclose(found[sample], expected, atol=2e-6)


def by_loops(votes: Votes, right: float, anything: float, iterations: int) -> list[list[float]]:
    """The same model, every probability on its own."""
    triples = list(zip(votes.samples.tolist(), votes.annotators.tolist(), votes.classes.tolist(), strict=True))
    samples, annotators, classes = (1 + max(t[place] for t in triples) for place in range(3))
    truth = []
    for sample in range(samples):
        own = [c for s, _, c in triples if s == sample]
        truth.append([own.count(c) / max(len(own), 1) for c in range(classes)])
    for _ in range(iterations):
        prior = [anything + sum(truth[s][t] for s in range(samples)) for t in range(classes)]
        confusion = {}
        for a in range(annotators):
            for t in range(classes):
                row = [
                    anything / classes
                    + right * (said == t)
                    + sum(truth[s][t] for s, w, c in triples if (w, c) == (a, said))
                    for said in range(classes)
                ]
                confusion[a, t] = [value / math.fsum(row) for value in row]
        found = []
        for sample in range(samples):
            weights = [
                prior[t] * math.prod(confusion[a, t][c] for s, a, c in triples if s == sample) for t in range(classes)
            ]
            found.append([weight / math.fsum(weights) for weight in weights])
        truth = found
    return truth


votes_of = st.integers(2, 6).flatmap(
    lambda samples: st.lists(
        st.tuples(st.integers(0, samples - 1), st.integers(0, 3), st.integers(0, 2)),
        min_size=2,
        max_size=18,
        unique_by=lambda t: (t[0], t[1]),
    )
)


@settings(max_examples=40)
@given(said=votes_of, iterations=st.integers(1, 4))
def test_it_is_what_plain_loops_compute(said: list[tuple[int, int, int]], iterations: int) -> None:
    votes = Votes(*np.array(said, dtype=np.int64).T)
    before = module.MAX_ITERATIONS, module.TOLERANCE
    module.MAX_ITERATIONS, module.TOLERANCE = iterations, -1.0
    try:
        found = dawid_skene(votes)
    finally:
        module.MAX_ITERATIONS, module.TOLERANCE = before
    voted = np.unique(votes.samples)
    expected = np.array(by_loops(votes, module.RIGHT, module.ANY, iterations))
    np.testing.assert_allclose(found[voted], expected[voted], rtol=1e-9, atol=1e-12)


@settings(max_examples=30)
@given(said=votes_of, data=st.data())
def test_the_order_of_votes_does_not_matter_to_the_last_bit(
    said: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    again = data.draw(st.permutations(said))
    one, other = (dawid_skene(Votes(*np.array(some, dtype=np.int64).T)) for some in (said, again))
    np.testing.assert_array_equal(one, other)


def test_an_annotator_who_is_often_wrong_counts_less() -> None:
    """Two careless ones who agree by their habit of saying 0 do not outvote a careful one."""
    truth = [0, 1] * 30
    rows = [f"{t}{t}{t}00" if index % 3 else f"{t}{t}{t}{t}{t}" for index, t in enumerate(truth)]
    rows.append("1--00")
    found = dawid_skene(read(" ".join(rows)))
    assert found[-1, 1] > 0.7
    assert found[-1, 0] + found[-1, 1] == pytest.approx(1.0)


def test_no_votes_are_refused() -> None:
    nothing = np.empty(0, np.int64)
    with pytest.raises(ValueError, match="no votes"):
        dawid_skene(Votes(nothing, nothing, nothing))


def test_companies_are_linked_by_shared_samples() -> None:
    votes = read("00--- -11-- ---22")
    found = companies(votes)
    assert len({found[0], found[1], found[2]}) == 1
    assert found[3] == found[4] != found[0]
    assert len(set(companies(read("0-- -1- --1")).tolist())) == 3
