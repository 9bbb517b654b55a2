"""How ``dalcli score`` grows with the pool (linearly), and the engine with the number of classes (hardly).

    python benchmarks/scaling.py                            both
    python benchmarks/scaling.py --images 1000 8000 --classes
    python benchmarks/scaling.py --images --classes 10 100 1000 --models resnet18 --batch 128

Pools: the whole command from cached pixels, ms per image relative to the smallest pool, and the process's peak memory,
imports included (on a GPU: its allocator's). Classes: the engine on one batch of random images, time and growth of
peak memory relative to the fewest classes, next to a training step's. Everything takes turns; medians.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from contestants import Setting, contestants, peak_growths
from image_pools import Pool, in_turns, make_pool, the_command
from measuring import MEBIBYTE, Work, interleaved, machine, parser, ratio

SIZE = 32
BOTH = ("engine", "train")


def pool_sizes(options: argparse.Namespace) -> None:
    """A row per pool size."""
    print(f"\ndalcli score, {options.pool_model}, {SIZE}×{SIZE} PNG files, pixels cached")
    print(f"{'images':>8}{'seconds':>9}{'ms/image':>10}{'relative':>10}{'peak MiB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        ways = []
        for count in options.images:
            root = Path(folder) / str(count)
            pool = Pool(count, SIZE, options.pool_model, "png", (SIZE, SIZE), options.device, options.threads)
            make_pool(root, pool)
            ways.append((str(count), the_command, root))
        found = in_turns(ways, options.pool_repeats)
    first = found[str(options.images[0])][0] / options.images[0]
    for count in options.images:
        seconds, memory = found[str(count)]
        each = seconds / count
        print(f"{count:>8}{seconds:>9.2f}{1e3 * each:>10.2f}{each / first:>10.2f}{memory:>10.0f}", flush=True)


def class_counts(options: argparse.Namespace) -> None:
    """A row per model and number of classes."""
    print(f"\none batch of {options.batch} images of {SIZE}×{SIZE}; relative to {options.classes[0]} classes")
    names = f"{'engine ms':>11}{'relative':>10}{'train':>8}{'engine MiB':>12}{'relative':>10}{'train':>8}"
    print(f"{'model':15s}{'classes':>8}{names}")
    for model in options.models:
        settings = {
            count: Setting(model, options.batch, SIZE, options.device, classes=count) for count in options.classes
        }
        works: dict[str, Work] = {}
        for count, setting in settings.items():
            entered, _ = contestants(setting, BOTH)
            works |= {f"{name} {count}": work for name, work in entered.items()}
        seconds = interleaved(works, options.repeats)
        memory = {
            f"{name} {count}": value
            for count, setting in settings.items()
            for name, value in peak_growths(setting, BOTH, options.threads, options.memory_repeats).items()
        }
        for count in options.classes:
            cells = f"{1e3 * seconds[f'engine {count}']:>11.1f}" + _relative(seconds, count, options.classes[0])
            cells += f"{memory[f'engine {count}'] / MEBIBYTE:>12.0f}" + _relative(memory, count, options.classes[0])
            print(f"{model:15s}{count:>8}{cells}", flush=True)


def _relative(found: dict[str, float], count: int, first: int) -> str:
    engine, train = (ratio(found, f"{name} {count}", f"{name} {first}") for name in BOTH)
    return f"{engine:>10}{train:>8}"


def main(arguments: Sequence[str] | None = None) -> None:
    found = parser(__doc__)
    found.add_argument("--images", nargs="*", type=int, default=[1000, 2000, 4000, 8000], help="none: no pools")
    found.add_argument("--pool-model", default="cnn", metavar="MODEL")
    found.add_argument("--pool-repeats", type=int, default=3)
    found.add_argument("--classes", nargs="*", type=int, default=[10, 100, 1000], help="none: no classes")
    found.add_argument("--models", nargs="+", default=["cnn", "vgg11", "resnet18"], metavar="MODEL")
    found.add_argument("--batch", type=int, default=64)
    found.add_argument("--repeats", type=int, default=5)
    found.add_argument("--memory-repeats", type=int, default=3)
    options = found.parse_args(arguments)
    print(machine(options))
    if options.images:
        pool_sizes(options)
    if options.classes:
        class_counts(options)


if __name__ == "__main__":
    main()
