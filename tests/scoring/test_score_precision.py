"""``scoring.precision``: another table for other arithmetic, and none for hardware that lacks it."""

from __future__ import annotations

import pytest

from tests.small_pools import SmallPool


def test_bfloat16_scores_again_and_float32_afterwards_restores_the_exact_scores(trained: SmallPool) -> None:
    trained.ok("score", "--full")
    exact = trained.scores()
    trained.configure(scoring={"precision": "bfloat16"})
    trained.ok("score", "--full")
    rough = trained.scores()
    assert rough.keys() == exact.keys()
    assert any(rough[sample]["grad_sq_norm"] != exact[sample]["grad_sq_norm"] for sample in exact)
    for sample, columns in exact.items():
        assert rough[sample]["grad_sq_norm"] == pytest.approx(columns["grad_sq_norm"], rel=0.3)
    trained.configure(scoring={"precision": "float32"})
    trained.ok("score", "--full")
    for sample, columns in trained.scores().items():
        assert columns["grad_sq_norm"] == pytest.approx(exact[sample]["grad_sq_norm"], rel=1e-6)


def test_tf32_on_a_processor_is_bad_input(trained: SmallPool) -> None:
    trained.configure(scoring={"precision": "tf32"})
    outcome = trained.run("score", "--full")
    assert outcome.code == 3
    assert "scoring.precision: tf32 needs an NVIDIA GPU; on cpu use float32 or bfloat16" in outcome.err
