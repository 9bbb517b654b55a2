"""What ``train``, ``score`` and ``evaluate`` show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dalcli.cli.render_paired import gain, paired
from dalcli.cli.tables import facts, listing, percent, text
from dalcli.config.words import bytes_text, counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.commands.evaluate import EvaluateResult
    from dalcli.scores.labeled_sketch import SketchReport
    from dalcli.scores.recall import PrescreenRecall
    from dalcli.scoring.estimate import ScoreEstimate
    from dalcli.scoring.run import ScoreResult
    from dalcli.training.run import TrainResult


def train(result: TrainResult) -> str:
    m = result.model
    return text(
        facts(
            [
                ("model", f"{m.version} ({result.architecture}, {counted(m.classes, 'class', 'classes')})"),
                ("parent", m.parent or "none"),
                ("labels", m.labels),
                *([("epochs", m.epochs)] if m.penalty is None else [("penalty", f"{m.penalty:g}")]),
                ("train accuracy", percent(m.train_accuracy)),
                ("train loss", m.train_loss),
                ("converged", "yes" if m.converged else f"no (stopped by {m.stopped})"),
            ]
        )
    )


def score(result: ScoreResult) -> str:
    return text(
        facts(
            [
                ("model", result.version),
                ("scored samples", result.samples),
                ("shards", result.shards),
                ("columns", ", ".join(result.columns)),
                *_labeled_set(result),
                *([] if result.sketch is None else [("sketches", _sketch(result.sketch))]),
                *([] if result.prescreen is None else [("prescreen", _prescreen(result.prescreen))]),
            ]
        )
    )


def _labeled_set(result: ScoreResult) -> list[tuple[str, object]]:
    if result.labeled is None:
        return []
    samples = counted(result.labeled, "sample")
    return [("labeled set", f"{samples}, ‖G_S‖ = {result.labeled_gradient_norm:.6g}")]


def _sketch(report: SketchReport) -> str:
    if report.inner_rms is None:
        return f"{report.dimension} numbers, error unknown"
    return f"{report.dimension} numbers, inner products off by {report.inner_rms:.3f} (expected {report.expected:.3f})"


def _prescreen(found: PrescreenRecall) -> str:
    scored = f"{found.scored} of {found.samples} samples scored exactly"
    if found.recall is None or found.recall_at_least is None:
        return f"{scored}, recall unknown"
    return (
        f"{scored}, recall of the top {found.budget} {percent(found.recall)}, at least {percent(found.recall_at_least)}"
    )


def score_estimate(result: ScoreEstimate) -> str:
    rate = "" if result.samples_per_second is None else f" ({result.samples_per_second:.3g} samples/s)"
    return text(
        facts(
            [
                ("model", result.version),
                ("samples to score", result.samples),
                ("at once", result.micro_batch),
                ("time", f"{result.seconds:.0f} s{rate}"),
                ("memory", "unknown" if result.memory is None else bytes_text(result.memory)),
                *([] if result.device_memory is None else [("GPU memory", bytes_text(result.device_memory))]),
                ("disk for scores", bytes_text(result.score_bytes)),
                ("disk for cached pixels", bytes_text(result.cache_bytes)),
            ]
        )
    )


def evaluate(result: EvaluateResult) -> str:
    r = result.report
    interval = r["accuracy_interval"]
    head = facts(
        [
            ("model", f"{result.version} ({counted(result.labels, 'label')})"),
            ("evaluation samples", r["examples"]),
            (
                "accuracy",
                f"{percent(r['accuracy'])}  ({100 * interval['level']:g}% interval "
                f"{percent(interval['low'])} to {percent(interval['high'])})",
            ),
            *([] if result.paired is None else [("compared", paired(result.paired))]),
            *([] if result.control_gain is None else [("gain over random", gain(result.control_gain))]),
            *_calibration(r),
        ]
    )
    rows = [
        (c["name"], percent(c["precision"]), percent(c["recall"]), percent(c["f1"]), c["support"]) for c in r["classes"]
    ]
    per_class = listing(("class", "precision", "recall", "F1", "samples"), rows)
    return text(head, "", per_class, *_confusion(r["classes"], r["confusion"]))


def _calibration(r: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Likelihood and calibration error as they are, and with the temperature, if there is one."""
    fitted = r.get("temperature")  # measured by an older program: there is none
    figures = {"negative log-likelihood": "nll", "calibration error (ECE)": "ece"}
    if fitted is None or fitted["value"] is None:
        rows: list[tuple[str, object]] = [(name, r[key]) for name, key in figures.items()]
        return rows if fitted is None else [*rows, ("temperature", f"none ({fitted['reason']})")]
    rows = [(name, f"{_number(r[key])}, {_number(fitted[key])} with temperature") for name, key in figures.items()]
    bound = " (as far as it may go: the labels would have it farther)" if fitted["bounded"] else ""
    return [*rows, ("temperature", f"{fitted['value']:.3g}{bound}")]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


CONFUSION_COLUMNS = 20


def _confusion(class_reports: Sequence[dict[str, Any]], matrix: Sequence[Sequence[int]]) -> list[RenderableType]:
    names = [c["name"] for c in class_reports]
    if len(names) <= CONFUSION_COLUMNS:
        rows = [(name, *counts) for name, counts in zip(names, matrix, strict=True)]
        return ["", listing(("true \\ predicted", *names), rows)]
    pairs = [(n, i, j) for i, row in enumerate(matrix) for j, n in enumerate(row) if i != j and n]
    worst = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:CONFUSION_COLUMNS]
    title = "most frequent confusions (--json has the whole matrix)"
    return ["", listing(("true", "predicted", "samples"), ((names[i], names[j], n) for n, i, j in worst), title)]
