"""Learning rates, optimizers, stopping, precision and devices."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn, optim
from training_runs import RecordingFeedback

from dalcli.config.training import TrainingConfig
from dalcli.errors import BadInputError
from dalcli.models.meta import EpochRecord
from dalcli.runtime.device import reproducible, resolve_device, set_threads
from dalcli.training.optimizers import learning_rate, make_optimizer
from dalcli.training.precision import choose_precision
from dalcli.training.stopping import stop_reason


def scheduled(schedule: str, epochs: int) -> list[float]:
    settings = TrainingConfig(schedule=schedule, learning_rate=0.4, max_epochs=epochs)  # type: ignore[arg-type]
    return [learning_rate(settings, epoch) for epoch in range(1, epochs + 1)]


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("epochs", [1, 4, 17])
def test_cosine_and_step_are_torchs_schedules(epochs: int) -> None:
    def torchs(make: type[optim.lr_scheduler.LRScheduler], **options: object) -> list[float]:
        optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
        scheduler = make(optimizer, **options)
        rates = []
        for _ in range(epochs):
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step()
        return rates

    assert scheduled("cosine", epochs) == pytest.approx(torchs(optim.lr_scheduler.CosineAnnealingLR, T_max=epochs))
    milestones = [math.ceil(epochs / 2), math.ceil(epochs * 3 / 4)]
    assert scheduled("step", epochs) == pytest.approx(
        torchs(optim.lr_scheduler.MultiStepLR, milestones=milestones) if epochs > 1 else [0.4]
    )
    assert scheduled("constant", epochs) == [0.4] * epochs


@pytest.mark.parametrize(("name", "kind"), [("adam", optim.Adam), ("adamw", optim.AdamW), ("sgd", optim.SGD)])
def test_optimizers_take_their_settings_and_skip_frozen_parameters(name: str, kind: type) -> None:
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    settings = TrainingConfig(optimizer=name, learning_rate=0.3, weight_decay=0.2, momentum=0.7)  # type: ignore[arg-type]
    optimizer = make_optimizer(model, settings)
    group = optimizer.param_groups[0]
    assert type(optimizer) is kind
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.3, 0.2, 1)
    assert group.get("momentum", 0.7) == 0.7
    with pytest.raises(BadInputError, match="no trainable parameters"):
        make_optimizer(model.requires_grad_(False), settings)


def history(*epochs: tuple[float, float]) -> list[EpochRecord]:
    return [EpochRecord(n, 1e-3, 0.0, loss, accuracy) for n, (loss, accuracy) in enumerate(epochs, start=1)]


def test_stopping_agrees_with_a_literal_reading_of_the_config_keys() -> None:
    settings = TrainingConfig(
        max_epochs=6, min_epochs=3, hold_epochs=2, patience=3, accuracy_threshold=0.9, learning_rate=1
    )
    reasons = set()
    for accuracies in itertools.product([0.5, 0.9, 1.0], repeat=6):
        losses = [1 - 0.1 * n if accuracy > 0.5 else 2.0 for n, accuracy in enumerate(accuracies)]
        held, best, since, expected = 0, math.inf, 0, None
        for n, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), start=1):
            assert stop_reason(history(*zip(losses[: n - 1], accuracies[: n - 1], strict=True)), settings) is None
            held = held + 1 if accuracy >= 0.9 else 0
            best, since = (loss, 0) if loss < best else (best, since + 1)
            if held >= 2 and n >= 3:
                expected = "converged"
            elif n == 6:
                expected = "max_epochs"
            elif since >= 3:
                expected = "patience"
            if expected:
                assert stop_reason(history(*zip(losses[:n], accuracies[:n], strict=True)), settings) == expected
                break
        reasons.add(expected)
    assert reasons == {"converged", "max_epochs", "patience"}


def test_slow_progress_adds_up_and_rounding_errors_do_not() -> None:
    settings = TrainingConfig(max_epochs=1000, patience=10)
    slow = [(0.9998**epoch, 0.5) for epoch in range(200)]
    assert stop_reason(history(*slow), settings) is None
    stuck = [(math.log(2) - 1e-9 * epoch, 0.5) for epoch in range(11)]
    assert stop_reason(history(*stuck[:10]), settings) is None
    assert stop_reason(history(*stuck), settings) == "patience"


def test_mixed_precision_stays_off_on_a_processor() -> None:
    feedback = RecordingFeedback()
    for setting in ("auto", "off"):
        assert choose_precision(setting, torch.device("cpu"), feedback).dtype is None  # type: ignore[arg-type]
    assert not feedback.warnings
    precision = choose_precision("on", torch.device("cpu"), feedback)
    assert "needs a CUDA GPU" in feedback.warnings[0]
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_auto_prefers_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["cuda", "cuda:7", "mps"])
def test_absent_devices_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: name == "cuda:7")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(BadInputError, match=f"device: {name} is not available"):
        resolve_device(name)
    assert resolve_device("cpu") == torch.device("cpu")


def test_rules_of_computation_hold_inside_and_are_put_back() -> None:
    def rules() -> tuple[object, ...]:
        return (
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
            torch.utils.deterministic.fill_uninitialized_memory,
        )

    before = rules()
    with pytest.raises(ValueError, match="inside"), reproducible(torch.device("cpu"), before[0] + 1) as threads:  # type: ignore[operator]
        assert threads == before[0] + 1  # type: ignore[operator]
        assert rules() == (threads, True, False, False, False)
        raise ValueError("inside")
    assert rules() == before
    assert set_threads(None) == before[0]
