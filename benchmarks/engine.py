"""The scoring engine against a training step, a forward pass and what others offer, on random images.

    python benchmarks/engine.py                         models × batch sizes, ratios and peak memory
    python benchmarks/engine.py --layers resnet18       time of every layer's rule
    python benchmarks/engine.py --routes resnet18       time of every route on every convolution of these models
    python benchmarks/engine.py --sketch 512            a column for scoring with sketches of 512 numbers
    python benchmarks/engine.py --peers vmap naive      only some of: vmap naive opacus backpack (see peers.py)
    python benchmarks/engine.py --no-time               peak memory alone
    python benchmarks/engine.py --keep-freed            times with the allocator as `dalcli train` sets it

Contestants take turns, so that a busy machine slows all of them alike; medians are compared. A memory figure is the
growth of the peak beyond model, images and V: of the resident set of a fresh process, or of the GPU allocator;
the median of some processes. Peers that are not installed, or refuse a model, are left out with a line saying so.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from contestants import MEMORY_LIMIT, SMALL, Setting, build_model, contestants, peak_growths
from measuring import MEBIBYTE, Work, interleaved, machine, parser, ratio, seconds_of, synchronise
from peers import PEERS

from dalcli.gradients.engine import GradientEngine
from dalcli.gradients.memory import CACHE_BYTES
from dalcli.gradients.rules import LayerCall, cost
from dalcli.gradients.rules.base import Contribution, Rule, Wanted
from dalcli.gradients.rules.conv import ConvRule, as_plane
from dalcli.gradients.rules.conv_routes import ROUTES
from dalcli.runtime.heap import keep_freed_memory

MODELS = f"cnn, vgg11, resnet18, any torchvision model, {', '.join(SMALL)}"


def compare(options: argparse.Namespace) -> None:
    """A row of ratios to a training step, and of memory, per model and batch size."""
    sketch = ["sketch"] if options.sketch else []
    timed = ["engine", *sketch, "predict", "forward", *options.peers]
    weighed = [] if options.no_memory else ["train", "engine", *options.memory]
    columns = [*(f"{key}/train" for key in timed), "engine/train-nhwc"] if not options.no_time else []
    columns += [f"{key} MiB" for key in weighed] + ["MiB ratio"] * bool(weighed)
    print(f"{options.size}×{options.size} images, {options.classes} classes")
    print(f"{'model':15s} {'batch':>5s}  {'train ms':>8s}  " + "  ".join(columns))
    told: set[str] = set()
    for name in options.models:
        for batch in options.batches:
            setting = Setting(name, batch, options.size, options.device, options.classes, options.sketch)
            works, missing = contestants(setting, ["train", "train-nhwc", *timed])
            for line in missing:
                if line not in told:
                    print(f"skipped: {line}")
            told |= set(missing)
            cells = ["-"]
            if not options.no_time:
                seconds = interleaved(works, options.repeats, dict.fromkeys(options.peers, options.peer_repeats))
                cells = [f"{seconds['train'] * 1e3:.1f}", *(ratio(seconds, key, "train") for key in timed)]
                cells.append(ratio(seconds, "engine", "train-nhwc"))
            if weighed:
                cells += _weights(setting, [key for key in weighed if key in works], weighed, options)
            widths = [8, *(len(column) for column in columns)]
            padded = [f"{cell:>{width}s}" for cell, width in zip(cells, widths, strict=True)]
            print(f"{name:15s} {batch:5d}  " + "  ".join(padded), flush=True)


def _weights(setting: Setting, able: Sequence[str], wanted: Sequence[str], options: argparse.Namespace) -> list[str]:
    """A cell for the memory of each who is wanted, and the engine's relative to a training step's."""
    found = peak_growths(setting, able, options.threads, options.memory_repeats)
    cells = [f"{found[key] / MEBIBYTE:.0f}" if key in found else "-" for key in wanted]
    return [*cells, ratio(found, "engine", "train")]


def layers(options: argparse.Namespace) -> None:
    """Where the engine's time goes: the rules, module by module, and all the rest.

    Replicas work at the same time: the rules' times are summed over them, and only the last line is by the clock.
    """
    model = build_model(Setting(options.layers, 1, options.size, options.device, options.classes))
    for path, module in model.named_modules():
        module.path = path  # which the replicas inherit
    engine = GradientEngine(model, head=None, memory_limit_bytes=MEMORY_LIMIT)
    rules: set[Rule] = {assigned.rule for assigned in engine.assigned}
    batch = options.batches[-1]
    inputs = torch.randn(batch, 3, options.size, options.size, device=options.device)
    direction = {key: torch.randn_like(value).detach() for key, value in model.named_parameters()}
    engine.score(inputs, direction)
    turns: list[dict[str, list[float]]] = []
    totals = []
    for _ in range(options.repeats):
        with ExitStack() as until_scored:
            turns.append({})
            for rule in rules:
                until_scored.enter_context(_timed(rule, turns[-1]))
            totals.append(seconds_of(lambda: engine.score(inputs, direction)))
    medians = {key: statistics.median(sum(turn.get(key, ())) for turn in turns) for key in turns[0]}
    for key, value in sorted(medians.items(), key=lambda entry: -entry[1]):
        print(f"{value * 1e3:8.2f} ms  {key}")
    total = statistics.median(totals)
    print(f"{sum(medians.values()) * 1e3:8.2f} ms  all rules\n{total * 1e3:8.2f} ms  score, batch {batch}")


@contextmanager
def _timed(rule: Rule, spent: dict[str, list[float]]) -> Iterator[None]:
    """Meanwhile note the seconds of every call of the rule in ``spent``, by layer."""
    plain = rule.contributions

    def timed(call: LayerCall) -> Contribution:
        synchronise()
        start = time.perf_counter()
        result = plain(call)
        synchronise()
        key = f"{call.module.path} {type(call.module).__name__} {tuple(call.inputs.shape[1:])}"
        spent.setdefault(key, []).append(time.perf_counter() - start)
        return result

    rule.contributions = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        del rule.contributions  # the class's own again


def routes(options: argparse.Namespace) -> None:
    """Every route's time, beside the cost model's, on the convolutions of each model as they are met in a pass.

    The marked one is taken: the smallest by the model. One thread, as in a replica.
    """
    batch = options.batches[-1]
    torch.set_num_threads(1)
    for name in options.routes:
        model = build_model(Setting(name, 1, options.size, options.device, options.classes))
        engine = GradientEngine(model, head=None, memory_limit_bytes=MEMORY_LIMIT)
        inputs = torch.randn(batch, 3, options.size, options.size, device=options.device)
        engine.score(inputs, None)
        calls: dict[tuple[object, ...], LayerCall] = {}
        for rule in {assigned.rule for assigned in engine.assigned if isinstance(assigned.rule, ConvRule)}:
            with _collected(rule, calls):
                engine.score(inputs, None)
        print(f"{name}, batch {batch}, ms (by the cost model)")
        for call in calls.values():
            _show_routes(call, options)


@contextmanager
def _collected(rule: Rule, calls: dict[tuple[object, ...], LayerCall]) -> Iterator[None]:
    """Meanwhile keep one call of the rule per kind of layer."""
    plain = rule.contributions

    def collected(call: LayerCall) -> Contribution:
        kind = (str(call.module), tuple(call.inputs.shape[1:]))
        calls.setdefault(kind, call)
        return plain(call)

    rule.contributions = collected  # type: ignore[method-assign]
    try:
        yield
    finally:
        del rule.contributions  # the class's own again


def _show_routes(call: LayerCall, options: argparse.Namespace) -> None:
    layer, inputs = as_plane(call, call.module)
    wanted = Wanted(torch.randn(layer.weight_shape, device=inputs.device).to(memory_format=torch.channels_last))
    predicted = cost.convolution_routes(
        layer.outer, layer.pixels_in, layer.channels_in, layer.kernel, cost.machine_for(inputs.device.type)
    )
    works: dict[str, Work] = {
        key: partial(route, layer, inputs, call.gradient, wanted, CACHE_BYTES)
        for key, route in ROUTES.items()
        if predicted[key] < 8 * min(predicted.values())
    }
    seconds = interleaved(works, options.repeats)
    chosen, scale = cost.cheapest(predicted), 1e3 * len(inputs)
    entries = [
        f"{'*' if key == chosen else ''}{key} {value * 1e3:.1f} ({predicted[key] * scale:.1f})"
        for key, value in seconds.items()
    ]
    kernel, stride = ("×".join(map(str, pair)) for pair in (layer.kernel, layer.stride))
    channels = f"{layer.groups * layer.channels_in}→{layer.weight_shape[0]}"
    print(f"  {channels} at {layer.size_in[0]}², {kernel} by {stride}: {'; '.join(entries)}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    found = parser(__doc__)
    found.add_argument("--models", nargs="+", default=["cnn", "vgg11", "resnet18"], metavar="MODEL", help=MODELS)
    found.add_argument("--batches", nargs="+", type=int, default=[16, 64, 128])
    found.add_argument("--size", type=int, default=32, help="image side in pixels")
    found.add_argument("--classes", type=int, default=10)
    found.add_argument("--repeats", type=int, default=7)
    found.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    found.add_argument("--peer-repeats", type=int, default=3, help="peers are slow: they take fewer turns")
    found.add_argument("--sketch", type=int, default=0, metavar="DIMENSION")
    found.add_argument("--memory", nargs="*", default=[], choices=list(PEERS), help="peers to be measured too")
    found.add_argument("--memory-repeats", type=int, default=3)
    found.add_argument("--no-memory", action="store_true")
    found.add_argument("--no-time", action="store_true")
    found.add_argument("--layers", metavar="MODEL")
    found.add_argument("--routes", nargs="+", metavar="MODEL", help=MODELS)
    found.add_argument("--keep-freed", action="store_true", help="freed memory stays, as in `dalcli train`")
    options = found.parse_args(arguments)
    if options.keep_freed:
        keep_freed_memory()
    options.peers = list(dict.fromkeys([*options.peers, *options.memory]))
    print(machine(options))
    if options.layers:
        layers(options)
    elif options.routes:
        routes(options)
    else:
        compare(options)


if __name__ == "__main__":
    main()
