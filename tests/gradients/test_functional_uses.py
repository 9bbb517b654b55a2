"""Parameters that functions take, not modules: attention, bare parameters, computed ones; against autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from gradient_cases import check_exact, engine_for, fallen, ruled, seeded
from torch import Tensor, nn
from torch.nn import functional

from dalcli.gradients.oracle import reference_scores


def names_of(model: nn.Module) -> set[str]:
    return {name for name, _ in model.named_parameters()}


def parameter(*shape: int, seed: int = 0) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape, generator=seeded(seed)))


class Attending(nn.Module):
    """Attention between two embeddings of the tokens, and a head; inputs (n, T, 6)."""

    def __init__(self, crossing: str, batch_first: bool, need_weights: bool, **options: object) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options)
        self.keys = nn.Linear(6, options.get("kdim") or 8)
        self.values = nn.Linear(6, options.get("vdim") or 8)
        self.queries, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.crossing, self.batch_first, self.need_weights = crossing, batch_first, need_weights

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = inputs if self.batch_first else inputs.transpose(0, 1)
        key, value = self.keys(tokens), self.values(tokens)
        query = {"self": key, "memory": self.queries(tokens), "three": self.queries(tokens)}[self.crossing]
        value = value if self.crossing == "three" else key
        masked = torch.zeros(len(inputs), inputs.shape[1], dtype=torch.bool)
        masked[:, -1] = True
        found, _ = self.attention(query, key, value, key_padding_mask=masked, need_weights=self.need_weights)
        return self.head(torch.tanh(found).mean(1 if self.batch_first else 0))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("crossing", ["self", "memory", "three"])
def test_attention_needs_no_fallback(crossing: str, batch_first: bool, need_weights: bool) -> None:
    model = Attending(crossing, batch_first, need_weights)
    unused = {"self": ("queries", "values"), "memory": ("values",), "three": ()}[crossing]
    engine = check_exact(model, torch.randn(3, 5, 6, generator=seeded()))
    assert fallen(engine) == set()
    assert {name for name in names_of(model) if not name.startswith(unused)} <= ruled(engine) or unused == ()


@pytest.mark.parametrize(
    "options",
    [{"bias": False}, {"kdim": 5, "vdim": 7}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"dropout": 0.5}],
    ids=str,
)
def test_attention_with_every_option_needs_no_fallback(options: dict[str, object]) -> None:
    for batch_first in (True, False):
        model = Attending("three", batch_first, need_weights=False, **options)
        engine = check_exact(model, torch.randn(3, 4, 6, generator=seeded()))
        assert ruled(engine) == names_of(model)
        assert engine.notes == []


def test_a_transformer_encoder_layer_needs_no_fallback() -> None:
    """In eval mode torch would run it whole, in one fused call that has no gradient."""

    class Encoding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.layer(inputs).mean(1))

    model = Encoding()
    assert ruled(check_exact(model, torch.randn(3, 5, 8, generator=seeded()))) == names_of(model)


class Using(nn.Module):
    """``use(self, hidden)`` between two layers; hidden (n, 4, 6), bare parameters of several shapes."""

    def __init__(self, use: Callable[[Using, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(5, 6), nn.Linear(6, 3)
        self.scale, self.row, self.table = parameter(), parameter(6, seed=1), parameter(4, 6, seed=2)
        self.token, self.square = parameter(1, 1, 6, seed=3), parameter(6, 6, seed=4)
        self.packed, self.few = parameter(12, 6, seed=5), parameter(3, 2, seed=6)
        self.use = use

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        return self.head(torch.tanh(self.use(self, hidden)).mean(1))


def _windows(m: Using, hidden: Tensor) -> Tensor:
    """Two windows per sample become samples of their own, as in Swin."""
    windows = hidden.reshape(-1, 2, 6)
    return functional.linear(windows + m.table[:2], m.square, m.row).reshape(hidden.shape)


def _innermost(m: Using, hidden: Tensor) -> Tensor:
    """Samples are flattened together with positions, positions outermost."""
    flat = hidden.transpose(0, 1).reshape(-1, 6)
    return (functional.linear(flat * m.row, m.square, m.table[0])).reshape(4, -1, 6).transpose(0, 1)


def _in_place(m: Using, hidden: Tensor) -> Tensor:
    hidden = hidden * 1
    hidden += m.row
    hidden *= m.table
    return hidden.add_(m.token, alpha=2)


def _assigned(m: Using, hidden: Tensor) -> Tensor:
    bias = m.packed[:, 0].clone()
    bias[:6] = m.row
    bias[3:5].zero_()
    return functional.linear(hidden, m.packed, bias)[..., 6:] + functional.linear(hidden, m.square)


USES: dict[str, tuple[Callable[[Using, Tensor], Tensor], set[str]]] = {
    "scalar": (lambda m, h: m.scale * h, {"scale"}),
    "row, both ways round": (lambda m, h: (m.row - h) / (2 + m.row.square()), {"row"}),
    "position table": (lambda m, h: h + m.table, {"table"}),
    "indexed table": (
        lambda m, h: h @ h.mT @ h + m.few[torch.tensor([0, 2, 2, 1, 0, 0])].mT.reshape(2, 1, 6).sum(0),
        {"few"},
    ),
    "class token": (lambda m, h: torch.cat([m.token.expand(len(h), -1, -1), h], 1), {"token"}),
    "class token by repetition": (lambda m, h: torch.cat([m.token.repeat(len(h), 2, 1), h], 1), {"token"}),
    "temperature": (lambda m, h: h * m.scale.clamp(max=4.6).exp(), {"scale"}),
    "network over constants": (
        lambda m, h: h + functional.linear(torch.linspace(0, 1, 24).to(h).reshape(4, 6), m.square, m.row).tanh(),
        {"square", "row"},
    ),
    "functional linear": (lambda m, h: functional.linear(h, m.square, m.row), {"square", "row"}),
    "functional linear by keyword": (lambda m, h: functional.linear(h, weight=m.square, bias=m.row), {"square", "row"}),
    "matrix product": (lambda m, h: h @ m.square, {"square"}),
    "matrix product and view": (lambda m, h: h @ m.packed.view(12, 6)[:6], {"packed"}),
    "the same weight twice": (
        lambda m, h: functional.linear(torch.tanh(functional.linear(h, m.square, m.row)), m.square, m.row),
        {"square", "row"},
    ),
    "parts of one weight": (
        lambda m, h: functional.linear(h, m.packed.chunk(2)[0]) * functional.linear(h, m.packed.chunk(2)[1]),
        {"packed"},
    ),
    "part and whole": (lambda m, h: h * m.table[:, :1] + m.table + (m.table[2] * 2 - h), {"table"}),
    "windows": (_windows, {"square", "row", "table"}),
    "samples innermost": (_innermost, {"square", "row", "table"}),
    "in place": (_in_place, {"row", "table", "token"}),
    "assigned": (_assigned, {"packed", "row", "square"}),
}
UNDERSTOOD_AS_COMPUTED = {"assigned": {"row", "square"}}


@pytest.mark.parametrize("case", USES)
def test_a_use_is_scored_exactly_without_the_fallback(case: str) -> None:
    use, names = USES[case]
    for samples in (1, 4):  # 4 is also the number of positions
        model = Using(use)
        engine = check_exact(model, torch.randn(samples, 4, 5, generator=seeded()))
        expected = UNDERSTOOD_AS_COMPUTED.get(case, names)
        assert expected <= ruled(engine)
        assert fallen(engine) == names - expected


def test_one_engine_scores_batches_of_all_sizes_and_shapes_alike() -> None:
    model = Using(_windows)
    engine = engine_for(model)
    for samples, positions in ((5, 4), (1, 4), (3, 2), (4, 4), (2, 6)):
        model.use = _windows if positions == 4 else lambda m, h: h + m.row
        inputs = torch.randn(samples, positions, 5, generator=seeded(samples))
        found, reference = engine.score(inputs, None), reference_scores(model, inputs, None)
        torch.testing.assert_close(found.sq_norm, reference.sq_norm, rtol=1e-3, atol=0)


def test_a_path_that_the_traces_did_not_take_is_noticed() -> None:
    """The first batch decides what is planned; a later one that does otherwise must still be exact."""

    def branching(m: Using, hidden: Tensor) -> Tensor:
        return hidden * m.row if m.usual else (hidden + m.row) * m.table

    model = Using(branching)
    engine = engine_for(model)
    inputs = torch.randn(4, 4, 5, generator=seeded())
    for model.usual in (True, False, True):
        found, reference = engine.score(inputs, None), reference_scores(model, inputs, None)
        torch.testing.assert_close(found.sq_norm, reference.sq_norm, rtol=1e-4, atol=0)
    assert "row" in fallen(engine)


def test_models_that_recompute_their_layers_are_exact() -> None:
    def checkpointed(m: Using, hidden: Tensor) -> Tensor:
        def inner(values: Tensor) -> Tensor:
            return functional.linear(values, m.square, m.row)

        return torch.utils.checkpoint.checkpoint(inner, hidden, use_reentrant=False)

    check_exact(Using(checkpointed), torch.randn(3, 4, 5, generator=seeded()))


def test_a_memory_limit_is_respected_by_what_is_computed_from_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    use, names = USES["indexed table"]
    sizes: list[int] = []
    real = torch.autograd.grad

    def spied(*arguments: object, **options: object) -> object:
        if options.get("is_grads_batched"):
            sizes.append(len(arguments[2][0]))
        return real(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", spied)
    monkeypatch.setattr("dalcli.gradients.memory.CACHE_BYTES", 1000)
    model, inputs = Using(use), torch.randn(7, 4, 5, generator=seeded())
    engine = engine_for(model)
    scores = engine.score(inputs, None)
    assert names <= ruled(engine)
    assert max(sizes) < 7
    torch.testing.assert_close(scores.sq_norm, reference_scores(model, inputs, None).sq_norm, rtol=1e-4, atol=0)


def test_the_model_is_left_as_it_was_even_if_it_fails_under_watch() -> None:
    def failing(m: Using, hidden: Tensor) -> Tensor:
        return hidden + m.row if len(hidden) != 3 else hidden + m.square

    model = Using(failing)
    engine = engine_for(model)
    with pytest.raises(RuntimeError, match="must match"):
        engine.score(torch.randn(3, 4, 5), None)
    assert all(value.requires_grad and value.grad is None for value in model.parameters())
    assert torch.overrides._get_current_function_mode_stack() == []
    found = engine.score(torch.randn(4, 4, 5, generator=seeded()), None)
    assert bool((found.sq_norm > 0).all())
