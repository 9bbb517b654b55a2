"""How well the cost model picks routes, and the rates that make it pick best.

    python benchmarks/calibrate.py              measure, fit, and compare the rates in the code with the fitted ones
    python benchmarks/calibrate.py --layers     the same, with every layer's routes

Every route is measured on a grid of layers (one thread, as in an engine's replica; processor time, smallest of several
repeats). Rates are fitted to the logarithms of all times together, so that a small layer counts as much as a
large one. What matters is the last line: how often the cheapest route by the model is the fastest, and how
much time its choices cost over always taking the fastest.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from functools import partial

import numpy as np
import torch
from scipy.optimize import least_squares
from torch.nn import functional

from dalcli.gradients.rules.base import Wanted
from dalcli.gradients.rules.conv_routes import ROUTES
from dalcli.gradients.rules.convolution import Convolution
from dalcli.gradients.rules.cost import CPU, Machine, Outer, cheapest, convolution_routes, matmul_routes
from dalcli.gradients.rules.linear import BY_ROUTE

SAMPLES = 16
CHUNK = 4 * 2**20
HOPELESS = 12.0  # routes that the model finds so many times slower than the best are not run


@dataclass(frozen=True)
class Trial:
    """One layer: what each route takes per sample, measured, and what a machine would make of it."""

    name: str
    seconds: dict[str, float]
    predicted: Callable[[Machine], Mapping[str, float]]


# In channels, out channels, input side, kernel, stride, groups.
CONVOLUTIONS = [
    *[(3, width, side, 3, 1, 1) for width, side in ((32, 32), (64, 32), (64, 64))],
    (3, 64, 64, 7, 2, 1),
    (3, 96, 64, 4, 4, 1),
    (3, 192, 64, 8, 8, 1),
    *[(width, width, side, 3, 1, 1) for width, side in ((16, 32), (32, 32), (64, 32), (64, 16), (64, 56), (128, 16))],
    *[(width, width, side, 3, 1, 1) for width, side in ((128, 28), (128, 8), (256, 14), (256, 8), (256, 4))],
    *[(width, width, side, 3, 1, 1) for width, side in ((512, 7), (512, 4), (512, 2))],
    *[(width, 2 * width, side, 3, 1, 1) for width, side in ((32, 32), (64, 16), (64, 32), (128, 8), (256, 4))],
    *[(width, 2 * width, side, 3, 2, 1) for width, side in ((32, 32), (64, 32), (64, 56), (128, 16), (256, 8))],
    *[(width, 2 * width, side, 1, 2, 1) for width, side in ((64, 32), (64, 56), (128, 16), (256, 8), (512, 14))],
    *[(width, 4 * width, side, 1, 1, 1) for width, side in ((32, 32), (64, 16), (128, 8), (256, 4), (256, 14))],
    *[(4 * width, width, side, 1, 1, 1) for width, side in ((32, 32), (64, 16), (128, 8), (256, 4), (256, 14))],
    *[(width, width, side, kernel, 1, width) for width, side in ((48, 32), (96, 16), (192, 8)) for kernel in (3, 5, 7)],
    *[(width, width, side, 3, 1, 8) for width, side in ((64, 32), (128, 16), (256, 8))],
]
# Positions, in features, out features.
LINEAR = [
    (4, 768, 768),
    (16, 192, 768),
    (49, 384, 1536),
    (65, 192, 576),
    (197, 768, 768),
    (256, 96, 384),
    (1024, 48, 48),
]


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Seconds per sample."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times) / SAMPLES


def convolution_trial(shape: tuple[int, int, int, int, int, int], repeats: int) -> Trial:
    channels, width, side, kernel, stride, groups = shape
    padding = 0 if kernel == stride else kernel // 2
    last = torch.channels_last
    inputs = torch.randn(SAMPLES, channels, side, side).contiguous(memory_format=last)
    weight = torch.randn(width, channels // groups, kernel, kernel).contiguous(memory_format=last)
    outputs = functional.conv2d(inputs, weight, None, stride, padding, 1, groups)
    gradient = torch.randn_like(outputs)
    layer = Convolution(
        (kernel, kernel),
        (stride, stride),
        (padding, padding),
        (1, 1),
        groups,
        channels // groups,
        width // groups,
        (side, side),
        (outputs.shape[2], outputs.shape[3]),
        4,
    )
    predicted = partial(convolution_routes, layer.outer, layer.pixels_in, layer.channels_in, layer.kernel)
    works = {key: partial(route, layer, inputs, gradient, Wanted(weight), CHUNK) for key, route in ROUTES.items()}
    name = f"{channels}→{width} at {side}², {kernel}×{kernel}/{stride}" + (f", {groups} groups" if groups > 1 else "")
    return Trial(name, _seconds(works, predicted, repeats), predicted)


def linear_trial(positions: int, columns: int, rows: int, repeats: int) -> Trial:
    inputs, gradient = torch.randn(SAMPLES, positions, columns), torch.randn(SAMPLES, positions, rows)
    predicted = partial(matmul_routes, Outer(positions, rows, columns, 1, 4))
    wanted = Wanted(torch.randn(rows, columns))
    works = {key: partial(route, inputs, gradient, wanted, CHUNK) for key, route in BY_ROUTE.items()}
    return Trial(f"linear {columns}→{rows} at {positions}", _seconds(works, predicted, repeats), predicted)


def _seconds(
    works: Mapping[str, Callable[[], object]], predicted: Callable[[Machine], Mapping[str, float]], repeats: int
) -> dict[str, float]:
    costs = predicted(CPU)
    return {key: fastest(work, repeats) for key, work in works.items() if costs[key] < HOPELESS * min(costs.values())}


def fitted(trials: list[Trial], start: Machine) -> Machine:
    """The rates for which predicted times are nearest to measured ones, by their logarithms."""

    def errors(logarithms: np.ndarray) -> list[float]:
        machine = Machine(*np.exp(logarithms))
        return [
            math.log(trial.predicted(machine)[key] / seconds)
            for trial in trials
            for key, seconds in trial.seconds.items()
        ]

    found = least_squares(errors, np.log(astuple(start)), loss="soft_l1", f_scale=0.3)
    return Machine(*(float(f"{value:.2g}") for value in np.exp(found.x)))


def judged(trials: list[Trial], machine: Machine) -> str:
    """How often the choice is the fastest route, how much slower it is at worst, and in all."""
    right, spent, best, worst = 0, 0.0, 0.0, (0.0, "")
    for trial in trials:
        chosen, least = trial.seconds[_choice(trial, machine)], min(trial.seconds.values())
        right += chosen <= 1.05 * least
        spent, best = spent + chosen, best + least
        worst = max(worst, (chosen / least, trial.name))
    return (
        f"fastest (within 5%) on {right} of {len(trials)} layers, {spent / best - 1:.1%} over the fastest in all, "
        f"at worst {worst[0]:.2f} times ({worst[1]})"
    )


def _choice(trial: Trial, machine: Machine) -> str:
    costs = trial.predicted(machine)
    return cheapest({key: costs[key] for key in trial.seconds})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--layers", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trials = [convolution_trial(shape, options.repeats) for shape in CONVOLUTIONS]
    trials += [linear_trial(*shape, options.repeats) for shape in LINEAR]
    machine = fitted(trials, CPU)
    if options.layers:
        for trial in trials:
            costs, chosen = trial.predicted(CPU), _choice(trial, CPU)
            entries = [
                f"{'*' if key == chosen else ''}{key} {seconds * 1e6:.0f} ({costs[key] * 1e6:.0f})"
                for key, seconds in trial.seconds.items()
            ]
            print(f"{trial.name}, µs (model): {'; '.join(entries)}")
    for label, rates in (("in the code", CPU), ("fitted", machine)):
        described = ", ".join(f"{field.name}={getattr(rates, field.name):.2g}" for field in fields(Machine))
        print(f"{label}: {described}\n    {judged(trials, rates)}")


if __name__ == "__main__":
    main()
