"""Scores drawn instead of ranked, and classes in turn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pools import ArrayTable, keyed_rows, pool, random_digests, request, rows_of
from scipy import stats

from dalcli.scores.samples import SampleSet
from dalcli.strategies.balanced import Balanced
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.power import Power, gumbel
from dalcli.strategies.selection import TopValues

SCORE = Dynamical(math.inf)


def test_noise_is_gumbel_distributed() -> None:
    keys = request(None, 1, random_digests(1)).keys(random_digests(5000))
    assert stats.kstest(gumbel(keys), "gumbel_r").pvalue > 1e-3
    assert np.isfinite(gumbel(np.array([0, 2**64 - 1], np.uint64))).all()


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_power_draws_in_proportion_to_a_power_of_the_score(beta: float) -> None:
    values = np.array([8.0, 4.0, 2.0, 1.0, 1.0])
    table = pool(values)
    strategy = TopValues(Power(SCORE, beta))
    firsts = [rows_of(table, strategy.select(request(table, 1, seed=seed)).digests)[0] for seed in range(1500)]
    weights = values**beta
    assert stats.chisquare(np.bincount(firsts, minlength=5), weights / weights.sum() * 1500).pvalue > 1e-3


def test_power_puts_what_has_no_positive_score_last_and_nan_after_it() -> None:
    table = pool([-1.0, math.nan, 5.0, 0.0, 1e-300, math.inf, -math.inf])
    chosen = TopValues(Power(SCORE)).select(request(table, 7))
    rows = rows_of(table, chosen.digests)
    assert rows[:3] == [5, 2, 4]
    assert set(rows[3:6]) == {0, 3, 6}
    assert rows[6] == 1
    assert chosen.non_finite == 1


def test_power_zero_draws_an_infinite_score_like_any_other() -> None:
    table = pool([math.inf, 1.0, 2.0])
    firsts = [
        rows_of(table, TopValues(Power(SCORE, 0.0)).select(request(table, 1, seed=seed)).digests)[0]
        for seed in range(900)
    ]
    assert stats.chisquare(np.bincount(firsts, minlength=3)).pvalue > 1e-3


@pytest.mark.parametrize("beta", [-1.0, math.inf, math.nan])
def test_an_exponent_out_of_range_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        Power(SCORE, beta)


def labeled_table(values: list[float], classes: list[int | None], cuts: tuple[int, ...] = ()) -> ArrayTable:
    """One-hot predictions of ``classes`` (None: NaN) beside ``values``."""
    width = max([c for c in classes if c is not None], default=0) + 1
    probabilities = np.array([np.full(width, math.nan) if c is None else np.eye(width)[c] for c in classes], np.float32)
    columns = {"grad_inner": np.array(values, np.float64), "probabilities": probabilities.reshape(len(values), width)}
    return ArrayTable(random_digests(len(values)), columns, cuts)


def in_turns(values: list[float], classes: list[int | None], known: int, order: list[int], size: int) -> list[int]:
    """Always the best sample left of the class with the fewest; ties between classes by their best sample."""
    counts: dict[int, int] = {}
    for label in classes[:known]:
        if label is not None:
            counts[label] = counts.get(label, 0) + 1
    ranked = sorted(
        (r for r in order if classes[r] is not None and not math.isnan(values[r])),
        key=lambda r: (-values[r], order.index(r)),
    )
    chosen: list[int] = []
    while ranked and len(chosen) < size:
        row = min(ranked, key=lambda r: (counts.get(classes[r], 0), ranked.index(r)))  # type: ignore[arg-type]
        ranked.remove(row)
        chosen.append(row)
        counts[classes[row]] = counts.get(classes[row], 0) + 1  # type: ignore[index,arg-type]
    return chosen


@given(st.data(), st.integers(1, 30), st.integers(0, 5))
def test_balance_matches_plain_python(data: st.DataObject, size: int, known: int) -> None:
    count = data.draw(st.integers(known + 1, 30))
    values = data.draw(st.lists(st.sampled_from([0.0, 1.0, 2.5, -3.0, math.nan]), min_size=count, max_size=count))
    classes = data.draw(st.lists(st.sampled_from([0, 1, 2, 3, None]), min_size=count, max_size=count))
    table = labeled_table(values, classes, tuple(data.draw(st.lists(st.integers(0, count), max_size=3))))
    halves = SampleSet(table.digests[: known // 2]), SampleSet(table.digests[known // 2 : known])
    asked = request(table, size, table.digests[known:], labeled=halves[0], in_flight=halves[1])
    selection = Balanced(SCORE).select(asked)
    rows = rows_of(table, selection.digests)
    order = keyed_rows(table, asked)
    expected = in_turns(values, classes, known, order, size)
    assert rows[: len(expected)] == expected
    assert len(rows) == len(set(rows)) == min(size, count - known)
    undefined = sum(classes[r] is None or math.isnan(values[r]) for r in range(known, count))
    assert selection.non_finite == undefined


def test_a_rare_class_is_asked_first_among_equals() -> None:
    table = labeled_table([9.0, 8.0, 7.0, 1.0, 0.5], [0, 0, 0, 1, 1])
    assert rows_of(table, Balanced(SCORE).select(request(table, 4)).digests) == [0, 3, 1, 4]
    known = SampleSet(table.digests[:1])
    asked = request(table, 3, table.digests[1:], labeled=known)
    assert rows_of(table, Balanced(SCORE).select(asked).digests) == [3, 1, 4]
