"""How many images are scored at once: found from the memory limit, recorded, and halved when memory runs out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from workspaces import ask

from dalcli.gradients.engine import GradientEngine
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


def run_out_of_memory(monkeypatch: pytest.MonkeyPatch, most: int, error: Exception) -> list[int]:
    """The engine takes at most ``most`` images at once; returns the sizes it was asked for."""
    sizes: list[int] = []
    score, labeled = GradientEngine.score, GradientEngine.labeled_gradient

    def checked(count: int) -> None:
        sizes.append(count)
        if count > most:
            raise error

    def limited_score(self: GradientEngine, inputs: torch.Tensor, *rest: Any, **named: Any) -> Any:
        checked(len(inputs))
        return score(self, inputs, *rest, **named)

    def limited_labeled(self: GradientEngine, batches: Any, **named: Any) -> Any:
        def watched() -> Any:
            for inputs, labels in batches:
                checked(len(inputs))
                yield inputs, labels

        return labeled(self, watched(), **named)

    monkeypatch.setattr(GradientEngine, "score", limited_score)
    monkeypatch.setattr(GradientEngine, "labeled_gradient", limited_labeled)
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
    sizes = run_out_of_memory(monkeypatch, 128, GPU_ERROR)
    trained.ok("score", "--full")
    assert (recorded(trained), max(sizes), sum(sizes)) == (before, before, 16)


@pytest.mark.parametrize("error", [GPU_ERROR, CPU_ERROR, MemoryError()], ids=["gpu", "cpu", "python"])
@pytest.mark.parametrize("most", [3, 1])
def test_out_of_memory_halves_the_batch_and_goes_on(
    trained: SmallPool, scored: SmallPool, monkeypatch: pytest.MonkeyPatch, error: Exception, most: int
) -> None:
    sizes = run_out_of_memory(monkeypatch, most, error)
    outcome = trained.ok("score", "--full")
    assert "out of memory with 4 images at once: going on with 2" in outcome.err
    assert [size for size in sizes if size > most] == ([4] if most == 3 else [4, 2]), "what failed is not tried again"
    assert recorded(trained) == 4
    monkeypatch.undo()
    assert_close(trained, scored)


def test_running_out_only_later_keeps_what_was_scored(
    trained: SmallPool, scored: SmallPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained.configure(scoring={"batch_size": 8})
    score, calls = GradientEngine.score, []

    def failing(self: GradientEngine, inputs: torch.Tensor, *rest: Any) -> Any:
        calls.append(len(inputs))
        if len(calls) == 3:
            raise GPU_ERROR
        return score(self, inputs, *rest)

    monkeypatch.setattr(GradientEngine, "score", failing)
    trained.ok("score", "--full")
    assert calls[:5] == [8, 8, 8, 4, 4]
    monkeypatch.undo()
    assert_close(trained, scored)


def test_memory_for_not_even_one_image_is_an_error(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    run_out_of_memory(monkeypatch, 0, CPU_ERROR)
    outcome = trained.run("score", "--full")
    assert outcome.code == 1
    assert "ran out of memory on cpu with a single image" in outcome.err
    assert "data.image_size" in outcome.err


def test_other_errors_are_not_taken_for_it(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    run_out_of_memory(monkeypatch, 0, RuntimeError("something else"))
    assert trained.run("score", "--full").code == 70
