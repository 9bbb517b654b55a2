"""Class by class: recall and shortfall, and what is taken for what."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.config.words import plural
from dalcli.report.blocks import Block, Section, Table, Text
from dalcli.report.contents import Evaluation, Report
from dalcli.report.figures import DASH, figure_of, number, percent, points

FOLDED_AFTER = 25


def classes(report: Report) -> Section:
    """The per-class table."""
    return Section("classes", "Class by class", list(_classes(report)))


def _classes(report: Report) -> Iterator[Block]:
    plan, found = report.plan, report.evaluation
    if found is None:
        yield Text("No model has been measured yet: what follows are the labels there are.", "missing")
    short = [row for row in report.classes if row.below is not None]
    wanted = "what the mean of all classes is"
    if plan.target is not None and not plan.less_is_better:
        wanted = figure_of(plan)(plan.target)
    if found is not None and short:
        of_them = plural(len(short), "class lies", "classes lie")
        yield Text(f"{of_them} below {wanted}, the worst first. Labels of these classes are worth the most.")
    elif found is not None:
        yield Text(f"No class surely lies below {wanted}; few evaluation labels of a class say little of it.")
    for words, rows in (
        ("no training label", [row for row in report.classes if not row.labels]),
        ("no evaluation label", [row for row in report.classes if not row.support] if found is not None else []),
    ):
        if rows:
            named = ", ".join(row.name for row in rows[:8]) + (" and others" if len(rows) > 8 else "")
            yield Text(f"{plural(len(rows), 'class has', 'classes have')} {words}: {named}.", "missing")
    header = ["class", "training labels"]
    if found is not None:
        header += ["evaluated", "recall", f"{100 * plan.standing.level:g}% interval", "precision", "shortfall"]
    rows_shown = []
    for row in report.classes:
        cells = [row.name, number(row.labels)]
        if found is not None:
            interval = DASH if row.low is None or row.high is None else f"{percent(row.low)} to {percent(row.high)}"
            below = DASH if row.below is None else f"{points(-row.below)} points"
            cells += [number(row.support), percent(row.recall), interval, percent(row.precision), below]
        rows_shown.append(cells)
    caption = "Classes" if found is None else f"Classes, as {found.version} was measured"
    folded = FOLDED_AFTER if len(rows_shown) > FOLDED_AFTER + 5 else None
    yield Table(caption, header, rows_shown, folded=folded)


def confusion(report: Report) -> Section:
    """What is taken for what."""
    return Section("confusion", "What is taken for what", list(_confusion(report)))


def _confusion(report: Report) -> Iterator[Block]:
    found = report.evaluation
    if found is None:
        yield Text("No model has been measured yet, so no confusion is known.", "missing")
        return
    if found.matrix is not None:
        yield _matrix(found)
    elif len(found.matrix_classes):
        yield Text(
            f"{plural(len(found.matrix_classes), 'class', 'classes')} are too many for a matrix: here are the most "
            "confused pairs."
        )
    if not found.pairs:
        yield Text("The model is right about every evaluation image.")
        return
    rows = [(p.label, p.predicted, number(p.count), percent(p.count / p.support)) for p in found.pairs]
    yield Table(
        "The most confused pairs",
        ("labeled", "taken for", "images", "of its class"),
        rows,
        words=frozenset({0, 1}),
        folded=8 if len(rows) > 10 else None,
    )


def _matrix(found: Evaluation) -> Table:
    assert found.matrix is not None
    heat, rows = [], []
    for name, row in zip(found.matrix_classes, found.matrix, strict=True):
        whole = sum(row)
        heat.append([round(9 * count / whole) if whole else 0 for count in row])
        rows.append([name, *(number(count) if count else "" for count in row)])
    return Table(
        f"Evaluation images by class and prediction ({found.version})",
        ("labeled", *found.matrix_classes),
        rows,
        heat=heat,
        across="predicted",
    )
