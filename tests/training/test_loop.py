"""Training: learns, stops for the right reason, survives odd sizes, and depends on its seed alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from training_runs import STATS, RecordingFeedback, build, run, same_weights, striped

from dalcli.data.pixels import ArrayPixels
from dalcli.errors import DalcliError, NotReadyError
from dalcli.models.checkpoint import load_model, save_model
from dalcli.training.batches import TrainingData


def float64_inputs(data: TrainingData) -> tuple[torch.Tensor, torch.Tensor]:
    images = (data.pixels.read(np.arange(len(data.labels))) / 255 - 0.5) / 0.25
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(data.labels)


@pytest.mark.parametrize(
    ("optimizer", "schedule", "rates"),
    [
        ("adam", "constant", [0.01, 0.01, 0.01]),
        ("adamw", "cosine", [0.01, 0.0075, 0.0025]),
        ("sgd", "step", [0.01, 0.01, 0.001]),
    ],
)
def test_full_batches_give_the_weights_of_a_plain_float64_loop(
    optimizer: str, schedule: str, rates: list[float]
) -> None:
    data, model, plain = striped(20), build(), build().double()
    options = {"lr": 0.01, "weight_decay": 0.1} | ({"momentum": 0.5} if optimizer == "sgd" else {})
    oracle = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer](
        plain.parameters(), **options
    )
    inputs, targets = float64_inputs(data)
    losses = []
    for rate in rates:
        oracle.param_groups[0]["lr"] = rate
        oracle.zero_grad()
        loss = nn.functional.cross_entropy(plain(inputs), targets)
        loss.backward()
        oracle.step()
        losses.append(float(loss.detach()))
    result = run(
        model,
        data,
        optimizer=optimizer,
        schedule=schedule,
        learning_rate=0.01,
        weight_decay=0.1,
        momentum=0.5,
        batch_size=64,
        max_epochs=3,
    )
    assert [record.batch_loss for record in result.history] == pytest.approx(losses, rel=1e-4)
    assert [record.learning_rate for record in result.history] == pytest.approx(rates)
    for got, expected in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-3, atol=2e-4)
    with torch.no_grad():
        logits = plain(inputs)
    assert result.train_loss == pytest.approx(float(nn.functional.cross_entropy(logits, targets)), rel=1e-3)
    assert result.train_accuracy == float((logits.argmax(1) == targets).double().mean())


def test_it_converges_holds_and_reports() -> None:
    feedback = RecordingFeedback()
    result = run(
        build(),
        striped(60),
        max_epochs=60,
        learning_rate=0.01,
        hold_epochs=3,
        accuracy_threshold=0.99,
        feedback=feedback,
    )
    assert (result.converged, result.stopped) == (True, "converged")
    accuracies = [record.train_accuracy for record in result.history]
    assert min(accuracies[-3:]) >= 0.99
    assert all(min(accuracies[end - 3 : end]) < 0.99 for end in range(3, len(accuracies)))
    assert result.epochs == len(result.history) == len(feedback.steps) < 60
    assert result.train_accuracy == accuracies[-1]
    assert "accuracy 100.0%" in (feedback.steps[-1][1] or "")
    assert [record.epoch for record in result.history] == list(range(1, result.epochs + 1))
    assert result.threads == 1


def test_contradictory_labels_end_by_patience_or_by_max_epochs() -> None:
    pixels = ArrayPixels(np.zeros((4, 8, 8, 3), np.uint8))
    data = TrainingData(pixels, np.array([0, 1, 0, 1]))
    by_patience = run(build(), data, max_epochs=300, patience=5, learning_rate=0.05)
    assert (by_patience.stopped, by_patience.converged) == ("patience", False)
    losses = [record.train_loss for record in by_patience.history]
    assert min(losses[-5:]) >= min(losses[:-5]) * 0.999
    assert losses[-1] == pytest.approx(np.log(2), abs=0.01)
    assert run(build(), data, max_epochs=2).stopped == "max_epochs"


def test_min_epochs_are_done_even_when_learned_at_once() -> None:
    data = TrainingData(striped(6).pixels, np.ones(6, np.int64))
    assert run(build(), data, max_epochs=30, hold_epochs=1, min_epochs=9, learning_rate=0.05).epochs == 9


def test_accuracy_is_that_of_the_returned_model_in_eval_mode_without_augmentation() -> None:
    data, model = striped(50), build("resnet18", dropout=0.5)
    result = run(model, data, augmentation="crop-flip", max_epochs=2)
    inputs, targets = float64_inputs(data)
    with torch.no_grad():
        logits = model.double().eval()(inputs)
    assert result.train_accuracy == float((logits.argmax(1) == targets).double().mean())
    assert result.train_loss == pytest.approx(float(nn.functional.cross_entropy(logits, targets)), rel=1e-4)


class RecordingDropout(nn.Dropout):
    """Dropout that keeps its masks."""

    def __init__(self) -> None:
        super().__init__(0.5)
        self.masks: list[torch.Tensor] = []

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.masks.append(super().forward(torch.ones_like(features)))
        return features


def test_dropout_acts_in_training_only_and_anew_in_every_epoch() -> None:
    model = build()
    dropout = RecordingDropout()
    model.dropout = dropout
    run(
        model.eval(), striped(20), batch_size=64, max_epochs=3
    )  # a model that comes in eval mode is trained all the same
    first, second, third = dropout.masks
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


@pytest.mark.parametrize(("count", "batch_size"), [(1, 64), (65, 64), (3, 2), (4, 1), (2, 64)])
def test_lone_images_do_not_crash_batchnorm_at_one_position(count: int, batch_size: int) -> None:
    model = build("resnet18", side=1)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = run(model, striped(count, side=1), batch_size=batch_size, max_epochs=2)
    assert result.epochs == 2
    state = model.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert not torch.equal(state["bn1.weight"], start["bn1.weight"])  # it trains all the same
    # batches of one image leave running statistics alone; others move them
    assert torch.equal(state["bn1.running_mean"], start["bn1.running_mean"]) == (count == 1 or batch_size == 1)
    assert all(module.training for module in model.modules())


def test_one_class_only() -> None:
    data = TrainingData(striped(5).pixels, np.zeros(5, np.int64))
    result = run(build(classes=1), data, max_epochs=9, hold_epochs=2)
    assert (result.stopped, result.epochs, result.train_loss) == ("converged", 2, 0.0)


def test_no_labels_say_which_command_to_run() -> None:
    data = TrainingData(ArrayPixels(np.zeros((0, 8, 8, 3), np.uint8)), np.zeros(0, np.int64))
    with pytest.raises(NotReadyError) as caught:
        run(build(), data)
    assert "ingest-labels" in (caught.value.remedy or "")


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
def test_the_result_depends_on_seed_and_version_and_not_on_global_generators(name: str) -> None:
    data = striped(40)

    def trained(seed: int, version: str, global_seed: int) -> nn.Module:
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002  # the generator that must not matter
        state = torch.get_rng_state()
        model = build(name, dropout=0.3)
        run(model, data, seed=seed, version=version, max_epochs=2, augmentation="crop-flip")
        assert torch.equal(torch.get_rng_state(), state)
        return model

    first = trained(1, "v1", 1)
    assert same_weights(first, trained(1, "v1", 2))
    assert not same_weights(first, trained(2, "v1", 1))
    assert not same_weights(first, trained(1, "v2", 1))


def test_a_saved_model_predicts_what_the_trained_one_did(tmp_path: Path) -> None:
    data, model, other = striped(20), build("resnet18"), build("resnet18")
    run(model, data, max_epochs=1)
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    load_model(path, other)
    images = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(model.eval()(images), other.eval()(images))


def test_divergence_is_an_error_with_a_remedy_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "optimizer.safetensors"
    run(build(), striped(20), checkpoint=path, max_epochs=1, learning_rate=1e-3)
    before = path.read_bytes()
    with pytest.raises(DalcliError, match=r"diverged: the loss is .* in epoch") as caught:
        run(build(), striped(20), checkpoint=path, fingerprint="other", optimizer="sgd", learning_rate=1e30)
    assert "training.learning_rate" in (caught.value.remedy or "")
    assert path.read_bytes() == before


class OutOfMemory(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")


def test_too_little_memory_names_a_smaller_batch() -> None:
    with pytest.raises(DalcliError, match="ran out of memory on cpu") as caught:
        run(OutOfMemory(), striped(20), batch_size=16)
    assert "training.batch_size: 8" in (caught.value.remedy or "")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("mixed_precision", ["auto", "off"])
def test_gpus_learn_the_same_thing(mixed_precision: str) -> None:
    from dalcli.config.training import TrainingConfig
    from dalcli.feedback import SilentFeedback
    from dalcli.training.loop import fit

    weights = []
    for _ in range(2):
        model = build("resnet18")
        result = fit(
            model,
            striped(60),
            TrainingConfig(max_epochs=40, mixed_precision=mixed_precision),  # type: ignore[arg-type]
            stats=STATS,
            seed=1,
            version="v1",
            device=torch.device("cuda"),
            threads=None,
            checkpoint=None,
            feedback=SilentFeedback(),
            fingerprint="f",
        )
        assert result.converged
        weights.append(model)
    assert same_weights(*weights)
