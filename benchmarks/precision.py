"""What fewer digits cost: speed, error of Δ and agreement of the chosen batch, on models trained on digits.

    python benchmarks/precision.py                       bfloat16 against float32
    python benchmarks/precision.py --precisions tf32 bfloat16 --device cuda

Each model is trained to convergence on 200 of scikit-learn's digits, shown at 32×32; the other images are the
pool. The error of Δ (γ = 2) is in units of ‖g‖² + 2‖g‖‖G_S‖, the scale of the engine's tolerances; agreement is the
share of the b highest by float32 that are among the b highest otherwise.
"""

from __future__ import annotations

import statistics

import torch
from measuring import Work, interleaved, machine, parser
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from dalcli.gradients.engine import GradientEngine, GradientScores
from dalcli.gradients.precision import Precision
from dalcli.models import zoo
from dalcli.models.head import find_head
from dalcli.models.spec import ModelSpec

CLASSES, LABELED, GAMMA = 10, 200, 2.0
MEMORY_LIMIT = 2 << 30


def digits(device: str) -> tuple[Tensor, Tensor]:
    """Images (n, 3, 32, 32) of zero mean and unit variance, and labels, shuffled."""
    found = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1)
    images = functional.interpolate((images - images.mean()) / images.std(), size=(32, 32), mode="bilinear")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images.expand(-1, 3, -1, -1)[order].contiguous().to(device), torch.tensor(found.target)[order].to(device)


def trained(name: str, images: Tensor, labels: Tensor) -> nn.Module:
    """A model that has learnt its labels."""
    spec = ModelSpec(name=name, num_classes=CLASSES, image_size=(32, 32), stem="small")
    model = zoo.build(spec, seed=0).to(images.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(200):
        model.train()
        for batch in torch.randperm(len(images), generator=generator).split(50):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[batch]), labels[batch]).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            if bool((model(images).argmax(1) == labels).all()):
                break
    return model


def delta(scores: GradientScores) -> Tensor:
    assert scores.inner is not None
    return scores.sq_norm + GAMMA * scores.inner


def compare(name: str, images: Tensor, labels: Tensor, precisions: list[Precision], sizes: list[int]) -> None:
    """A line for each precision."""
    model = trained(name, images[:LABELED], labels[:LABELED])
    pool, head = images[LABELED:], find_head(model, CLASSES)
    engines = {
        each: GradientEngine(model, head=head, memory_limit_bytes=MEMORY_LIMIT, precision=each)
        for each in (Precision.FLOAT32, *precisions)
    }
    direction = engines[Precision.FLOAT32].labeled_gradient([(images[:LABELED], labels[:LABELED])])
    length = sum(float(value.double().square().sum()) for value in direction.values()) ** 0.5
    found = {each: _scored(engine, pool, direction) for each, engine in engines.items()}
    works: dict[str, Work] = {
        each: (lambda engine=engine: engine.score(pool[:128], direction)) for each, engine in engines.items()
    }
    seconds = interleaved(works, 7)
    exact = found[Precision.FLOAT32]
    scale = exact.sq_norm + GAMMA * exact.sq_norm.sqrt() * length
    for each in precisions:
        errors = ((delta(found[each]) - delta(exact)).abs() / scale).tolist()
        overlaps = [f"{_overlap(delta(exact), delta(found[each]), size):.0%} of {size}" for size in sizes]
        same = float((found[each].pseudo_label == exact.pseudo_label).double().mean())
        print(
            f"{name:10s} {each:9s} time {seconds[each] / seconds[Precision.FLOAT32]:.2f} of float32, error of Δ "
            f"{statistics.median(errors):.1e} (median), {max(errors):.1e} (largest), same pseudo-label {same:.1%}, "
            f"chosen alike {', '.join(overlaps)}",
            flush=True,
        )


def _scored(engine: GradientEngine, pool: Tensor, direction: dict[str, Tensor]) -> GradientScores:
    parts = [engine.score(piece, direction) for piece in pool.split(256)]
    inner = [part.inner for part in parts if part.inner is not None]
    return GradientScores(
        torch.cat([part.sq_norm for part in parts]),
        torch.cat(inner),
        torch.cat([part.probabilities for part in parts]),
        torch.cat([part.pseudo_label for part in parts]),
        torch.cat([part.features for part in parts]),
    )


def _overlap(exact: Tensor, rough: Tensor, size: int) -> float:
    chosen = [set(values.topk(size).indices.tolist()) for values in (exact, rough)]
    return len(chosen[0] & chosen[1]) / size


def main() -> None:
    found = parser(__doc__)
    found.add_argument("--models", nargs="+", default=["cnn", "vgg11", "resnet18"])
    found.add_argument("--precisions", nargs="+", type=Precision, default=[Precision.BFLOAT16])
    found.add_argument("--sizes", nargs="+", type=int, default=[50, 100, 250], help="of the chosen batch")
    options = found.parse_args()
    print(machine(options))
    images, labels = digits(options.device)
    for name in options.models:
        compare(name, images, labels, options.precisions, options.sizes)


if __name__ == "__main__":
    main()
