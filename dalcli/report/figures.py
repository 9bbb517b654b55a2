"""Figures and names as a report writes them."""

from __future__ import annotations

from collections.abc import Callable

from dalcli.config.words import plural
from dalcli.planning.figures import amount
from dalcli.planning.result import NextBatch, PlanResult, Range

DASH = "–"
NOBODY = "(no name)"


def percent(value: float | None) -> str:
    """0.912 as 91.2%."""
    return DASH if value is None else f"{100 * value:.1f}%"


def figure_of(plan: PlanResult) -> Callable[[float], str]:
    """How values of the plan's metric are written."""
    return (lambda value: f"{value:.3g}") if plan.less_is_better else percent


def money(value: float | None, currency: str) -> str:
    """``1,250 EUR``."""
    return DASH if value is None else amount(value, currency)


def number(value: float | None) -> str:
    """1250 as 1,250."""
    return DASH if value is None else f"{value:,.0f}"


def points(value: float) -> str:
    """A difference of shares in points: +1.2."""
    return f"{100 * value:+.1f}".replace("-", "−")


def day(moment: str | None) -> str:
    """The day and minute of a stored moment."""
    return DASH if moment is None else f"{moment[:10]} {moment[11:16]} UTC"


def sentence(text: str) -> str:
    """With a capital at its beginning and a full stop at its end."""
    text = text.strip()
    if not text:
        return text
    return text[0].upper() + text[1:] + ("" if text[-1] in ".:!?" else ".")


def spread(values: Range[float], written: Callable[[float], str]) -> str:
    """A middle with the two ends that 80 in 100 futures lie between."""
    return f"{written(values.p50)} ({written(values.p10)} to {written(values.p90)})"


def who(annotator: str) -> str:
    """An annotator's name; one that nobody named is said to have none."""
    return annotator or NOBODY


def of_batch(batch: NextBatch) -> str:
    """Its size: labels, and images where it takes more of them."""
    labels = plural(batch.labels, "label")
    return labels if batch.images == batch.labels else f"{plural(batch.images, 'image')}, {labels}"


def way_to_proof(plan: PlanResult) -> str:
    """The cheapest: labels to train on first, then evaluation labels."""
    proof = plan.proof
    assert proof is not None and proof.training is not None and proof.evaluation is not None
    more = [plural(proof.training, "more label")] if proof.training else []
    more += [plural(proof.evaluation, "more evaluation label")] if proof.evaluation else []
    return ", then ".join(more) or "nothing more"
