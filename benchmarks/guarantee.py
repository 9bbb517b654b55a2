"""Does the promise of `predict --auto` hold? Draws from laws in which the truth is known, and from real outcomes.

    python benchmarks/guarantee.py [--draws N] [--pool N] [--labels 200,400,1000,3000] [--max-error 0.01]
        [--workspace DIR] [--output table.md]

Each draw is an evaluation set and a pool; each threshold is chosen on the first, and judged on the second. Counted are
draws in which the error to be expected among the accepted is larger than promised (`rate`), and those in which the
error among these very images is (`images`); 5% of each are allowed. The naive threshold is the lowest one above which
the evaluation set has no larger error than asked for. With --workspace, pairs (confidence, right or wrong) are drawn
with replacement from what the newest measured version said of its evaluation labels: a population of real predictions.

Prints a Markdown table. Half a minute on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dalcli.feedback import SilentFeedback
from dalcli.prediction.evidence import judged
from dalcli.prediction.guarantee import Evidence, Promise, capped, last_passed
from dalcli.state import evaluations
from dalcli.workspace.session import open_session

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Law:
    """Where images come from: `draw` gives confidences and who is wrong; `rate` is the error above a threshold."""

    name: str
    draw: Callable[[np.random.Generator, int], tuple[Floats, NDArray[np.bool_]]]
    rate: Callable[[Floats, NDArray[np.bool_], float], float]


def made_up(name: str, wrong: Callable[[Floats], Floats]) -> Law:
    """Confidences from 0.5 to 1, most of them high, with known chances to be wrong."""

    def confidences(rng: np.random.Generator, count: int) -> Floats:
        return (1 - 0.5 * rng.beta(0.3, 1.5, count)).astype(np.float32)

    population = confidences(np.random.default_rng(99), 400_000)
    chances = wrong(population)
    order = np.argsort(-population)
    running = np.cumsum(chances[order]) / np.arange(1, len(order) + 1)
    ascending = -population[order]

    def draw(rng: np.random.Generator, count: int) -> tuple[Floats, NDArray[np.bool_]]:
        sure = confidences(rng, count)
        return sure, rng.random(count) < wrong(sure)

    def rate(_sure: Floats, _wrong: NDArray[np.bool_], threshold: float) -> float:
        place = int(np.searchsorted(ascending, -np.float32(threshold), side="right"))
        return float(running[max(place - 1, 0)])

    return Law(name, draw, rate)


def real(name: str, sure: Floats, wrong: NDArray[np.bool_]) -> Law:
    """Pairs drawn with replacement."""

    def draw(rng: np.random.Generator, count: int) -> tuple[Floats, NDArray[np.bool_]]:
        rows = rng.integers(0, len(sure), count)
        return sure[rows], wrong[rows]

    def rate(_sure: Floats, _wrong: NDArray[np.bool_], threshold: float) -> float:
        return float(wrong[capped(sure) >= np.float32(threshold)].mean())

    return Law(name, draw, rate)


def laws(max_error: float) -> list[Law]:
    """From an honest model to one that no threshold makes good enough."""
    return [
        made_up("calibrated: wrong with chance 1 − c", lambda c: 1 - c),
        made_up("overconfident: 3 (1 − c)", lambda c: np.minimum(1, 3 * (1 - c))),
        made_up("some surely wrong: (1 − c) + 0.4%", lambda c: np.minimum(1, 1 - c + 0.004)),
        made_up("a little too wrong everywhere: 1.1 α", lambda c: np.full_like(c, 1.1 * max_error)),
    ]


def of_workspace(directory: Path) -> Law:
    """What the newest measured version said."""
    with open_session(directory, SilentFeedback()) as session, session.database.read() as connection:
        version = evaluations.newest_by_version(connection)[-1].version
        found = judged(evaluations.newest_of(connection, version), version)
    return real(f"{len(found)} real outcomes ({100 * found.wrong.mean():.1f}% wrong)", found.confidence, found.wrong)


def naive(sure: Floats, wrong: NDArray[np.bool_], max_error: float) -> float | None:
    """The lowest threshold above which no more were wrong than asked for."""
    order = np.argsort(-sure, kind="stable")
    good = np.flatnonzero(np.cumsum(wrong[order]) <= max_error * np.arange(1, len(sure) + 1))
    return float(sure[order][good[-1]]) if len(good) else None


def row(law: Law, labels: int, pool: int, max_error: float, draws: int) -> str:
    """One line of the table."""
    rng = np.random.default_rng([labels, len(law.name)])
    promise = Promise(max_error, 0.05)
    made = rate = images = 0
    accepted = naive_rate = naive_accepted = 0.0
    for _ in range(draws):
        there, there_wrong = law.draw(rng, pool)
        sure, wrong = law.draw(rng, labels)
        step = last_passed(Evidence(there, pool, labels, sure[wrong]).tested(promise))
        if step is not None:
            taken = capped(there) >= np.float32(step.threshold)
            made += 1
            accepted += float(taken.mean())
            rate += law.rate(there, there_wrong, step.threshold) > max_error
            images += bool(there_wrong[taken].mean() > max_error)
        threshold = naive(sure, wrong, max_error)
        if threshold is not None:
            naive_accepted += float((there >= threshold).mean())
            naive_rate += law.rate(there, there_wrong, threshold) > max_error
    cells = (made, accepted, rate, images, naive_accepted, naive_rate)
    return f"| {law.name} | {labels:,} | " + " | ".join(f"{100 * cell / draws:.1f}%" for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--pool", type=int, default=3000)
    parser.add_argument("--labels", default="200,400,1000,3000")
    parser.add_argument("--max-error", type=float, default=0.01)
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument("--output", type=Path, default=None)
    given = parser.parse_args()
    known = laws(given.max_error) + ([] if given.workspace is None else [of_workspace(given.workspace)])
    lines = [
        "| law | evaluation labels | promises made | accepted | broken: rate | broken: images | naive: accepted "
        "| naive: broken |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for law in known:
        for labels in map(int, given.labels.split(",")):
            lines.append(row(law, labels, given.pool, given.max_error, given.draws))
            print(lines[-1], flush=True)
    if given.output is not None:
        given.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
