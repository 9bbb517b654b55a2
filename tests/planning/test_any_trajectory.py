"""Whatever was measured, ``plan`` gives a plan or a reason: no exception, no NaN, no falling band."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

from dalcli_runner import ok
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from planned_workspaces import planned

RANGE = ("p10", "p50", "p90")
CONFIG = "costs:\n  price_per_vote: 1\n  price_per_round: 3\n  labels_per_day: 7\n  penalty_for_missing_target: 500\n"


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rounds=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 1)), min_size=1, max_size=7),
    evaluated=st.integers(2, 50),
    target=st.floats(0.01, 0.999),
    spare=st.integers(0, 200),
    metric=st.sampled_from(["accuracy", "macro", "recall:dog", "error"]),
)
def test_any_trajectory(
    rounds: list[tuple[int, float]], evaluated: int, target: float, spare: int, metric: str
) -> None:
    sizes = [sum(more for more, _ in rounds[: position + 1]) for position in range(len(rounds))]
    with tempfile.TemporaryDirectory() as folder:
        root = planned(
            Path(folder) / "work", sizes, [value for _, value in rounds],
            pool=sizes[-1] + spare, evaluation=evaluated + 10, evaluated=evaluated, config=CONFIG,
        )  # fmt: skip
        options = ("plan", "--target", repr(target), "--metric", metric)
        text = ok(root, *options, "--json").out.decode()
        ok(root, *options)
    found = json.loads(text, parse_constant=lambda name: (_ for _ in ()).throw(AssertionError(name)))
    assert found["verdict"] and found["reason"]
    assert bool(found["band"]) == (found["basis"]["refused"] is None)
    sign = -1 if metric == "error" else 1
    for name, other in zip(RANGE, RANGE[::-1] if sign < 0 else RANGE, strict=True):
        values = [sign * point[other] for point in found["band"]]
        assert values == sorted(values), name
        assert all(0 <= sign * value <= 1 for value in values)
    for point in found["band"]:
        assert point["p10"] <= point["p50"] <= point["p90"]
    bought = [purchase["reach"] for purchase in found["budgets"]]
    assert bought == sorted(bought), "more money never gives less"
    assert all(math.isfinite(number) for number in numbers(found))


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []
