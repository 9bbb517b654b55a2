"""How many images are scored at once: found from the memory limit, recorded, and halved when memory runs out."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from workspaces import ask

from dalcli.gradients import engine
from dalcli.gradients.scoring_pass import ScoringPass
from tests.small_pools import SmallPool

GPU_ERROR = torch.cuda.OutOfMemoryError("CUDA out of memory")
CPU_ERROR = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12")


def recorded(pool: SmallPool) -> int:
    ((micro_batch,),) = ask(pool.root, "SELECT micro_batch FROM score_table")
    assert isinstance(micro_batch, int)
    return micro_batch


def assert_close(pool: SmallPool, reference: SmallPool) -> None:
    """Equal but for float rounding."""
    found, expected = pool.scores(), reference.scores()
    assert found.keys() == expected.keys()
    norm = reference.json("score", "--full")["labeled_gradient_norm"]
    for sample, columns in expected.items():
        length = float(columns["grad_sq_norm"]) ** 0.5
        assert found[sample]["grad_sq_norm"] == pytest.approx(columns["grad_sq_norm"], rel=1e-5)
        assert abs(found[sample]["grad_inner"] - columns["grad_inner"]) <= 1e-5 * length * norm
        assert found[sample]["probabilities"] == pytest.approx(columns["probabilities"], rel=1e-5, abs=1e-7)


def run_out_of_memory(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], bool], error: Exception) -> list[int]:
    """Passes over so many images at once fail; returns the sizes of all that were tried, those of verifications too."""
    sizes: list[int] = []
    run, labeled = ScoringPass.run, engine.labeled_gradient

    def checked(count: int) -> None:
        sizes.append(count)
        if fails(count):
            raise error

    def limited_run(self: ScoringPass, inputs: torch.Tensor, *rest: Any, **named: Any) -> Any:
        checked(len(inputs))
        return run(self, inputs, *rest, **named)

    def limited_labeled(model: Any, parameters: Any, inputs: torch.Tensor, labels: torch.Tensor) -> Any:
        checked(len(inputs))
        return labeled(model, parameters, inputs, labels)

    monkeypatch.setattr(ScoringPass, "run", limited_run)
    monkeypatch.setattr(engine, "labeled_gradient", limited_labeled)
    return sizes


def test_the_batch_size_follows_the_memory_limit(trained: SmallPool, scored: SmallPool) -> None:
    found = {}
    for limit in ("1MB", "2MB", "2GiB"):
        trained.configure(scoring={"batch_size": "auto", "memory_limit": limit})
        found[limit] = trained.json("score", "--full", "--dry-run")["micro_batch"]
    assert found["1MB"] < found["2MB"] < found["2GiB"] == 128
    assert 2 * found["1MB"] == found["2MB"]
    trained.configure(scoring={"batch_size": "auto", "memory_limit": "1MB"})
    trained.ok("score", "--full")
    assert recorded(trained) == found["1MB"]
    assert_close(trained, scored)


def test_a_table_begun_with_one_limit_is_ended_with_its_batch_size(
    trained: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.configure(scoring={"batch_size": "auto", "memory_limit": "1MB", "shard_size": 16})
    trained.ok("score", "--full")
    before = recorded(trained)
    assert before < 16
    (trained.root / ".dalcli" / "scores" / "m-0001" / "shard-00001.safetensors").unlink()
    trained.configure(scoring={"batch_size": "auto", "shard_size": 16})
    sizes = run_out_of_memory(monkeypatch, lambda count: False, GPU_ERROR)
    trained.ok("score", "--full")
    assert (recorded(trained), max(sizes), sizes.count(before)) == (before, before, 16 // before)


@pytest.mark.parametrize("error", [GPU_ERROR, CPU_ERROR, MemoryError()], ids=["gpu", "cpu", "python"])
@pytest.mark.parametrize("most", [3, 1])
def test_out_of_memory_halves_the_batch_and_goes_on(
    trained: SmallPool, scored: SmallPool, monkeypatch: pytest.MonkeyPatch, error: Exception, most: int
) -> None:
    sizes = run_out_of_memory(monkeypatch, lambda count: count > most, error)
    outcome = trained.ok("score", "--full")
    tried = most + 1  # pieces of 4, after verifications with 2
    assert f"out of memory with {tried} images at once: going on with {tried // 2}" in outcome.err
    assert [size for size in sizes if size > most] == [tried], "what failed is not tried again"
    assert recorded(trained) == 4
    monkeypatch.undo()
    assert_close(trained, scored)


def test_running_out_only_later_keeps_what_was_scored(
    trained: SmallPool, scored: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.configure(scoring={"batch_size": 8})
    eights = itertools.count(1)
    sizes = run_out_of_memory(monkeypatch, lambda count: count == 8 and next(eights) == 3, GPU_ERROR)
    trained.ok("score", "--full")
    last = len(sizes) - 1 - sizes[::-1].index(8)
    assert sizes.count(8) == 3
    assert sizes[last + 1 : last + 3] == [4, 4], "the piece that failed comes again, in halves"
    monkeypatch.undo()
    assert_close(trained, scored)


def test_memory_for_not_even_one_image_is_an_error(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    run_out_of_memory(monkeypatch, lambda count: True, CPU_ERROR)
    outcome = trained.run("score", "--full")
    assert outcome.code == 1
    assert "ran out of memory on cpu with a single image" in outcome.err
    assert "data.image_size" in outcome.err


def test_other_errors_are_not_taken_for_it(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    run_out_of_memory(monkeypatch, lambda count: True, RuntimeError("something else"))
    assert trained.run("score", "--full").code == 70
