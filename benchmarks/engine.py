"""The scoring engine against a training step, a forward pass and vmap(grad), on random images.

    python benchmarks/engine.py                         models × batch sizes, ratios and peak memory
    python benchmarks/engine.py --layers resnet18       time of every layer's rule
    python benchmarks/engine.py --routes                time of every route on typical 3×3 layers

Contestants take turns, so that a busy machine slows all of them alike; medians are compared. Each memory figure is the
growth of the peak resident set of a fresh process (on a GPU: the allocator's peak) while it runs three times.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from dalcli.models import zoo
from dalcli.models.head import find_head
from dalcli.models.spec import ModelSpec
from dalcli.scoring.engine import GradientEngine
from dalcli.scoring.rules import LayerCall, cost
from dalcli.scoring.rules.base import Contribution, Rule
from dalcli.scoring.rules.conv_routes import ROUTES, Convolution

CLASSES = 10
MEMORY_LIMIT = 8 * 2**30
Work = Callable[[], object]


def build(name: str, size: int, device: str) -> nn.Module:
    stem = "small" if size < 96 else "large"
    return zoo.build(ModelSpec(name=name, num_classes=CLASSES, image_size=(size, size), stem=stem), seed=0).to(device)


def contestants(name: str, batch: int, size: int, device: str) -> dict[str, Work]:
    """What is compared, each as a function without arguments."""
    model = build(name, size, device)
    inputs = torch.randn(batch, 3, size, size, device=device)
    labels = torch.randint(CLASSES, (batch,), device=device)
    direction = {key: torch.randn_like(value).detach() for key, value in model.named_parameters()}
    engine = GradientEngine(model, head=find_head(model, CLASSES), memory_limit_bytes=MEMORY_LIMIT)
    return {
        "train": lambda: _train(model, inputs, labels),
        "train-nhwc": lambda: _train(model, inputs.contiguous(memory_format=torch.channels_last), labels),
        "forward": lambda: _forward(model, inputs),
        "engine": lambda: engine.score(inputs, direction),
        "vmap": lambda: _vmap(model, inputs, labels, direction),
    }


def _train(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """Forward and backward of all parameters; no optimizer."""
    model.train()
    functional.cross_entropy(model(inputs), labels).backward()
    model.zero_grad(set_to_none=True)


def _forward(model: nn.Module, inputs: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        model(inputs)


def _vmap(model: nn.Module, inputs: Tensor, labels: Tensor, direction: dict[str, Tensor], chunk: int = 8) -> None:
    model.eval()
    parameters = {key: value.detach() for key, value in model.named_parameters()}

    def loss(values: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, values, (x[None],)), y[None])

    for start in range(0, len(inputs), chunk):
        part = slice(start, start + chunk)
        gradients = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, inputs[part], labels[part])
        for key, value in gradients.items():
            rows = value.flatten(1)
            torch.linalg.vector_norm(rows, dim=1)
            rows @ direction[key].flatten()


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def interleaved(works: dict[str, Work], repeats: int, rare: tuple[str, ...] = ()) -> dict[str, float]:
    """Median seconds of each; ``rare`` ones run in the first two turns only."""
    times: dict[str, list[float]] = {key: [] for key in works}
    for turn in range(repeats + 1):
        for key, work in works.items():
            if key in rare and turn > 1:
                continue
            synchronise()
            start = time.perf_counter()
            work()
            synchronise()
            if turn:  # the first turn warms up
                times[key].append(time.perf_counter() - start)
    return {key: statistics.median(values) for key, values in times.items()}


def peak_bytes(name: str, batch: int, size: int, device: str, contestant: str, threads: int) -> int:
    """Growth of peak memory; to be called in a fresh process."""
    torch.set_num_threads(threads)
    work = contestants(name, batch, size, device)[contestant]
    contestants(name, 2, size, device)[contestant]()  # libraries allocate once
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = _peak_resident()
    for _ in range(3):
        work()
    if device != "cpu":
        return torch.cuda.max_memory_allocated() - before
    return _peak_resident() - before


def _peak_resident() -> int:
    """Bytes. Not ``ru_maxrss`` where there is a choice: Linux lets a child inherit its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_fresh_process(*arguments: object) -> int:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(peak_bytes, *arguments).result()  # type: ignore[arg-type]


def compare(options: argparse.Namespace) -> None:
    print(
        f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, {options.size}×{options.size}"
    )
    print(
        "model     batch  train ms  engine/train  engine/train-nhwc  forward/train  vmap/train  engine MiB  train MiB"
    )
    for name in options.models:
        for batch in options.batches:
            works = contestants(name, batch, options.size, options.device)
            if options.no_vmap:
                del works["vmap"]
            seconds = interleaved(works, options.repeats, rare=("vmap",))
            train = seconds["train"]
            sizes = [
                0
                if options.no_memory
                else in_fresh_process(name, batch, options.size, options.device, key, torch.get_num_threads()) / 2**20
                for key in ("engine", "train")
            ]
            print(
                f"{name:9s} {batch:5d}  {train * 1e3:8.1f}  {seconds['engine'] / train:12.2f}"
                f"  {seconds['engine'] / seconds['train-nhwc']:17.2f}  {seconds['forward'] / train:13.2f}"
                f"  {seconds.get('vmap', float('nan')) / train:10.2f}  {sizes[0]:10.0f}  {sizes[1]:9.0f}",
                flush=True,
            )


def layers(options: argparse.Namespace) -> None:
    """Where the engine's time goes: the rules, module by module, and all the rest."""
    model = build(options.layers, options.size, options.device)
    names = {module: path for path, module in model.named_modules()}
    spent: dict[str, list[float]] = {}
    engine = GradientEngine(model, head=None, memory_limit_bytes=MEMORY_LIMIT)
    rules: set[Rule] = {owner.rule for owner in engine.owners}
    for rule in rules:
        _time_rule(rule, names, spent)
    batch = options.batches[-1]
    inputs = torch.randn(batch, 3, options.size, options.size, device=options.device)
    direction = {key: torch.randn_like(value).detach() for key, value in model.named_parameters()}
    engine.score(inputs, direction)
    spent.clear()
    totals = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        engine.score(inputs, direction)
        synchronise()
        totals.append(time.perf_counter() - start)
    medians = {key: statistics.median(values) for key, values in spent.items()}
    for key, value in sorted(medians.items(), key=lambda entry: -entry[1]):
        print(f"{value * 1e3:8.2f} ms  {key}")
    total = statistics.median(totals)
    print(f"{sum(medians.values()) * 1e3:8.2f} ms  all rules\n{total * 1e3:8.2f} ms  score, batch {batch}")


def _time_rule(rule: Rule, names: dict[nn.Module, str], spent: dict[str, list[float]]) -> None:
    plain = rule.contributions

    def timed(call: LayerCall) -> Contribution:
        synchronise()
        start = time.perf_counter()
        result = plain(call)
        synchronise()
        key = f"{names[call.module]} {type(call.module).__name__} {tuple(call.inputs.shape[1:])}"
        spent.setdefault(key, []).append(time.perf_counter() - start)
        return result

    rule.contributions = timed  # type: ignore[method-assign]


def routes(options: argparse.Namespace) -> None:
    """Each route's measured time beside the cost model's, which picks the smallest of its own column."""
    batch = options.batches[-1]
    machine = cost.machine_for(options.device)
    for channels, width, side, groups in [
        (3, 64, 32, 1),
        (64, 64, 32, 1),
        (64, 128, 16, 1),
        (128, 128, 16, 1),
        (256, 256, 8, 1),
        (512, 512, 4, 1),
        (512, 512, 2, 1),
        (96, 96, 16, 96),
    ]:
        layer = Convolution(
            (3, 3), (1, 1), (1, 1), (1, 1), groups, channels // groups, width // groups, (side, side), (side, side), 4
        )
        layout = torch.channels_last
        inputs = torch.randn(batch, channels, side, side, device=options.device).contiguous(memory_format=layout)
        gradient = torch.randn(batch, width, side, side, device=options.device).contiguous(memory_format=layout)
        along = torch.randn(layer.weight_shape, device=options.device)
        chunk = 4 * 2**20
        predicted = cost.convolution_routes(layer.outer, layer.pixels_in, layer.channels_in, layer.kernel, machine)
        works: dict[str, Work] = {
            key: partial(route, layer, inputs, gradient, along, chunk)
            for key, route in ROUTES.items()
            if predicted[key] < 10 * min(predicted.values())
        }
        seconds = interleaved(works, options.repeats)
        chosen = cost.cheapest(predicted)
        entries = [
            f"{'*' if key == chosen else ''}{key} {value * 1e3:.1f} (model {predicted[key] * batch * 1e3:.1f})"
            for key, value in seconds.items()
        ]
        print(f"{channels}→{width} at {side}², {groups} groups, ms: " + "; ".join(entries), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["cnn", "vgg11", "resnet18"])
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64, 128])
    parser.add_argument("--size", type=int, default=32, help="image side in pixels")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-vmap", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--layers", metavar="MODEL")
    parser.add_argument("--routes", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.layers:
        layers(options)
    elif options.routes:
        routes(options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
