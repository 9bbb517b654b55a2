"""What ``score`` says about the honesty of a table: how far sketches are off, and what a prescreen may have missed."""

from __future__ import annotations

from dalcli.feedback import Feedback
from dalcli.scores.columns import Group
from dalcli.scores.labeled_sketch import SketchReport
from dalcli.scores.recall import COLUMNS, PrescreenRecall, measured_recall
from dalcli.scores.store import ScoreStore


def recall(store: ScoreStore) -> PrescreenRecall | None:
    """The statement for a prescreened table, for the configured budget or 1% of the pool."""
    made = None if store.recorded is None else store.recorded.gradients
    if made is None or not made.prescreened:
        return None
    table = store.table({Group.GRADIENTS})
    if table is None:
        return None
    return measured_recall(table.blocks(COLUMNS), store.config.query.budget, made.prescreen, made.gamma)


def tell(feedback: Feedback, sketch: SketchReport | None, prescreen: PrescreenRecall | None) -> None:
    """Both as notes."""
    if sketch is not None:
        feedback.note(sketch_sentence(sketch))
    if prescreen is not None:
        feedback.note(recall_sentence(prescreen))


def sketch_sentence(report: SketchReport) -> str:
    """One line for people."""
    if report.inner_rms is None:
        return f"sketches of {report.dimension} numbers; too few samples to measure their error"
    return (
        f"sketches of {report.dimension} numbers: inner products are off by {report.inner_rms:.3f} ‖g_u‖‖g_v‖ "
        f"(root mean square over the pairs of {report.samples} samples; expected {report.expected:.3f})"
    )


def recall_sentence(found: PrescreenRecall) -> str:
    """One line for people."""
    scored = f"prescreen: {found.scored} of {found.samples} samples were scored exactly"
    if found.recall is None or found.missed is None or found.recall_at_least is None:
        return f"{scored}; no control sample was drawn, so nothing is known about what that missed"
    if found.scored == found.samples:
        return scored
    return (
        f"{scored}; recall of the exact top {found.budget} (γ = {found.gamma:g}): {100 * found.recall:.1f}%, at least "
        f"{100 * found.recall_at_least:.1f}% with 95% confidence ({found.control_hits} of {found.control} control "
        f"samples belong to it)"
    )
