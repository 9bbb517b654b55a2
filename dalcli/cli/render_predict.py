"""What ``predict`` shows besides predictions: what was labeled, on which promise, and whether it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, listing, text
from dalcli.config.words import counted

if TYPE_CHECKING:
    from dalcli.prediction.checking import CheckResult
    from dalcli.prediction.promise import AutoResult, Part
    from dalcli.prediction.run import Summary

CLASSES_SHOWN = 20


def summary(result: Summary) -> str:
    unreadable = f", {result.unreadable} unreadable" if result.unreadable else ""
    return f"{counted(result.images, 'image')} predicted with {result.version}{unreadable}\n"


def auto(result: AutoResult) -> str:
    parts = [facts(_facts(result))]
    if result.per_class:
        header = ("class", "accepted", "of", "confidence from", "error at most", "evaluation labels for more")
        rows = [(p.name, p.accepted, p.candidates, _from(p), _share(p.bound), p.more_labels) for p in result.parts]
        return text(*parts, "", listing(header, rows))
    return text(*parts)


def _facts(result: AutoResult) -> Iterator[tuple[str, object]]:
    candidates = result.accepted + result.left
    done = "accepted" if result.recorded else "would be accepted"
    images = "image" if candidates == 1 else "images"
    yield done, f"{result.accepted:,} of {candidates:,} {images} that nobody has labeled"
    sure = f"with {100 * result.confidence:g}% confidence"
    whose = "of each predicted class" if result.per_class else "of them"
    yield "promise", f"at most {100 * result.max_error:g}% {whose} are wrong, {sure}"
    if not result.per_class:
        (part,) = result.parts
        yield "bound", f"{_share(part.bound)}, on {counted(result.evaluation_labels, 'evaluation label')}"
        yield "sure from", f"{_from(part)} before calibration: {part.wrong} of the evaluation labels contradict such"
        yield "to accept more", _more(part, result)
    if result.chosen:
        taken = counted(result.chosen, "image")
        yield "allowed for", f"{taken} that a strategy took out of the pool: all may have been easy"
    if result.unusable:
        yield "left out", f"{counted(result.unusable, 'evaluation image')} that people skipped or differ on"
    shown = list(result.classes.items())[:CLASSES_SHOWN]
    more = f", and {len(result.classes) - len(shown)} more classes" if len(result.classes) > len(shown) else ""
    yield "classes", ", ".join(f"{name} {count}" for name, count in shown) + more
    yield "left for people", counted(result.left, "image")
    yield "annotator", result.annotator if result.recorded else f"{result.annotator} (dry run: nothing was recorded)"


def _more(part: Part, result: AutoResult) -> str:
    if part.accepted == part.candidates:
        return "there are no more"
    if part.more_labels is None or part.then is None:
        return "more evaluation labels would not do, at the error rates so far"
    there = f"; the reserve has {result.evaluation_left:,}" if part.more_labels > result.evaluation_left else ""
    labels = "1 more evaluation label" if part.more_labels == 1 else f"{part.more_labels:,} more evaluation labels"
    return f"{labels} would allow {part.then:,} images, at the error rates so far{there}"


def _from(part: Part) -> str | None:
    return None if part.threshold is None else f"{part.threshold:.6g}"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f}%"


def checked(result: CheckResult) -> str:
    header = ("annotator", "labels", "counting", "promised", "error at most", "on", "checked", "wrong", "stands")
    rows = [
        (
            run.annotator,
            run.labels,
            0 if run.withdrawn else run.standing,
            _share(run.max_error),
            _share(run.bound),
            run.evaluation_labels,
            run.checked_by_people,
            run.wrong,
            "yes" if run.withdrawn is None else f"no: {run.withdrawn}",
        )
        for run in result.runs
    ]
    return text(listing(header, rows))
