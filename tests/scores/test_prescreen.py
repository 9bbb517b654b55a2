"""Who gets exact scores: decided by content alone, kept whole, and always on the safe side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_proxy import features, residuals

from dalcli.scores import prescreen
from dalcli.scores.columns import Screened
from dalcli.scores.delta import delta
from dalcli.scores.prescreen import CONTROL_SHARE, Prescreen, calibration_size, decide, drawn, is_control


def digests(rows: int, seed: int = 9) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (rows, 16), dtype=np.uint8)


def decision(fraction: float = 0.2, gamma: float = 2.0, rows: int = 200) -> Prescreen:
    q, h = residuals(rows), features(rows)
    known = {"grad_sq_norm": (q**2).sum(1) * ((h**2).sum(1) + 1), "grad_inner": q[:, 0] * h[:, 0]}
    return decide(fraction, gamma, 5, digests(rows), q, h, known)


@pytest.mark.parametrize("gamma", [0.0, 2.0, np.inf])
@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.7])
def test_about_the_fraction_passes_and_it_is_the_best(fraction: float, gamma: float) -> None:
    found = decision(fraction, gamma)
    q, h = residuals(5000, seed=11), features(5000, seed=12)
    exact = delta((q**2).sum(1) * ((h**2).sum(1) + 1), q[:, 0] * h[:, 0], gamma)
    codes = found.codes(digests(5000, seed=13), q, h)
    passed = codes == Screened.PROMISING
    assert passed.mean() == pytest.approx(fraction, abs=0.1)
    best = np.argsort(-exact)[: int(0.3 * fraction * 5000)]
    assert passed[best].mean() > 0.99
    control = codes == Screened.CONTROL
    np.testing.assert_array_equal(control, ~passed & is_control(5, CONTROL_SHARE, digests(5000, seed=13)))
    assert control.sum() / (~passed).sum() == pytest.approx(CONTROL_SHARE, abs=0.012)


def test_codes_depend_on_the_sample_alone() -> None:
    found, q, h, ids = decision(), residuals(300, seed=4), features(300, seed=5), digests(300, seed=6)
    whole, order = found.codes(ids, q, h), np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(found.codes(ids[order], q[order], h[order]), whole[order])
    np.testing.assert_array_equal(
        np.concatenate([found.codes(ids[i : i + 7], q[i : i + 7], h[i : i + 7]) for i in range(0, 300, 7)]), whole
    )


def test_samples_of_the_calibration_are_known_by_their_content() -> None:
    found, ids = decision(), digests(200)
    order = np.random.default_rng(1).permutation(200)
    assert set(found.codes(ids[order], residuals(200)[order], features(200)[order])) == {Screened.CALIBRATION}
    q, h = residuals(200), features(200)
    exact = (q**2).sum(1) * ((h**2).sum(1) + 1)
    np.testing.assert_array_equal(found.known["grad_sq_norm"][found.places(ids[order])], exact[order])
    assert (found.places(digests(5, seed=77)) == -1).all()


def test_an_estimate_that_is_not_a_number_is_scored_exactly() -> None:
    q, h = residuals(50, seed=3), features(50, seed=3)
    h[7] = np.nan
    assert decision(0.01).codes(digests(50, seed=2), q, h)[7] == Screened.PROMISING


def test_where_all_are_alike_all_are_scored() -> None:
    q, h = np.repeat(residuals(1), 60, 0), np.repeat(features(1), 60, 0)
    found = decide(0.1, 2.0, 5, digests(60), q, h, {"grad_sq_norm": np.ones(60), "grad_inner": np.ones(60)})
    assert (found.codes(digests(20, seed=1), q[:20], h[:20]) == Screened.PROMISING).mean() > 0.9


def test_a_tiny_fraction_leaves_the_control_sample() -> None:
    codes = decision(1e-6).codes(digests(4000, seed=8), residuals(4000, seed=8), features(4000, seed=8))
    assert (codes == Screened.PROMISING).mean() < 0.05
    assert (codes == Screened.CONTROL).sum() > 30


def test_without_a_proxy_everything_is_scored() -> None:
    q, h = residuals(40), features(40)
    found = decide(0.1, 2.0, 5, digests(40), q, h, {"grad_sq_norm": np.full(40, np.nan), "grad_inner": np.zeros(40)})
    assert found.proxy is None
    assert (found.codes(digests(9, seed=1), q[:9], h[:9]) == Screened.PROMISING).all()
    empty = np.empty(0)
    none = decide(
        0.1, 2.0, 5, digests(0), np.empty((0, 1)), np.empty((0, 1)), {"grad_sq_norm": empty, "grad_inner": empty}
    )
    assert (none.codes(digests(9, seed=1), q[:9], h[:9]) == Screened.PROMISING).all()


def test_the_threshold_lies_between_two_estimates() -> None:
    values = np.array([3.0, np.nan, 1.0, 2.0, np.inf, 0.0])
    assert prescreen._quantile(values, 0.5) == 1.5
    assert prescreen._quantile(values, 0.01) == 3.0
    assert prescreen._quantile(values, 1.0) == -np.inf
    assert prescreen._quantile(values[1:2], 0.5) == -np.inf


def test_the_control_sample_grows_with_the_pool_and_keeps_its_members() -> None:
    ids = digests(50_000)
    drawn_ones = is_control(3, 0.02, ids)
    assert drawn_ones.mean() == pytest.approx(0.02, abs=0.003)
    np.testing.assert_array_equal(is_control(3, 0.02, ids[:100]), drawn_ones[:100])
    assert is_control(3, 0.3, ids)[drawn_ones].all()
    assert (is_control(4, 0.02, ids) & drawn_ones).mean() == pytest.approx(0.0004, abs=0.0004)


def test_the_calibration_is_drawn_by_content() -> None:
    ids = digests(300)
    rows = drawn(1, ids, 40)
    assert (np.diff(rows) > 0).all()
    order = np.random.default_rng(0).permutation(300)
    assert {bytes(d) for d in ids[order][drawn(1, ids[order], 40)]} == {bytes(d) for d in ids[rows]}
    assert set(drawn(2, ids, 40)) != set(rows)


def test_small_pools_are_not_worth_it_and_large_ones_cost_little() -> None:
    assert [calibration_size(n) for n in (0, 3, 127, 128, 1000, 10_000, 10**6)] == [0, 0, 0, 32, 50, 500, 1024]


@pytest.mark.parametrize("gamma", [2.0, np.inf])
def test_a_kept_decision_decides_alike(tmp_path: Path, gamma: float) -> None:
    path, made = tmp_path / "prescreen", decision(gamma=gamma)
    prescreen.save(path, made, "settings")
    read = prescreen.load(path, "settings")
    assert read is not None
    assert (read.fraction, read.gamma, read.threshold, read.control_seed) == (0.2, gamma, made.threshold, 5)
    q, h, ids = residuals(500, seed=4), features(500, seed=5), digests(500, seed=6)
    np.testing.assert_array_equal(read.codes(ids, q, h), made.codes(ids, q, h))
    np.testing.assert_array_equal(read.known["grad_inner"], made.known["grad_inner"])
    prescreen.save(path, replace(made, proxy=None, threshold=-np.inf), "settings")
    again = prescreen.load(path, "settings")
    assert again is not None
    assert again.proxy is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["prescreen"]


def test_a_decision_for_other_settings_or_a_damaged_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "prescreen"
    assert prescreen.load(path, "settings") is None
    prescreen.save(path, decision(), "settings")
    assert prescreen.load(path, "others") is None
    data = path.read_bytes()
    for position in (9, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert prescreen.load(path, "settings") is None
    path.write_bytes(data[: len(data) // 2])
    assert prescreen.load(path, "settings") is None
