"""What ``dalcli score`` costs beside the engine alone, up to the last shard, and what ``--dry-run`` foretold.

    python benchmarks/score_pass.py                                        1,000 images of 32×32 PNG, cnn
    python benchmarks/score_pass.py --model resnet18 --size 224 --format jpg --photo 640 480 --images 200

Every figure comes from a process of its own, engine and command in turns; times are medians, without Python's start.
"engine" is the same batches, ready in memory, through ``GradientEngine.score``, self-check included; "cache" and
"decode" are ``score --full`` with and without cached pixels, from the database to the last shard's row; "default" is
``score`` for the default strategy, from the cache. "foretold" is what ``--dry-run`` said just before. Memory is the
process's peak, imports included; on a GPU, its allocator's.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from image_pools import (
    Measured,
    Pool,
    forget_pixels,
    in_turns,
    make_pool,
    the_command,
    the_command_decoding,
    the_default,
    the_default_estimate,
    the_engine,
    the_estimate,
)
from measuring import machine, parser

WAYS = ("cache", "decode", "default")


def measure(root: Path, repeats: int) -> dict[str, Measured]:
    """Medians of everything, in turns."""
    ways = [
        ("engine", the_engine, root),
        ("cache foretold", the_estimate, root),
        ("cache", the_command, root),
        ("decode foretold", the_estimate_of_decoding, root),
        ("decode", the_command_decoding, root),
        ("default foretold", the_default_estimate, root),
        ("default", the_default, root),
    ]
    return in_turns(ways, repeats)


def the_estimate_of_decoding(root: Path) -> Measured:
    """What ``score --dry-run`` foretells without cached pixels."""
    forget_pixels(root)
    return the_estimate(root)


def row(count: int, found: dict[str, Measured]) -> str:
    """A line of the table: seconds, times the engine, foretold seconds and their error, MiB and their error."""
    engine, _ = found["engine"]
    cells = [f"{count:>7}", f"{engine:>8.2f}"]
    for name in WAYS:
        (seconds, memory), (said, said_memory) = found[name], found[f"{name} foretold"]
        cells += [f"{seconds:>8.2f}", f"{seconds / engine:>6.2f}", f"{said:>9.2f}", f"{said / seconds - 1:>+6.0%}"]
        cells += [f"{memory:>7.0f}", f"{said_memory / memory - 1:>+6.0%}"]
    return "".join(cells)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    found = parser(__doc__)
    found.add_argument("--images", nargs="+", type=int, default=[1000])
    found.add_argument("--size", type=int, default=32, help="side in pixels of what the model sees")
    found.add_argument("--photo", nargs=2, type=int, metavar=("WIDTH", "HEIGHT"), help="of the files; default: --size")
    found.add_argument("--model", default="cnn")
    found.add_argument("--format", default="png", choices=["png", "jpg"])
    found.add_argument("--repeats", type=int, default=3)
    options = found.parse_args(arguments)
    options.photo = tuple(options.photo or (options.size, options.size))
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = options_of(arguments)
    width, height = options.photo
    print(machine(options))
    print(f"{options.model} at {options.size}×{options.size}, {width}×{height} {options.format} files; seconds, MiB")
    each = f"{'ratio':>6}{'foretold':>9}{'error':>6}{'memory':>7}{'error':>6}"
    print(f"{'images':>7}{'engine':>8}" + "".join(f"{name:>8}{each}" for name in WAYS))
    for count in options.images:
        pool = Pool(count, options.size, options.model, options.format, options.photo, options.device, options.threads)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "w"
            make_pool(root, pool)
            print(row(count, measure(root, options.repeats)), flush=True)


if __name__ == "__main__":
    main()
