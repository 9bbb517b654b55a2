"""Where memory runs out, half as many samples run at once from then on; what was computed is kept, and counts once."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from dalcli.errors import DalcliError
from dalcli.gradients import memory
from dalcli.gradients.cross_entropy import GradientSum
from dalcli.gradients.dropout import DropoutSampler, DropoutSpec
from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.pieces import Halving
from dalcli.gradients.sketch import SketchSpec, sketch_error
from tests.gradients.gradient_cases import engine_for, seeded, settle

GPU_ERROR = torch.cuda.OutOfMemoryError("CUDA out of memory")
CPU_ERROR = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12")
ERRORS = pytest.mark.parametrize("error", [GPU_ERROR, CPU_ERROR, MemoryError()], ids=["gpu", "cpu", "python"])


class Room(nn.Module):
    """The identity, for at most ``most`` samples at once; remembers how many came."""

    def __init__(self, most: int, error: Exception = CPU_ERROR, backward: bool = False) -> None:
        super().__init__()
        self.most, self.error, self.backward = most, error, backward
        self.sizes: list[int] = []

    def check(self, count: int) -> None:
        self.sizes.append(count)
        if count > self.most:
            raise self.error

    def forward(self, values: Tensor) -> Tensor:
        if not self.backward or not values.requires_grad:
            self.check(len(values))
            return values
        values = values.clone()
        values.register_hook(lambda gradient: self.check(len(gradient)))
        return values

    def __deepcopy__(self, memo: dict[int, object]) -> Room:
        return self  # all replicas share one memory


def model_with(room: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), room, nn.Dropout(0.5), nn.Linear(6, 3)).eval()


def samples(count: int) -> Tensor:
    return torch.randn(count, 5, generator=seeded())


def notes_of(*sizes: int) -> list[str]:
    return [f"out of memory with {size} images at once: going on with {size // 2}" for size in sizes]


def roomy() -> GradientEngine:
    """Everything at once."""
    return engine_for(model_with(nn.Identity()))


def direction() -> dict[str, Tensor]:
    return {
        name: torch.randn(value.shape, generator=seeded(1))
        for name, value in model_with(nn.Identity()).named_parameters()
    }


@ERRORS
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_scores_are_the_same_and_the_piece_is_halved_until_it_fits(error: Exception, backward: bool) -> None:
    room = Room(3, error, backward)
    engine = engine_for(model_with(room))
    found, expected = engine.score(samples(12), direction()), roomy().score(samples(12), direction())
    for column in ("sq_norm", "inner", "probabilities", "pseudo_label", "features"):
        torch.testing.assert_close(getattr(found, column), getattr(expected, column), rtol=1e-5, atol=1e-6)
    assert engine.notes == notes_of(12, 6)
    assert [size for size in room.sizes if size > 3] == [12, 6], "what failed is not tried again"
    room.sizes.clear()
    engine.score(samples(12), direction())
    assert max(room.sizes) == 3, "the engine remembers"
    assert engine.notes == notes_of(12, 6)


@ERRORS
def test_predictions_are_halved_too(error: Exception) -> None:
    engine = engine_for(model_with(Room(5, error)))
    found, expected = engine.predict(samples(11)), roomy().predict(samples(11))
    torch.testing.assert_close(found.probabilities, expected.probabilities)
    torch.testing.assert_close(found.features, expected.features)
    assert engine.notes == notes_of(11)


@ERRORS
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def test_every_sample_counts_once_in_the_labeled_gradient(error: Exception, backward: bool) -> None:
    labels = torch.arange(13) % 3
    batches = [(samples(13)[:4], labels[:4]), (samples(13)[4:], labels[4:])]
    engine = engine_for(model_with(Room(4, error, backward)))
    found, expected = engine.labeled_gradient(batches), roomy().labeled_gradient(batches)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6)
    assert engine.notes == notes_of(9)


def test_a_labeled_gradient_that_cannot_be_added_is_not_added_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a piece's parameters may be in the sum already: to go on would be wrong."""
    added: list[str] = []

    def half(self: GradientSum, total: dict[str, Tensor]) -> None:
        added.append(next(iter(self.gradients)))
        raise CPU_ERROR

    monkeypatch.setattr(GradientSum, "add_to", half)
    with pytest.raises(DalcliError, match="ran out of memory on cpu"):
        roomy().labeled_gradient([(samples(4), torch.zeros(4, dtype=torch.int64))])
    assert len(added) == 1


@ERRORS
def test_samples_under_dropout_are_halved_too(error: Exception) -> None:
    spec = DropoutSpec(seed=1, passes=3)
    sampler = DropoutSampler(model_with(Room(2, error)), spec, head=None)
    expected = DropoutSampler(model_with(nn.Identity()), spec, head=None).sample(samples(7)).probabilities
    torch.testing.assert_close(sampler.sample(samples(7)).probabilities, expected, rtol=0, atol=1e-3)
    assert sampler.notes == notes_of(7, 3)


def test_the_error_of_sketches_is_measured_with_less_memory_too() -> None:
    spec = SketchSpec(0, 64)
    engine = engine_for(model_with(Room(2)))
    found = sketch_error(engine, samples(5), spec, direction())
    expected = sketch_error(roomy(), samples(5), spec, direction())
    assert found.samples == 5
    assert found.norm_rms == pytest.approx(expected.norm_rms, rel=1e-4)
    assert found.inner_rms == pytest.approx(expected.inner_rms, rel=1e-4)
    assert engine.notes == notes_of(5)


def test_one_sample_at_a_time_is_enough_for_the_verification() -> None:
    engine = engine_for(model_with(Room(1)))
    found, expected = engine.score(samples(5), None).sq_norm, roomy().score(samples(5), None).sq_norm
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert engine.notes == notes_of(2)
    assert set(engine.coverage().values()) == {"rule: LinearRule"}


def test_a_rule_is_not_blamed_for_a_lack_of_memory() -> None:
    """Where calls are intercepted, any other failure gives up the interception."""
    torch.manual_seed(0)

    class Shifted(nn.Module):
        def __init__(self, room: nn.Module) -> None:
            super().__init__()
            self.layer, self.shift, self.room = nn.Linear(5, 3), nn.Parameter(torch.randn(3)), room

        def forward(self, values: Tensor) -> Tensor:
            result: Tensor = self.room(self.layer(values)) + self.shift
            return result

    room = Room(100, backward=True)  # the model alone can run again
    engine = engine_for(Shifted(room))
    original, failed = memory.chunk_bytes, iter([True])

    def failing(*arguments: object) -> int:
        if next(failed, False):
            room.most = 1  # from the first pass on
        return original(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dalcli.gradients.scoring_pass.chunk_bytes", failing)
        engine.score(samples(4), None)
    assert engine.coverage()["shift"] == "rule: its use in elementwise"
    assert engine.notes == notes_of(2)


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@ERRORS
@pytest.mark.usefixtures("four_threads")
@pytest.mark.parametrize("most", [3, 1])
def test_threads_halve_what_all_of_them_hold(error: Exception, most: int) -> None:
    room = Room(most, error)
    engine = engine_for(model_with(room))
    found, expected = engine.score(samples(32), None).sq_norm, roomy().score(samples(32), None).sq_norm
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    assert engine.notes == (notes_of(32, 16) if most == 3 else notes_of(2))
    room.sizes.clear()
    engine.score(samples(32), None)
    assert max(room.sizes) <= most


@ERRORS
def test_too_little_for_one_sample_is_an_error_with_a_remedy(error: Exception) -> None:
    with pytest.raises(DalcliError, match="scoring ran out of memory on cpu with a single image") as caught:
        engine_for(model_with(Room(0, error))).score(samples(5), None)
    assert "data.image_size" in (caught.value.remedy or "")
    with pytest.raises(DalcliError, match="with a single image"):
        engine_for(model_with(Room(0, error))).labeled_gradient([(samples(2), torch.tensor([0, 1]))])
    with pytest.raises(DalcliError, match="with a single image"):
        engine_for(model_with(Room(0, error))).samples_at_once(samples(1))
    with pytest.raises(DalcliError, match="with a single image"):
        DropoutSampler(model_with(Room(0, error)), DropoutSpec(0, 2), head=None).sample(samples(2))


def test_other_errors_are_not_taken_for_it() -> None:
    engine = engine_for(model_with(Room(3, RuntimeError("something else"))))
    with pytest.raises(RuntimeError, match="something else"):
        engine.score(samples(8), None)
    assert not engine.notes


def test_the_model_is_as_it_was_after_memory_ran_out() -> None:
    model = settle(model_with(Room(3, backward=True))).train()
    engine_for(model).score(samples(8), None)
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_pieces_come_in_order_and_only_the_failed_one_comes_again() -> None:
    notes: list[str] = []
    halving, tried = Halving(notes), []

    def work(piece: slice) -> tuple[int, int]:
        tried.append((piece.start, piece.stop))
        if tried == [(0, 4), (4, 8)]:
            raise MemoryError
        return piece.start, piece.stop

    assert list(halving.map(work, samples(12), 4)) == [(0, 4), (4, 6), (6, 8), (8, 10), (10, 12)]
    assert tried == [(0, 4), (4, 8), (4, 6), (6, 8), (8, 10), (10, 12)]
    assert notes == notes_of(4)
    assert halving.capped(100) == 2


def test_what_a_failed_piece_held_is_gone_before_the_next_begins() -> None:
    """Also where the error is in a cycle with what it holds on to, as those of threads are."""
    held: list[weakref.ref[Tensor]] = []

    def work(piece: slice) -> bool:
        if held:
            return held[0]() is None
        large = torch.zeros(8)
        held.append(weakref.ref(large))
        error = MemoryError()
        error.cycle = (error, large)  # type: ignore[attr-defined]
        raise error

    assert list(Halving([]).map(work, samples(2), 2)) == [True, True]


def test_a_result_as_large_as_the_model_is_not_kept_while_the_next_is_made() -> None:
    held: list[weakref.ref[Tensor]] = []

    def work(piece: slice) -> Tensor:
        assert all(reference() is None for reference in held)
        result = torch.zeros(8)
        held.append(weakref.ref(result))
        return result

    for result in Halving([]).map(work, samples(6), 2):
        assert result is not None
        del result
    assert len(held) == 3
