"""Sketches against explicit float64 gradients: the map is linear, unbiased, and better with more dimensions."""

from __future__ import annotations

import math

import pytest
import torch
from gradient_cases import engine_for, fallen, seeded, settle
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import swin_transformer
from torchvision.models import vision_transformer as vit

from dalcli.gradients.projection import Projection, Sketcher
from dalcli.gradients.rules import conv_routes, convolution
from dalcli.gradients.rules.base import Wanted
from dalcli.gradients.sketch import SketchSpec, sketch_error, sketch_of

SPEC = SketchSpec(seed=3, dimension=32)


def gradients_of(model: nn.Module, inputs: Tensor) -> list[dict[str, Tensor]]:
    """Every sample's gradient for its pseudo-label, by ordinary autograd."""
    model.eval()
    found = []
    for sample in inputs:
        logits = model(sample[None])
        loss = functional.cross_entropy(logits, logits.argmax(1))
        names, values = zip(*model.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, values, allow_unused=True)
        pairs = zip(names, values, gradients, strict=True)
        found.append({name: torch.zeros_like(value) if g is None else g for name, value, g in pairs})
    return found


class Unusual(nn.Module):
    """Embedding, fallback, shared, packed, sliced, viewed and computed parameters; inputs (n, 4) tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(7, 6), nn.Linear(6, 3)
        self.attention = nn.MultiheadAttention(6, 2, kdim=6, vdim=6, batch_first=True)
        self.matrix, self.flat = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(36))
        self.table, self.scale = nn.Parameter(torch.randn(3, 6)), nn.Parameter(torch.tensor(0.4))
        self.shared = nn.Linear(6, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = torch.tanh(self.tokens(tokens)) + self.table[torch.tensor([0, 2, 2, 1])]
        hidden = torch.einsum("nti,ij->ntj", self.attention(hidden, hidden, hidden * 2)[0], self.matrix)
        hidden = functional.linear(hidden, self.flat.view(6, 6)) * self.scale.exp()
        return self.head(torch.tanh(self.shared(torch.tanh(self.shared(hidden)))).mean(1))


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.PReLU(8),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 40, 3, stride=2),
        nn.GroupNorm(2, 40),
        nn.Conv2d(40, 48, 2, padding="same", padding_mode="circular"),
        nn.ReLU(inplace=True),
        nn.Conv2d(48, 8, 1, groups=2),
        nn.Flatten(2),
        nn.Conv1d(8, 6, 3, padding=1),
        nn.LayerNorm(4),
        nn.Linear(4, 5),
        nn.Flatten(),
        nn.Linear(30, 4),
    )


MODELS = {
    "convolutional": (_convolutional, torch.randn(5, 3, 8, 8, generator=seeded())),
    "unusual": (Unusual, torch.randint(7, (5, 4), generator=seeded())),
    "vit": (lambda: vit.VisionTransformer(16, 8, 1, 2, 8, 16, num_classes=3), torch.randn(3, 3, 16, 16)),
    "swin": (
        lambda: swin_transformer.SwinTransformer([4, 4], 8, [2], [2], [2, 2], num_classes=3),
        torch.randn(3, 3, 16, 16),
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
@pytest.mark.parametrize("name", MODELS)
def test_the_engines_sketch_is_the_sketch_of_the_full_gradient(name: str) -> None:
    """Whatever rule, route, call or fallback a parameter takes, its gradient must go through the same linear map."""
    build, inputs = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = settle(build()).double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    engine = engine_for(model)
    found = engine.score(inputs, None, sketch=SPEC).sketch
    assert found is not None
    assert found.dtype == torch.float32
    expected = torch.stack([sketch_of(gradient, SPEC) for gradient in gradients_of(model, inputs)])
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
    assert fallen(engine) == ({"matrix"} if name == "unusual" else set())


def test_all_routes_of_a_convolution_sketch_alike() -> None:
    for groups, last in ((1, False), (2, False), (2, True)):
        layer = nn.Conv2d(4, 6, 3, padding=1, groups=groups, bias=False).double()
        inputs, delta = (torch.randn(3, c, 5, 5, generator=seeded(c), dtype=torch.float64) for c in (4, 6))
        expected = torch.stack(
            [torch.autograd.grad((layer(x[None]) * d).sum(), layer.weight)[0] for x, d in zip(inputs, delta)]  # noqa: B905
        )
        projection = Sketcher(SPEC).projection("w", layer.weight.shape, torch.device("cpu"))
        geometry = convolution.Convolution(
            (3, 3), (1, 1), (1, 1), (1, 1), groups, 4 // groups, 6 // groups, (5, 5), (5, 5), 8
        )
        if last:
            inputs, delta = (value.contiguous(memory_format=torch.channels_last) for value in (inputs, delta))
        for route in conv_routes.ROUTES.values():
            for chunk_bytes in (1, 2**20):
                found = route(geometry, inputs, delta, Wanted(None, projection), chunk_bytes).sketch
                torch.testing.assert_close(found, projection.of_gradients(expected))


def matrices(rank: int) -> tuple[Tensor, Tensor]:
    """Two matrices (1, 24, 40) of that rank whose inner product is neither 0 nor full."""
    factors = [torch.randn(rank, side, generator=seeded(rank + side), dtype=torch.float64) for side in (24, 40)]
    first = (factors[0].mT @ factors[1])[None]
    other = torch.randn(rank, 24, generator=seeded(99), dtype=torch.float64)
    return first, first + (other.mT @ factors[1])[None]


@pytest.mark.parametrize("rank", [1, 5])
def test_inner_products_are_preserved_in_expectation(rank: int) -> None:
    first, second = matrices(rank)
    scale = float(first.norm() * second.norm())
    estimates = []
    for seed in range(3000):
        projection = Sketcher(SketchSpec(seed, 16)).projection("w", first.shape[1:], torch.device("cpu"))
        estimates.append(float((projection.of_gradients(first) * projection.of_gradients(second)).sum()))
    found = torch.tensor(estimates, dtype=torch.float64)
    standard_error = float(found.std()) / math.sqrt(len(found))
    assert abs(float(found.mean()) - float((first * second).sum())) < 4 * standard_error
    assert standard_error < 0.02 * scale  # the test would notice a bias of 8%
    assert float(found.std()) < math.sqrt(8.5 / 16) * scale


def test_a_sum_over_parameters_stays_unbiased() -> None:
    """Parameters must have maps of their own: with one map for all, gradients of different layers would meet."""
    shapes = {"a": (6, 10), "b": (6, 10), "c": (12,)}
    first = {name: torch.randn(shape, generator=seeded(1), dtype=torch.float64) for name, shape in shapes.items()}
    second = {name: value.roll(1, 0) + 0.5 * value for name, value in first.items()}
    exact = sum(float((first[name] * second[name]).sum()) for name in shapes)
    products = torch.tensor(
        [float(sketch_of(first, SketchSpec(s, 8)) @ sketch_of(second, SketchSpec(s, 8))) for s in range(3000)]
    )
    assert abs(float(products.mean()) - exact) < 4 * float(products.std()) / math.sqrt(len(products))


def test_factors_and_gradients_give_one_sketch_for_any_dimension() -> None:
    read, delta = (torch.randn(3, 5, side, generator=seeded(side), dtype=torch.float64) for side in (7, 11))
    for dimension in (1, 2, 5, 16, 33, 100):
        projection = Sketcher(SketchSpec(0, dimension)).projection("w", (11, 7), torch.device("cpu"))
        assert isinstance(projection, Projection)
        torch.testing.assert_close(projection.of_factors(read, delta), projection.of_gradients(delta.mT @ read))
        parts = [
            projection.rows(0, 4).of_factors(read, delta[..., :4]),
            projection.rows(4, 7).of_factors(read, delta[..., 4:]),
        ]
        torch.testing.assert_close(sum(parts), projection.of_factors(read, delta))


def test_the_error_falls_with_the_dimension() -> None:
    model, inputs = settle(_small()), torch.randn(6, 3, 6, 6, generator=seeded())
    engine = engine_for(model)
    direction = engine.labeled_gradient([(inputs, torch.arange(6) % 4)])
    errors = [
        [sketch_error(engine, inputs, SketchSpec(seed, dimension), direction) for seed in range(3)]
        for dimension in (8, 128, 2048)
    ]
    for kind in ("norm_rms", "inner_rms", "direction_rms"):
        few, some, many = (math.sqrt(sum(getattr(e, kind) ** 2 for e in group) / 3) for group in errors)
        assert few > 2 * some
        assert some > 2 * many
        assert many < 0.1
    assert errors[0][0].samples == 6
    assert errors[0][0].inner_largest >= errors[0][0].inner_rms


def test_the_reported_error_is_the_true_one() -> None:
    model, inputs = settle(_small()).double(), torch.randn(4, 3, 6, 6, generator=seeded(), dtype=torch.float64)
    gradients = gradients_of(model, inputs)
    direction = gradients_of(model, inputs.flip(3))[0]
    flat = torch.stack([torch.cat([value.flatten() for value in gradient.values()]) for gradient in gradients])
    sketches = torch.stack([sketch_of(gradient, SPEC) for gradient in gradients])
    norms = flat.norm(dim=1)
    errors = (sketches @ sketches.mT - flat @ flat.mT).abs() / (norms[:, None] * norms)
    pairs = errors[~torch.eye(4, dtype=torch.bool)]
    along = torch.cat([value.flatten() for value in direction.values()])
    off = (sketches @ sketch_of(direction, SPEC) - flat @ along).abs() / (norms * along.norm())
    found = sketch_error(engine_for(model), inputs, SPEC, direction)
    assert found.norm_rms == pytest.approx(float(errors.diagonal().square().mean().sqrt()), rel=1e-4)
    assert found.inner_rms == pytest.approx(float(pairs.square().mean().sqrt()), rel=1e-4)
    assert found.inner_largest == pytest.approx(float(pairs.max()), rel=1e-4)
    assert found.direction_rms == pytest.approx(float(off.square().mean().sqrt()), rel=1e-4)
    assert sketch_error(engine_for(model), inputs, SPEC).direction_rms is None


def test_sketches_depend_on_seed_and_dimension_alone() -> None:
    model, inputs = settle(_small()), torch.randn(9, 3, 6, 6, generator=seeded())
    whole = engine_for(model).score(inputs, None, sketch=SPEC).sketch
    again = engine_for(model).score(inputs, None, sketch=SketchSpec(3, 32)).sketch
    assert whole is not None
    assert torch.equal(whole, again)
    engine = engine_for(model)
    alone = torch.cat([engine.score(sample[None], None, sketch=SPEC).sketch for sample in inputs])
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))
    with torch.random.fork_rng():
        torch.manual_seed(12345)  # no global state enters
        assert torch.equal(engine_for(model).score(inputs, None, sketch=SPEC).sketch, whole)
    other = engine.score(inputs, None, sketch=SketchSpec(4, 32)).sketch
    assert not torch.allclose(other, whole)
    assert engine.score(inputs, None, sketch=SketchSpec(3, 5)).sketch.shape == (9, 5)
    assert engine.score(inputs, None).sketch is None


def test_scores_are_the_same_with_and_without_sketches() -> None:
    model, inputs = settle(_small()), torch.randn(4, 3, 6, 6, generator=seeded())
    direction = {name: torch.randn(value.shape, generator=seeded()) for name, value in model.named_parameters()}
    engine = engine_for(model)
    plain, sketched = engine.score(inputs, direction), engine.score(inputs, direction, sketch=SPEC)
    assert torch.equal(plain.sq_norm, sketched.sq_norm)
    assert torch.equal(plain.inner, sketched.inner)


def test_a_model_without_trainable_parameters_has_sketches_of_zero() -> None:
    model = _small().requires_grad_(False)
    found = engine_for(model).score(torch.randn(2, 3, 6, 6), None, sketch=SPEC).sketch
    assert torch.equal(found, torch.zeros(2, 32))


def test_impossible_sketches_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one dimension"):
        SketchSpec(0, 0)
    with pytest.raises(ValueError, match="at least two"):
        sketch_error(engine_for(_small()), torch.randn(1, 3, 6, 6), SPEC)


def _small() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
