"""Sets of samples: membership by value, for whole arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalcli.scores.samples import SampleSet
from tests.strategies.pools import ids

# Few distinct bytes, zeros among them: shared prefixes, shared suffixes and repetitions are common.
DIGEST = st.lists(st.sampled_from([0, 1, 255]), min_size=2, max_size=2).map(lambda ends: [ends[0], *[0] * 14, ends[1]])


def array(rows: list[list[int]]) -> np.ndarray:
    return np.array(rows, np.uint8).reshape(-1, 16)


@given(st.lists(DIGEST), st.lists(DIGEST))
def test_membership_agrees_with_a_python_set(members: list[list[int]], queries: list[list[int]]) -> None:
    samples = SampleSet(array(members))
    assert ids(samples.digests) == sorted(set(ids(array(members))))
    expected = [query in set(ids(samples.digests)) for query in ids(array(queries))]
    assert samples.contains(array(queries)).tolist() == expected
    places = samples.find(array(queries))
    for query, place, inside in zip(ids(array(queries)), places, expected, strict=True):
        assert (ids(samples.digests)[place] == query) if inside else place == -1


@pytest.mark.parametrize("wrong", [np.zeros((2, 15), np.uint8), np.zeros(16, np.uint8), np.zeros((2, 16), np.int64)])
def test_anything_but_digests_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(n, 16\) uint8"):
        SampleSet(wrong)
