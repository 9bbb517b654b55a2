"""No parameter is left out: sharing, repeated calls, uses that nothing recognises, and models that vmap refuses."""

from __future__ import annotations

import pytest
import torch
from gradient_cases import check_exact, engine_for, fallen, ruled, seeded
from torch import Tensor, nn
from torch.nn import functional

from dalcli.gradients.oracle import reference_scores
from dalcli.gradients.rules import Contribution, LayerCall, base


def vectors(samples: int = 4, width: int = 5) -> Tensor:
    return torch.randn(samples, width, generator=seeded(1))


class Net(nn.Module):
    """Two layers with a hook for mischief between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def between(self, hidden: Tensor) -> Tensor:
        return self.middle(hidden)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.tanh(self.between(torch.tanh(self.first(inputs)))))


MIDDLE = {"middle.weight", "middle.bias"}
REST = {"first.weight", "first.bias", "head.weight", "head.bias"}


def test_a_module_called_twice_is_summed_before_squaring() -> None:
    class Twice(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return self.middle(torch.tanh(self.middle(hidden)))

    assert ruled(check_exact(Twice(), vectors())) == MIDDLE | REST


def test_a_weight_shared_by_two_modules_is_counted_once() -> None:
    class Tied(Net):
        def __init__(self) -> None:
            super().__init__()
            self.twin = nn.Linear(6, 6)
            self.twin.weight = self.middle.weight

        def between(self, hidden: Tensor) -> Tensor:
            return self.twin(torch.tanh(self.middle(hidden)))

    assert ruled(check_exact(Tied(), vectors())) == REST | MIDDLE | {"twin.bias"}


def test_a_module_whose_weight_is_also_used_directly_fails_the_self_check() -> None:
    class Direct(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return functional.linear(torch.tanh(self.middle(hidden)), self.middle.weight)

    engine = check_exact(Direct(), vectors())
    assert engine.coverage()["middle.weight"] == "rule: its use in linear"
    assert any("middle.weight" in note and "disagrees" in note for note in engine.notes)


def test_a_module_never_called_but_used_directly_is_scored_exactly() -> None:
    class Functional(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return functional.linear(hidden, self.middle.weight, self.middle.bias)

    assert ruled(check_exact(Functional(), vectors())) == MIDDLE | REST


class Summing(Net):
    """Its ``matrix`` is used in a way that no rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(6, 6, generator=seeded(9)))

    def between(self, hidden: Tensor) -> Tensor:
        return self.middle(torch.einsum("ni,ij->nj", hidden, self.matrix))


def test_parameters_used_in_unknown_ways_fall_back() -> None:
    engine = check_exact(Summing(), vectors())
    assert (fallen(engine), ruled(engine)) == ({"matrix"}, MIDDLE | REST)


def test_parameters_without_influence_count_as_zero_and_cost_no_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Auxiliary(Net):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.auxiliary = nn.Parameter(torch.randn(4)), nn.Linear(6, 3)

        def between(self, hidden: Tensor) -> Tensor:
            with torch.no_grad():
                self.last = self.auxiliary(hidden)
            return self.middle(hidden)

    engine = check_exact(Auxiliary(), vectors())
    coverage = engine.coverage()
    assert coverage["unused"] == "no influence on the logits"
    assert coverage["auxiliary.weight"].startswith(("rule", "no influence"))
    calls: list[object] = []
    monkeypatch.setattr("dalcli.gradients.fallback.Fallback.contributions", lambda *args: calls.append(args))
    engine.score(vectors().double(), None)
    assert calls == []


def test_frozen_parameters_are_skipped() -> None:
    model = Net()
    model.middle.requires_grad_(False)
    model.head.bias.requires_grad_(False)
    engine = check_exact(model, vectors())
    assert engine.coverage()["middle.weight"] == engine.coverage()["head.bias"] == "frozen"
    assert ruled(engine) == REST - {"head.bias"}


def test_data_dependent_control_flow_runs_one_sample_at_a_time_with_a_note() -> None:
    class Branching(Net):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([0.5, -2.0]))

        def between(self, hidden: Tensor) -> Tensor:
            factors = [self.scale[0] if float(row.detach().sum()) > 0 else self.scale[1] for row in hidden]
            return self.middle(hidden * torch.stack(factors)[:, None])

    engine = check_exact(Branching(), vectors(6))
    assert fallen(engine) == {"scale"}
    assert engine.coverage()["scale"].endswith("one sample at a time")
    assert any("one sample at a time" in note for note in engine.notes)


def test_experts_chosen_by_the_data_are_exact_for_every_sample() -> None:
    """The self-check sees the first samples only; later ones may take another path."""

    class Experts(Net):
        def __init__(self) -> None:
            super().__init__()
            self.other = nn.Linear(6, 6)

        def between(self, hidden: Tensor) -> Tensor:
            rows = [(self.middle if float(row[0].detach()) > 0 else self.other)(row[None]) for row in hidden]
            return torch.cat(rows)

    inputs = vectors(8)
    model = Experts().double()
    order = model.first(inputs.double())[:, 0].argsort(descending=True)
    check_exact(model, inputs[order])


def test_an_input_overwritten_after_use_is_noticed() -> None:
    """x is read by ``middle`` and then changed in place: ordinary autograd refuses it, the rule must not use it."""

    class Overwriting(Net):
        def between(self, hidden: Tensor) -> Tensor:
            hidden = hidden * 1
            outputs = self.middle(hidden)
            hidden.mul_(2)
            return outputs

    model = Overwriting()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        engine_for(model).score(vectors(), None)
    model.middle.weight.requires_grad_(False)  # the bias gradient alone does not need x: trainable, so exact
    check_exact(model, vectors())


def test_in_place_activations_corrupt_nothing() -> None:
    class InPlace(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return self.middle(hidden).add_(0.1).mul_(2.0).relu_()

    assert ruled(check_exact(InPlace(), vectors())) == MIDDLE | REST


def test_checkpointed_layers_are_scored_exactly() -> None:
    class Checkpointed(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return torch.utils.checkpoint.checkpoint(self.middle, hidden, use_reentrant=False)

    check_exact(Checkpointed(), vectors())


def test_positions_in_the_first_dimension_are_told_from_samples() -> None:
    class TimeFirst(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return self.middle(torch.stack([hidden, hidden.sin(), -hidden])).sum(0)

    for samples in (2, 3, 4):  # with 3 samples the shape alone does not tell positions from samples
        assert ruled(check_exact(TimeFirst(), vectors(samples))) == MIDDLE | REST


def test_reparametrised_weights_are_scored_exactly() -> None:
    model = Net()
    torch.nn.utils.parametrizations.weight_norm(model.middle)
    engine = check_exact(model, vectors())
    assert fallen(engine) == {f"middle.parametrizations.weight.original{index}" for index in (0, 1)}


def test_hooks_of_others_that_change_outputs_are_respected() -> None:
    model = Net()
    model.middle.register_forward_hook(lambda module, args, output: 3 * output)
    model.first.register_forward_pre_hook(lambda module, args: (args[0] - 1,))
    check_exact(model, vectors())


def test_modules_called_with_keywords_keep_their_rule() -> None:
    class Keywords(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return self.middle(input=hidden)

    assert ruled(check_exact(Keywords(), vectors())) == MIDDLE | REST


def test_a_model_that_mixes_its_batch_is_scored_one_sample_at_a_time() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(64, 3)
    )
    engine = check_exact(model, torch.randn(5, 3, 6, 6, generator=seeded()))
    assert any("mixes" in note for note in engine.notes)


def test_a_wrong_rule_is_caught_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strange(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002
            return super().forward(input) ** 2

    class Wrong:
        parameter_names = frozenset({"weight", "bias"})

        def supports(self, module: nn.Module) -> bool:
            return True

        def contributions(self, call: LayerCall) -> Contribution:
            rule = base.rule_for(nn.Linear(1, 1))
            assert rule is not None
            return rule.contributions(call)

    monkeypatch.setitem(base._RULES, Strange, Wrong())
    model = Net()
    model.middle = Strange(6, 6)
    engine = check_exact(model, vectors())
    assert engine.coverage()["middle.weight"] == "rule: its use in linear"
    assert any("middle.weight" in note and "disagrees" in note for note in engine.notes)


def test_random_outputs_in_eval_mode_are_noted() -> None:
    class Noisy(Net):
        def between(self, hidden: Tensor) -> Tensor:
            return functional.dropout(self.middle(hidden), 0.5, training=True)

    engine = engine_for(Noisy())
    engine.score(vectors(), None)
    assert any("different results" in note for note in engine.notes)


def test_the_fallback_respects_the_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.randn(50, 40))

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.tanh(torch.einsum("ni,ij->nj", inputs, self.matrix) / 10)[:, :3]

    sizes: list[int] = []
    real = torch.func.vmap

    def spied(function, in_dims):
        def run(values, inputs, seeds):
            sizes.append(len(inputs))
            return real(function, in_dims=in_dims)(values, inputs, seeds)

        return run

    monkeypatch.setattr("dalcli.gradients.fallback.vmap", spied)
    model, inputs = Bare(), torch.randn(12, 50, generator=seeded())
    scores = engine_for(model, limit=4 * (3 * 4 * 50 * 40 + 4000)).score(inputs, None)
    assert sizes[-3:] in ([4, 4, 4], [3, 3, 3])
    torch.testing.assert_close(scores.sq_norm, reference_scores(model, inputs, None).sq_norm, rtol=1e-4, atol=0)
