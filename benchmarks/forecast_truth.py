"""Does the band hold what is *true*, where all rounds are measured on the same few examples? Simulated; minutes.

    python benchmarks/forecast_truth.py [--runs N] [--examples 20,100,400]

Public curves tell what is measured next, on their own test sets; nobody knows what an endless test set would have said.
Here the law is known. An example is right where it is easier than the model is good; at each round some of them are
drawn anew ("own": models differ), the others stay, as an evaluation set does. For eight rounds of 100 labels, how often
is what 80 in 100 futures say right: of the true metric today and later, of the next measurement, of the true gain? And
how often is a target that the pool does reach, by a point, called infeasible (a chance below 5%)?
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from dalcli.forecasting.curves import Curve, Floats, Point
from dalcli.forecasting.forecast import forecast
from dalcli.planning.verdict import SMALL_CHANCE

SIZES = [100 * number for number in range(1, 9)]
AHEAD = (1.0, 1.25, 2.0)
POOL = 3200
OWN = (0.0, 0.5, 1.0)
Law = Callable[[float], float]


def power(generator: np.random.Generator) -> Law:
    """What most curves look like."""
    ceiling, exponent, first = generator.uniform((0.75, 0.3, 0.2), (0.97, 0.9, 0.5))
    return lambda labels: float(ceiling - first * (labels / 100) ** -exponent)


def flat(generator: np.random.Generator) -> Law:
    """Nothing more to learn."""
    level = generator.uniform(0.5, 0.95)
    return lambda labels: float(level)


def plateau(generator: np.random.Generator) -> Law:
    """Learned, and then nothing more: sooner at its end than power laws are."""
    ceiling, first, pace = generator.uniform((0.75, 0.2, 100), (0.97, 0.5, 400))
    return lambda labels: float(ceiling - first * np.exp(-labels / pace))


LAWS = {"power": power, "flat": flat, "plateau": plateau}


@dataclass
class Held:
    """How often it was right."""

    true: list[list[bool]] = field(default_factory=list)
    measured: list[list[bool]] = field(default_factory=list)
    gained: list[list[bool]] = field(default_factory=list)
    given_up: list[bool] = field(default_factory=list)


def shown(law: Law, size: float, examples: Floats, own: float, generator: np.random.Generator) -> float:
    """The share of examples that a model of this size is right about."""
    anew = generator.random(len(examples)) < own
    return float(np.mean(np.where(anew, generator.random(len(examples)), examples) < law(size)))


def tried(law: Law, count: int, own: float, generator: np.random.Generator, held: Held) -> None:
    """One curve, its forecast, and what comes."""
    examples = generator.random(count)
    points = tuple(Point(size, shown(law, size, examples, own, generator), count) for size in SIZES)
    found = forecast(Curve(points, "active", 0.0), horizon=POOL, seed=0)
    ends = [0.1, 0.9]

    def inside(value: float, interval: Floats) -> bool:
        return bool(interval[0] - 1e-9 <= value <= interval[1] + 1e-9)

    today = SIZES[-1]
    later = [round(today * factor) for factor in AHEAD]
    held.true.append([inside(law(size), found.at(size, ends)) for size in later])
    held.measured.append(
        [inside(shown(law, size, examples, own, generator), found.measured_at(size, ends)) for size in later[1:]]
    )
    held.gained.append([inside(law(size) - law(today), found.gain(today, size, ends)) for size in later[1:]])
    held.given_up.append(float(np.mean(found.column(POOL) >= law(POOL) - 0.01)) < SMALL_CHANCE)


def main() -> None:
    """Print a line for every law, number of examples and share of them that is drawn anew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--examples", default="20,100,400")
    options = parser.parse_args()
    print(
        "| law | examples | own | true: today | 1.25 × | 2 × | measured: 1.25 × | 2 × | gain: 1.25 × | 2 × | given up |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, draw in LAWS.items():
        for count in map(int, options.examples.split(",")):
            for own in OWN:
                generator, held = np.random.default_rng(20261127), Held()
                for _ in range(options.runs):
                    tried(draw(generator), count, own, generator, held)
                shares = [*np.mean(held.true, 0), *np.mean(held.measured, 0), *np.mean(held.gained, 0)]
                shares.append(np.mean(held.given_up))
                print(
                    f"| {name} | {count} | {own:g} | " + " | ".join(f"{share:.0%}" for share in shares) + " |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
