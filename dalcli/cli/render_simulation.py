"""What ``simulate`` shows: who is ahead, by how much, how surely, at what price."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, listing, text
from dalcli.config.words import counted
from dalcli.simulation.statistics.bootstrap import FEWEST, attainable_level

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.simulation.run import SimulateEstimate, SimulateResult
    from dalcli.simulation.statistics.comparison import Estimate, Needed
    from dalcli.simulation.summary import SettingSummary, StrategySummary, Versus

COUNTS_SHOWN = 7
CONVERGED_ENOUGH = 0.9


def simulation(result: SimulateResult) -> str:
    """All settings, then the notes that say how far to trust them."""
    parts: list[RenderableType] = [f"{result.title}: {result.done} of {counted(result.cells, 'cell')} done", ""]
    for setting in result.settings:
        if any(strategy.done or any(strategy.accuracy) for strategy in setting.strategies):
            parts += [*_setting(setting, result), ""]
    parts += [f"note: {note}" for note in _notes(result)]
    parts.append(f"files: {', '.join(result.files)} in {result.output}")
    return text(*parts)


def estimate(result: SimulateEstimate) -> str:
    """What a run would do."""
    tested = counted(result.test_images, "image")
    time = "not known before a round is done" if result.seconds is None else _duration(result.seconds)
    return text(
        facts(
            [
                ("images", f"{result.images} of {counted(result.classes, 'class', 'classes')}"),
                ("pool and test set", f"{result.pool_images} and {tested} for the first seed"),
                ("cells", f"{result.cells}, of which {counted(result.done, 'is', 'are')} done"),
                ("still to compute", f"{counted(result.rounds, 'round')} and {counted(result.starts, 'shared start')}"),
                ("processes", result.jobs),
                ("expected time", time),
                ("results", result.output),
            ]
        )
    )


def _setting(summary: SettingSummary, result: SimulateResult) -> Iterator[RenderableType]:
    setting = summary.setting
    words = [setting.variant, f"{counted(setting.batch_size, 'label')} a round", f"start {setting.initial_choice}"]
    tested = f"; {counted(summary.test_images, 'test image')}" if summary.test_images is not None else ""
    yield ", ".join(word for word in words if word) + tested
    yield ""
    ranked = sorted(summary.strategies, key=lambda s: s.area.mean if s.area else -1.0, reverse=True)
    yield _accuracy_table(summary.labels, ranked)
    yield ""
    yield _comparison_table(ranked, result)
    if any(any(strategy.needed) for strategy in ranked):
        yield ""
        yield _needed_table(ranked, result.baseline)
    yield ""
    yield _price_table(ranked)


def _accuracy_table(labels: Sequence[int], ranked: Sequence[StrategySummary]) -> RenderableType:
    last = len(labels) - 1
    shown = sorted({round(last * step / (COUNTS_SHOWN - 1)) for step in range(COUNTS_SHOWN)})
    header = ["accuracy % at labels", *(str(labels[column]) for column in shown)]
    rows = [
        [strategy.strategy, *(_spread(strategy.accuracy[column]) for column in shown)]
        for strategy in ranked
        if any(strategy.accuracy)
    ]
    return listing(header, rows)


def _comparison_table(ranked: Sequence[StrategySummary], result: SimulateResult) -> RenderableType:
    level = f"{100 * result.confidence:.3g}%"
    header = (
        "area under the curve",
        "seeds",
        "area %",
        f"minus {result.baseline} [{level}]",
        f"minus best other [{level}]",
    )
    rows = [
        (
            strategy.strategy,
            strategy.done if strategy.done == strategy.cells else f"{strategy.done} of {strategy.cells}",
            _interval(strategy.area),
            _versus(strategy.versus_baseline),
            _versus(strategy.versus_best_other, named=True),
        )
        for strategy in ranked
    ]
    return listing(header, rows)


def _needed_table(ranked: Sequence[StrategySummary], baseline: str) -> RenderableType:
    targets = [needed.accuracy for needed in next(s.needed for s in ranked if any(s.needed)) if needed]
    header = [f"labels needed (saved versus {baseline})", *(f"for {100 * target:.4g}%" for target in targets)]
    return listing(header, [[s.strategy, *(_needed(n) for n in s.needed)] for s in ranked if any(s.needed)])


def _price_table(ranked: Sequence[StrategySummary]) -> RenderableType:
    header = ["class balance and time", "balance", "of batches", "macro %"]
    header += ["s/round", "train", "score", "select", "converged"]
    rows = []
    for strategy in ranked:
        seconds = strategy.seconds
        times = [seconds.total, seconds.train, seconds.score, seconds.select] if seconds else [None] * 4
        rows.append(
            [
                strategy.strategy,
                _plain(strategy.balance, 1, 3),
                _plain(strategy.batch_balance, 1, 3),
                _plain(strategy.macro_accuracy, 100, 1),
                *(None if value is None else f"{value:.2f}" for value in times),
                None if strategy.converged is None else f"{100 * strategy.converged:.0f}%",
            ]
        )
    return listing(header, rows)


def _spread(value: Estimate | None) -> str | None:
    if value is None:
        return None
    return f"{100 * value.mean:.1f}" + (f" ± {100 * value.sd:.1f}" if value.sd is not None else "")


def _plain(value: Estimate | None, scale: float, digits: int) -> str | None:
    return None if value is None else f"{scale * value.mean:.{digits}f}"


def _interval(value: Estimate | None, sign: str = "") -> str | None:
    if value is None:
        return None
    shown = f"{100 * value.mean:{sign}.2f}"
    if value.low is None or value.high is None:
        return shown
    return f"{shown} [{100 * value.low:{sign}.2f}, {100 * value.high:{sign}.2f}]"


def _versus(versus: Versus | None, named: bool = False) -> str | None:
    if versus is None or versus.area is None:
        return None
    name = f" {versus.strategy}" if named else ""
    return f"{_interval(versus.area, '+')}{name}"


def _needed(needed: Needed | None) -> str | None:
    if needed is None:
        return None
    if needed.labels is None:
        return "not reached"
    shown = f"{needed.labels:.0f}"
    if needed.saved is not None:
        bounds = ""
        if needed.saved_low is not None and needed.saved_high is not None and not needed.at_least:
            bounds = f" [{needed.saved_low:+.0f}, {needed.saved_high:+.0f}]"
        least = "at least " if needed.at_least else ""
        shown += f" ({least}{needed.saved:+.0f}{bounds})"
    return shown


def _notes(result: SimulateResult) -> Iterator[str]:
    done = [strategy.done for setting in result.settings for strategy in setting.strategies]
    fewest = min(done, default=0)
    seeds = counted(fewest, "seed")
    if fewest < FEWEST:
        yield f"some strategies have {seeds}: fewer than {FEWEST} give no interval; their order means little"
    elif attainable_level(fewest) < result.confidence:
        yield (
            f"{seeds}: an interval is at most their range, which is {100 * attainable_level(fewest):.3g}% sure, "
            f"not {100 * result.confidence:.3g}%"
        )
    yield "± is the standard deviation over seeds; differences are within seeds, which share test set and first labels"
    tests = [setting.test_images for setting in result.settings if setting.test_images is not None]
    if tests:
        step = 100 / min(tests)
        yield f"one of {counted(min(tests), 'test image')} is {step:.2g} points of accuracy"
    converged = [s.converged for setting in result.settings for s in setting.strategies if s.converged is not None]
    if converged and min(converged) < CONVERGED_ENOUGH:
        yield (
            f"in up to {100 * (1 - min(converged)):.0f}% of a strategy's rounds training stopped before it converged: "
            "raise training.max_epochs, or this compares amounts of training"
        )
    if result.done < result.cells:
        missing = counted(result.cells - result.done, "cell is", "cells are")
        yield f"{missing} not done: means are over the cells that are"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d} (hours, minutes, seconds)"
