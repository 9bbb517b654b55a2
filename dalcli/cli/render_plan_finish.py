"""What ``plan --finish`` shows: every way to a pool with a label on each image, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, listing, text
from dalcli.config.words import counted
from dalcli.planning.figures import amount

if TYPE_CHECKING:
    from dalcli.planning.finish import FinishResult


def finish(result: FinishResult) -> str:
    """Where we stand, then a line a way."""
    header = ["", "evaluation labels", "by the model", "error at most", "by hand"]
    header += ["rounds"] if result.price_per_round else []
    header += ["left"] if result.budget is not None else []
    header += [result.currency or "money"] if result.price_per_label is not None else []
    rows = []
    for place, way in enumerate(result.ways):
        mark = "* " if place == result.best else "  "
        error = None if way.bound is None else f"{100 * way.bound:.2f}%"
        row: list[object] = [f"{mark}{way.how}", f"{way.evaluation_labels:,}", f"{way.by_model:,}", error]
        row.append(f"{way.by_hand:,}")
        row += [f"{way.rounds:,}"] if result.price_per_round else []
        row += [f"{way.left:,}"] if result.budget is not None else []
        row += [None if way.money is None else amount(way.money, "")] if result.price_per_label is not None else []
        rows.append(row)
    return text(facts(_head(result)), "", listing(header, rows), "", f"next: {result.next_step}")


def _head(result: FinishResult) -> Iterator[tuple[str, object]]:
    out = f", {result.in_flight} more are out" if result.in_flight else ""
    if out and result.price_per_label:
        out += f"; their votes will cost {amount(result.price_per_label * result.in_flight, result.currency)} besides"
    yield "without a label", f"{counted(result.images, 'image')} that no person has answered{out}"
    if result.standing:
        yield "by a model", f"{result.standing:,} of them have a label that stands"
    yield "promise", f"at most {100 * result.max_error:g}% of its labels are wrong, {100 * result.confidence:g}% sure"
    left = f"; {result.evaluation_left} more in the reserve, which are not counted here"
    yield "rests on", f"{result.version} and {counted(result.evaluation_labels, 'evaluation label')}{left}"
    if result.price_per_label is None:
        yield "price", "unknown: set costs.price_per_vote in dalcli.yaml"
    else:
        a_round = f", and {amount(result.price_per_round, result.currency)} a round" if result.price_per_round else ""
        rounds = f"{a_round} of {counted(result.batch, 'label')}" if a_round else ""
        yield "price", f"{amount(result.price_per_label, result.currency)} a label{rounds}"
    if result.budget is not None:
        yield "money", amount(result.budget, result.currency)
