"""The scoring engine against a training step, a forward pass and what others offer, on random images.

    python benchmarks/engine.py                         models × batch sizes, ratios and peak memory
    python benchmarks/engine.py --layers resnet18       time of every layer's rule
    python benchmarks/engine.py --routes                time of every route on typical 3×3 layers
    python benchmarks/engine.py --sketch 512            a column for scoring with sketches of 512 numbers
    python benchmarks/engine.py --peers vmap naive      only some of: vmap naive opacus backpack (see peers.py)

Contestants take turns, so that a busy machine slows all of them alike; medians are compared. Each memory figure is the
growth of the peak resident set of a fresh process (on a GPU: the allocator's peak) while it runs three times. Peers
that are not installed, or refuse a model, are left out with a line saying so.
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
from peers import PEERS, Method, build_peers
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import convnext, swin_transformer, vision_transformer

from dalcli.models import zoo
from dalcli.models.head import find_head
from dalcli.models.spec import ModelSpec
from dalcli.scoring.engine import GradientEngine
from dalcli.scoring.projection import SketchSpec
from dalcli.scoring.rules import LayerCall, cost
from dalcli.scoring.rules.base import Contribution, Rule, Wanted
from dalcli.scoring.rules.conv_routes import ROUTES, Convolution

CLASSES = 10
MEMORY_LIMIT = 8 * 2**30
Work = Callable[[], object]


def _small_vit(size: int) -> nn.Module:
    return vision_transformer.VisionTransformer(size, max(4, size // 8), 6, 3, 192, 768, num_classes=CLASSES)


def _small_swin(size: int) -> nn.Module:
    return swin_transformer.SwinTransformer([2, 2], 48, [2, 2, 2], [3, 6, 12], [4, 4], num_classes=CLASSES)


def _small_convnext(size: int) -> nn.Module:
    settings = [(48, 96), (96, 192), (192, None)]
    return convnext.ConvNeXt([convnext.CNBlockConfig(*widths, 2) for widths in settings], num_classes=CLASSES)


SMALL: dict[str, Callable[[int], nn.Module]] = {
    "small-vit": _small_vit,
    "small-swin": _small_swin,
    "small-convnext": _small_convnext,
}


def build(name: str, size: int, device: str) -> nn.Module:
    """One of the product's models, or a small variant of a family whose parameters functions take."""
    if name in SMALL:
        torch.manual_seed(0)
        return SMALL[name](size).to(device)
    stem = "small" if size < 96 else "large"
    return zoo.build(ModelSpec(name=name, num_classes=CLASSES, image_size=(size, size), stem=stem), seed=0).to(device)


def contestants(
    name: str, batch: int, size: int, device: str, peers: tuple[str, ...] = (), sketch: int = 0
) -> tuple[dict[str, Work], list[str]]:
    """What is compared, each as a function without arguments, and why some peers are missing."""
    model = build(name, size, device)
    inputs = torch.randn(batch, 3, size, size, device=device)
    with torch.no_grad():
        labels = model.eval()(inputs).argmax(1)
    direction = {key: torch.randn_like(value).detach() for key, value in model.named_parameters()}
    engine = GradientEngine(model, head=find_head(model, CLASSES), memory_limit_bytes=MEMORY_LIMIT)
    works: dict[str, Work] = {
        "train": lambda: _train(model, inputs, labels),
        "train-nhwc": lambda: _train(model, inputs.contiguous(memory_format=torch.channels_last), labels),
        "forward": lambda: _forward(model, inputs),
        "engine": lambda: engine.score(inputs, direction),
    }
    if sketch:
        works["sketch"] = lambda: engine.score(inputs, direction, sketch=SketchSpec(0, sketch))
    missing = []
    for peer, method in build_peers(model, direction, peers).items():
        reason = method if isinstance(method, str) else _disagreement(method, engine, inputs[:2], labels[:2], direction)
        if isinstance(method, str) or reason is not None:
            missing.append(f"{name}, {peer}: {reason}")
        else:
            works[peer] = partial(method, inputs, labels)
    return works, missing


def _disagreement(
    method: Method, engine: GradientEngine, inputs: Tensor, labels: Tensor, direction: dict[str, Tensor]
) -> str | None:
    """A peer must do the same work: the same norms and inner products on two samples; else what is wrong."""
    scores = engine.score(inputs, direction)
    assert scores.inner is not None
    try:
        squares, inners = method(inputs, labels)
    except Exception as failure:  # peers fail in many ways; one that cannot run is no contestant
        return f"fails: {(str(failure) or type(failure).__name__).splitlines()[0][:100]}"
    scale = scores.sq_norm.sqrt() * sum(float(value.square().sum()) for value in direction.values()) ** 0.5
    close = (squares.double() - scores.sq_norm).abs() <= 1e-2 * scores.sq_norm
    close &= (inners.double() - scores.inner).abs() <= 1e-2 * scale
    return None if bool(close.all()) else "returns other gradients"


def _train(model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
    """Forward and backward of all parameters; no optimizer."""
    model.train()
    functional.cross_entropy(model(inputs), labels).backward()
    model.zero_grad(set_to_none=True)


def _forward(model: nn.Module, inputs: Tensor) -> None:
    model.eval()
    with torch.no_grad():
        model(inputs)


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
    wanted = (contestant,) if contestant in PEERS else ()
    work = contestants(name, batch, size, device, wanted)[0][contestant]
    contestants(name, 2, size, device, wanted)[0][contestant]()  # libraries allocate once
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
    """A row of ratios to a training step, and of memory, per model and batch size."""
    print(
        f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, {options.size}×{options.size}"
    )
    ratios = ["engine", *(["sketch"] if options.sketch else []), "forward", *options.peers]
    measured = [] if options.no_memory else ["engine", "train", *options.memory]
    columns = [*(f"{key}/train" for key in ratios), "engine/train-nhwc", *(f"{key} MiB" for key in measured)]
    print("model           batch  train ms  " + "  ".join(columns))
    told: set[str] = set()
    for name in options.models:
        for batch in options.batches:
            shape = (name, batch, options.size, options.device)
            works, missing = contestants(*shape, tuple(options.peers), options.sketch)
            for line in missing:
                if line not in told:
                    print(f"skipped: {line}")
            told |= set(missing)
            seconds = interleaved(works, options.repeats, rare=tuple(options.peers))
            cells = [_ratio(seconds, key, "train") for key in ratios] + [_ratio(seconds, "engine", "train-nhwc")]
            cells += [_mebibytes(shape, key) if key in works else "-" for key in measured]
            padded = [f"{cell:>{len(column)}s}" for cell, column in zip(cells, columns, strict=True)]
            print(f"{name:15s} {batch:5d}  {seconds['train'] * 1e3:8.1f}  " + "  ".join(padded), flush=True)


def _ratio(seconds: dict[str, float], key: str, base: str) -> str:
    return f"{seconds[key] / seconds[base]:.2f}" if key in seconds else "-"


def _mebibytes(shape: tuple[str, int, int, str], contestant: str) -> str:
    return f"{in_fresh_process(*shape, contestant, torch.get_num_threads()) / 2**20:.0f}"


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
        wanted = Wanted(torch.randn(layer.weight_shape, device=options.device))
        chunk = 4 * 2**20
        predicted = cost.convolution_routes(layer.outer, layer.pixels_in, layer.channels_in, layer.kernel, machine)
        works: dict[str, Work] = {
            key: partial(route, layer, inputs, gradient, wanted, chunk)
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
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--sketch", type=int, default=0, metavar="DIMENSION")
    parser.add_argument(
        "--memory", nargs="*", default=[], choices=list(PEERS), help="peers whose memory is measured too"
    )
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
