"""Several copies of a model at once: the same scores, whatever the threads, and never a copy that is out of date."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from dalcli.gradients import engine as engine_module
from dalcli.gradients.oracle import reference_scores
from dalcli.gradients.replicas import Replica, Replicas, replica_count, spread
from tests.gradients.gradient_cases import LIMIT, check_exact, engine_for, seeded, settle


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


class _Tracked(nn.Module):
    """The identity, or a multiple; remembers the threads that it ran in."""

    threads: ClassVar[set[int]] = set()
    factor: Tensor | None = None

    def forward(self, values: Tensor) -> Tensor:
        self.threads.add(threading.get_ident())
        return values if self.factor is None else values * self.factor


def small() -> nn.Sequential:
    torch.manual_seed(0)
    parts = (nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), _Tracked())
    model = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    settle(model)
    return model


def images(count: int) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=seeded())


def test_samples_are_scored_in_several_threads_and_exactly() -> None:
    _Tracked.threads.clear()
    engine = check_exact(small(), images(9), head="6")
    assert not engine.notes
    assert _Tracked.threads - {threading.get_ident()}


def test_threads_get_their_share_and_torch_keeps_its_number() -> None:
    replicas = [Replica.of(nn.Identity(), None)] * 2
    found = spread(replicas, range(5), lambda replica, item: (item, torch.get_num_threads(), torch.is_grad_enabled()))
    assert found == [(item, 2, True) for item in range(5)]
    assert torch.get_num_threads() == 4
    with ThreadPoolExecutor(1) as later:  # a thread to come starts from the number that was set last
        assert later.submit(torch.get_num_threads).result() == 4


def test_an_error_in_one_replica_reaches_the_caller_after_all_have_stopped() -> None:
    busy: list[int] = []

    def work(replica: Replica, item: int) -> None:
        busy.append(item)
        try:
            if item == 1:
                raise ArithmeticError("broken")
        finally:
            busy.remove(item)

    with pytest.raises(ArithmeticError, match="broken"):
        spread([Replica.of(nn.Identity(), None)] * 2, range(6), work)
    assert not busy
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("change", ["weight", "flag", "buffer", "another buffer", "loose tensor", "hook"])
def test_copies_follow_the_model(change: str) -> None:
    model, inputs = small(), images(6)
    model[3].factor = torch.tensor(1.0)
    engine = engine_for(model)
    engine.score(inputs, None)
    with torch.no_grad():
        if change == "weight":
            model[0].weight.mul_(3)
        elif change == "buffer":
            model[1].running_mean.add_(1)
        elif change == "another buffer":
            model[1].running_mean = model[1].running_mean + 1
        elif change == "loose tensor":
            model[3].factor.mul_(3)
        elif change == "hook":
            model[2].register_forward_hook(lambda module, arguments, values: 3 * values)
        else:
            model[1].eps = 10.0
    found = engine.score(inputs, None).sq_norm
    torch.testing.assert_close(found, reference_scores(model, inputs, None).sq_norm, rtol=1e-4, atol=0)


def test_copies_share_weights_and_keep_modes_flags_and_hooks_of_their_own() -> None:
    model = small().train()
    model[6].weight.requires_grad_(False)
    first, second = Replicas(model, "6").copies(2)
    assert first.head is first.model[6]
    assert not first.model.training
    assert model.training
    for name, parameter in model.named_parameters():
        copies = [replica.parameters[name] for replica in (first, second)]
        assert all(torch.equal(copy, parameter) and copy is not parameter for copy in copies)
        assert all(copy.requires_grad == parameter.requires_grad for copy in copies)
        assert copies[0].data_ptr() == copies[1].data_ptr()
    assert first.parameters["0.weight"].is_contiguous(memory_format=torch.channels_last)
    assert model[0].weight.is_contiguous()


class _Elsewhere(nn.Module):
    """Calls its layer through a function, whose copy would still call the original."""

    def __init__(self) -> None:
        super().__init__()
        layer = self.layer = nn.Linear(5, 4)

        def call(values: Tensor) -> Tensor:
            result: Tensor = layer(values)
            return result

        self.call = call

    def forward(self, values: Tensor) -> Tensor:
        return self.call(values)


class _Uncopyable(nn.Linear):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise RuntimeError("one of a kind")


@pytest.mark.parametrize("first", [_Elsewhere, lambda: _Uncopyable(5, 4)])
def test_models_that_cannot_be_copied_are_scored_as_they_are(first: Callable[[], nn.Module]) -> None:
    torch.manual_seed(1)
    model, inputs = nn.Sequential(first(), nn.Tanh(), nn.Linear(4, 3)).double(), torch.randn(6, 5).double()
    engine = engine_for(model)
    found = engine.score(inputs, None).sq_norm
    for sample, norm in zip(inputs, found, strict=True):
        logits = model(sample[None])
        loss = nn.functional.cross_entropy(logits, logits.argmax(1))
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        expected = sum(float(gradient.square().sum()) for gradient in gradients)
        assert float(norm) == pytest.approx(expected, rel=1e-9)
    assert set(engine.coverage().values()) == {"rule: LinearRule"}
    assert not engine.notes
    assert engine._replicas.refused


def test_no_more_lanes_than_fit_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(device: torch.device, samples: int) -> int:
        asked.append(samples)
        return replica_count(device, samples)

    monkeypatch.setattr(engine_module, "replica_count", counted)
    model = small()
    engine_for(model, limit=1).score(images(8), None)
    generous = engine_for(model)
    generous.score(images(8), None)
    assert asked == [1, 8]
    assert generous.samples_at_once(images(1)) > 1000
    assert replica_count(torch.device("cpu"), 8) == 4
    assert replica_count(torch.device("meta"), 8) == 1
    assert LIMIT > 2**20
