"""The engine as a whole: precision, independence of batches, memory, and leaving the model as it was."""

from __future__ import annotations

import math
from collections import namedtuple

import pytest
import torch
from gradient_cases import LIMIT, check_exact, engine_for, excess, length, seeded, settle
from torch import Tensor, nn
from torch.nn import functional

from dalcli.gradients import engine as engine_module
from dalcli.gradients import memory
from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.oracle import reference_labeled_gradient, reference_scores


def small_net(classes: int = 4) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(16, classes),
        )


def images(samples: int, side: int = 8) -> Tensor:
    return torch.randn(samples, 3, side, side, generator=seeded(11))


def along(model: nn.Module) -> dict[str, Tensor]:
    generator = seeded(2)
    return {name: torch.randn(value.shape, generator=generator) for name, value in model.named_parameters()}


def overtrained() -> tuple[nn.Module, Tensor, Tensor]:
    """A network far past convergence: every sample is certain to a billionth or better."""
    model, inputs = small_net(), images(24)
    labels = torch.arange(24) % 4
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        model.train()
        model[7].eval()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    with torch.no_grad():
        model[8].weight.mul_(8)
        model[8].bias.mul_(8)
    return model, inputs, labels


def test_float32_scores_stay_within_tolerance_far_past_convergence() -> None:
    model, inputs, labels = overtrained()
    engine = engine_for(model)
    direction = engine.labeled_gradient([(inputs[:10], labels[:10]), (inputs[10:], labels[10:])])
    exact_direction = reference_labeled_gradient(model, [(inputs, labels)])
    reference = reference_scores(model, inputs, exact_direction)
    confidence = 1 - reference.probabilities.max(1).values
    assert float(confidence.median()) < 1e-9  # the case this test is about
    scores = engine.score(inputs, direction)
    assert excess(scores, reference, exact_direction) <= 1e-4
    assert bool((scores.sq_norm > 0).all())


@pytest.mark.parametrize("shift", [20.0, 40.0, 80.0])
def test_gradients_far_below_float32_keep_their_digits(shift: float) -> None:
    """At a logit gap of 80 the squared norm is near 1e-69, which float32 cannot hold."""
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    with torch.no_grad():
        model[2].bias.copy_(torch.tensor([shift, 0.0, 0.0]))
    inputs = torch.randn(4, 5, generator=seeded())
    direction = {name: 1e-20 * value for name, value in along(model).items()}
    reference = reference_scores(model, inputs, direction)
    scores = engine_for(model).score(inputs, direction)
    assert excess(scores, reference, direction) <= 1e-4
    assert float(reference.sq_norm.max()) < 1e4 * math.exp(-2 * shift)  # the case this test is about


def test_the_oracle_agrees_with_the_formula_of_a_linear_classifier() -> None:
    model = nn.Linear(3, 4).double()
    inputs = torch.randn(5, 3, generator=seeded(), dtype=torch.float64)
    q = (inputs @ model.weight.T + model.bias).softmax(1).detach()
    q[torch.arange(5), q.argmax(1)] -= 1
    direction = {name: value.double() for name, value in along(model).items()}
    reference = reference_scores(model, inputs, direction)
    torch.testing.assert_close(reference.sq_norm, q.square().sum(1) * (inputs.square().sum(1) + 1))
    expected = torch.einsum("nk,kd,nd->n", q, direction["weight"], inputs) + q @ direction["bias"]
    torch.testing.assert_close(reference.inner, expected)


def test_the_labeled_gradient_is_the_sum_for_true_labels_in_eval_mode() -> None:
    model = settle(small_net())
    inputs, labels = images(7), torch.tensor([0, 1, 2, 3, 3, 2, 0])
    found = engine_for(model).labeled_gradient([(inputs[:3], labels[:3]), (inputs[3:], labels[3:])])
    model.eval()
    functional.cross_entropy(model(inputs), labels, reduction="sum").backward()
    assert found.keys() == {name for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)


def test_scores_do_not_depend_on_batch_size_or_order() -> None:
    model = settle(small_net())
    inputs, direction = images(33), along(small_net())
    whole = engine_for(model).score(inputs, direction)
    order = torch.randperm(33, generator=seeded(4))
    shuffled = engine_for(model).score(inputs[order], direction)
    engine = engine_for(model)
    alone = [engine.score(inputs[index : index + 1], direction) for index in range(33)]
    for name in ("sq_norm", "probabilities", "features"):
        expected = getattr(whole, name)
        torch.testing.assert_close(getattr(shuffled, name), expected[order], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(torch.cat([getattr(each, name) for each in alone]), expected, rtol=1e-5, atol=1e-6)
    assert whole.inner is not None and shuffled.inner is not None
    scale = float(whole.sq_norm.sqrt().max()) * length(direction)
    torch.testing.assert_close(shuffled.inner, whole.inner[order], rtol=0, atol=1e-6 * scale)


def test_a_small_memory_limit_changes_chunks_but_not_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    model = settle(small_net())
    inputs, direction = images(20), along(small_net())
    expected = engine_for(model).score(inputs, direction)
    monkeypatch.setattr(engine_module, "replica_count", lambda device, samples: 1)
    per_sample = memory.activation_bytes(model.eval(), inputs[:1])
    engine = engine_for(model, limit=6 * per_sample)
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    scores = engine.score(inputs, direction)
    assert max(sizes) == 3
    torch.testing.assert_close(scores.sq_norm, expected.sq_norm, rtol=1e-5, atol=0)


def test_activation_bytes_counts_what_backward_keeps() -> None:
    model = nn.Sequential(nn.Linear(100, 200, bias=False), nn.Tanh(), nn.Linear(200, 5, bias=False))
    # Linear keeps its input, tanh its output (which is the next layer's input); the sample itself is counted twice.
    assert memory.activation_bytes(model, torch.randn(1, 100)) == 4 * (100 + 200) + 4 * 100


def test_without_a_direction_there_are_norms_but_no_inner_products() -> None:
    model, inputs = small_net(), images(3)
    scores = engine_for(model).score(inputs, None)
    assert scores.inner is None
    torch.testing.assert_close(scores.sq_norm, reference_scores(model, inputs, None).sq_norm, rtol=1e-4, atol=0)


def test_results_have_the_promised_shapes_and_types() -> None:
    scores = engine_for(small_net(), head="8").score(images(5), along(small_net()))
    assert scores.inner is not None
    assert (scores.sq_norm.shape, scores.sq_norm.dtype) == ((5,), torch.float64)
    assert (scores.inner.shape, scores.inner.dtype) == ((5,), torch.float64)
    assert (scores.probabilities.shape, scores.probabilities.dtype) == ((5, 4), torch.float32)
    assert (scores.pseudo_label.shape, scores.pseudo_label.dtype) == ((5,), torch.int64)
    assert (scores.features.shape, scores.features.dtype) == ((5, 16), torch.float32)
    for value in (scores.sq_norm, scores.inner, scores.probabilities, scores.features):
        assert not value.requires_grad


def test_features_are_what_the_head_reads() -> None:
    model, inputs = settle(small_net()), images(3)
    model.eval()
    with torch.no_grad():
        expected = model[:7](inputs)
        logits = model(inputs)
    torch.testing.assert_close(engine_for(model, head="8").score(inputs, None).features, expected)
    torch.testing.assert_close(engine_for(model).score(inputs, None).features, logits)


def test_features_of_a_convolutional_head_are_averaged_over_positions() -> None:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    inputs = images(2)
    expected = model[:2](inputs).mean((2, 3)).detach()
    torch.testing.assert_close(engine_for(model, head="2").score(inputs, None).features, expected)


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(AttributeError):
        engine_for(small_net(), head="nowhere")


def state_of(model: nn.Module) -> list[object]:
    return [
        *[(module.training, len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
        *[(parameter.requires_grad, parameter.grad) for parameter in model.parameters()],
        torch.backends.mha.get_fastpath_enabled(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails: bool) -> None:
    class Fragile(nn.Module):
        broken = False

        def forward(self, inputs: Tensor) -> Tensor:
            if self.broken:
                raise ArithmeticError("broken")
            return inputs

    model = nn.Sequential(small_net(), fragile := Fragile())
    model.train()
    model[0][1].eval()
    model[0][3].weight.requires_grad_(False)
    before = state_of(model)
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    engine = engine_for(model, head="0.8")
    engine.score(images(2), None)
    fragile.broken = fails
    if fails:
        with pytest.raises(ArithmeticError):
            engine.score(images(2), None)
        with pytest.raises(ArithmeticError):
            engine.labeled_gradient([(images(2), torch.tensor([0, 1]))])
    else:
        engine.labeled_gradient([(images(2), torch.tensor([0, 1]))])
    assert state_of(model) == before
    for name, value in model.named_buffers():
        assert torch.equal(value, buffers[name])


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_may_have_gradients_switched_off(mode: type) -> None:
    model = small_net()
    expected = engine_for(model).score(images(2), along(model))
    with mode():
        scores = engine_for(model).score(images(2) * 1, along(model))
    torch.testing.assert_close(scores.sq_norm, expected.sq_norm, rtol=1e-5, atol=0)
    torch.testing.assert_close(scores.inner, expected.inner, rtol=1e-5, atol=1e-6)


def test_the_direction_may_change_between_calls_even_in_place() -> None:
    model, inputs = small_net(), images(2)
    engine, direction = engine_for(model), along(small_net())
    first = engine.score(inputs, direction).inner
    assert first is not None
    for value in direction.values():
        value.mul_(3)
    torch.testing.assert_close(engine.score(inputs, direction).inner, 3 * first, rtol=1e-5, atol=1e-5)
    other = {name: -value for name, value in direction.items()}
    torch.testing.assert_close(engine.score(inputs, other).inner, -3 * first, rtol=1e-5, atol=1e-5)


def test_directions_that_do_not_fit_are_refused() -> None:
    model, inputs = small_net(), images(2)
    direction = along(model)
    with pytest.raises(ValueError, match=r"lacks the parameter 8\.bias"):
        engine_for(model).score(inputs, {name: value for name, value in direction.items() if name != "8.bias"})
    with pytest.raises(ValueError, match=r"shape \(3,\) for 8\.bias, not \(4,\)"):
        engine_for(model).score(inputs, {**direction, "8.bias": torch.zeros(3)})


def test_a_zero_direction_gives_zero() -> None:
    model = small_net()
    scores = engine_for(model).score(images(2), {name: torch.zeros_like(value) for name, value in along(model).items()})
    assert scores.inner is not None
    assert scores.inner.tolist() == [0.0, 0.0]


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to score"):
        engine_for(small_net()).score(images(0), None)
    with pytest.raises(ValueError, match="positive"):
        GradientEngine(small_net(), head=None, memory_limit_bytes=0)
    with pytest.raises(ValueError, match="logits of shape"):
        engine_for(nn.Conv2d(3, 2, 3)).score(images(2), None)
    with pytest.raises(TypeError, match="no logits"):
        engine_for(Wrapped(lambda logits: {"loss": logits.sum(), "other": 3} and "text")).score(images(2), None)


class Wrapped(nn.Module):
    """Returns its logits inside something."""

    def __init__(self, wrap) -> None:
        super().__init__()
        self.body, self.wrap = small_net(), wrap

    def forward(self, inputs: Tensor) -> object:
        return self.wrap(self.body(inputs))


Output = namedtuple("Output", ["hidden", "logits"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda logits: Output(logits * 2, logits),
        lambda logits: (logits, logits * 2),
        lambda logits: {"hidden": logits * 2, "logits": logits},
        lambda logits: {"out": logits, "aux": logits * 2},
    ],
    ids=["named tuple", "tuple", "mapping with logits", "mapping"],
)
def test_logits_are_found_in_what_models_return(wrap) -> None:
    model, inputs = Wrapped(wrap), images(3)
    found = engine_for(model).score(inputs, None)
    expected = engine_for(model.body).score(inputs, None)
    torch.testing.assert_close(found.sq_norm, expected.sq_norm, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.probabilities, expected.probabilities)


def test_a_head_alone_needs_no_backward_through_the_frozen_rest() -> None:
    class NoWayBack(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values: Tensor) -> Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx, gradient: Tensor) -> Tensor:
            raise AssertionError("backward reached the frozen layers")

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)
            self.body.requires_grad_(False)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(NoWayBack.apply(self.body(inputs)).mean((2, 3)))

    model, inputs = Body(), images(3)
    scores = engine_for(model, head="head").score(inputs, None)
    q = scores.probabilities.clone()
    q[torch.arange(3), scores.pseudo_label] -= 1
    expected = q.square().sum(1) * (scores.features.square().sum(1) + 1)
    torch.testing.assert_close(scores.sq_norm.float(), expected, rtol=1e-4, atol=0)


def test_one_class_has_no_gradient() -> None:
    scores = engine_for(nn.Linear(3, 1)).score(torch.randn(2, 3), None)
    assert scores.sq_norm.tolist() == [0.0, 0.0]


def test_a_fully_frozen_model_scores_zero() -> None:
    model = small_net().requires_grad_(False)
    engine = engine_for(model)
    scores = engine.score(images(2), {})
    assert scores.inner is not None
    assert scores.sq_norm.tolist() == scores.inner.tolist() == [0.0, 0.0]
    assert engine.labeled_gradient([(images(2), torch.tensor([0, 1]))]) == {}


def test_float64_models_are_scored_in_float64() -> None:
    check_exact(settle(small_net()), images(5), head="8", limit=LIMIT)


@pytest.mark.gpu
def test_a_gpu_gives_the_oracles_scores() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    model, inputs = settle(small_net()), images(16)
    direction = along(model)
    reference = reference_scores(model, inputs, direction)
    engine = engine_for(model.cuda(), head="8")
    scores = engine.score(inputs.cuda(), {name: value.cuda() for name, value in direction.items()})
    assert scores.sq_norm.device.type == "cuda"
    assert scores.inner is not None
    torch.testing.assert_close(scores.sq_norm.cpu(), reference.sq_norm, rtol=1e-3, atol=0)
    scale = float(reference.sq_norm.sqrt().max()) * length(direction)
    torch.testing.assert_close(scores.inner.cpu(), reference.inner, rtol=0, atol=1e-3 * scale)
