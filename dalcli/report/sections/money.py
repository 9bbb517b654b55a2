"""What it cost: money and labels by round, and what choosing has saved against random draws."""

from __future__ import annotations

from collections.abc import Iterator

from dalcli.config.words import plural
from dalcli.report.blocks import Block, Section, Table, Text
from dalcli.report.chart import BarChart
from dalcli.report.contents import Report, Round, Saved
from dalcli.report.figures import DASH, money, number, percent, points, sentence

BARS_SHOWN = 60


def rounds(report: Report) -> Section:
    """Money and labels, round by round."""
    return Section("cost", "What it cost", list(_rounds(report)))


def _rounds(report: Report) -> Iterator[Block]:
    spent = report.plan.standing.spent
    if not report.rounds:
        yield Text("Nothing was handed out yet, and nothing was spent.", "missing")
        return
    if spent.money is None:
        yield Text(
            "What labels cost is not known: the ledger has no costs, and no price is set under costs in dalcli.yaml.",
            "missing",
        )
    else:
        yield Text(
            f"{money(spent.money, spent.currency)} for {plural(spent.votes, 'answer')} in "
            f"{plural(spent.rounds, 'round')}.",
            "lead",
        )
    batches = [each for each in report.rounds if each.batch is not None][-BARS_SHOWN:]
    yield _labels(batches)
    if spent.money is not None and any(each.money for each in batches):
        yield _money(batches, spent.currency)
    yield Table(
        "Round by round",
        ("batch", "issued", "for", "chosen by", "images", "answered", "answers paid", "money"),
        [_row(each, spent.currency) for each in report.rounds],
        words=frozenset({3}),
        codes=frozenset({0, 1, 2}),
        folded=15 if len(report.rounds) > 20 else None,
    )


def _row(each: Round, currency: str) -> tuple[str, ...]:
    if each.batch is None:
        return ("without a batch", DASH, DASH, DASH, DASH, DASH, number(each.votes), money(each.money, currency))
    batch = each.batch
    purpose = f"{batch.purpose}, again" if batch.relabel else batch.purpose
    return (
        batch.batch_id,
        batch.issued_at[:10],
        purpose,
        ", ".join(each.strategies),
        number(batch.issued),
        number(batch.answered),
        number(each.votes),
        money(each.money, currency),
    )


def _labels(batches: list[Round]) -> BarChart:
    bars = []
    for each in batches:
        batch = each.batch
        assert batch is not None
        training = batch.answered if batch.purpose == "training" else 0
        evaluation = batch.answered if batch.purpose == "evaluation" else 0
        bars.append((_short(batch.batch_id), (float(training), float(evaluation), float(batch.outstanding))))
    answered = sum(each.batch.answered for each in batches if each.batch is not None)
    out = sum(each.batch.outstanding for each in batches if each.batch is not None)
    legend = [("training", "answered, for training")]
    legend += [("evaluation", "answered, for evaluation")] if any(parts[1] for _, parts in bars) else []
    legend += [("out", "still out")] if out else []
    return BarChart(
        title="Images answered by round",
        description=f"{plural(len(bars), 'batch', 'batches')}: {plural(answered, 'image')} answered, "
        f"{number(out)} still out. The table below has every figure.",
        bars=bars,
        parts=("training", "evaluation", "out"),
        written=number,
        legend=legend,
    )


def _money(batches: list[Round], currency: str) -> BarChart:
    bars = [(_short(each.batch.batch_id), (each.money or 0.0,)) for each in batches if each.batch is not None]
    most = max(batches, key=lambda each: each.money or 0.0)
    dearest = money(most.money, currency)
    return BarChart(
        title="Money by round",
        description=f"{plural(len(bars), 'batch', 'batches')}; the dearest cost {dearest}. The table has all figures.",
        bars=bars,
        parts=("money",),
        written=lambda value: f"{value:,.4g}",
        legend=[("money", f"spent{f' ({currency})' if currency else ''}")],
    )


def _short(batch_id: str) -> str:
    """b-0012 as 12."""
    return batch_id.removeprefix("b-").lstrip("0") or batch_id


def saved(report: Report) -> Section:
    """What choosing has gained over drawing at random."""
    return Section("saved", "What choosing has saved", list(_saved(report)))


def _saved(report: Report) -> Iterator[Block]:
    gain = report.control_gain
    if gain is None:
        yield Text(
            "Not measured: no images were drawn at random to compare with (dalcli query --control 0.2), or nobody has "
            "compared yet (dalcli evaluate --control).",
            "missing",
        )
        return
    if gain.get("gain") is None:
        yield Text(f"Not known yet: {gain['reason']}.", "missing")
        return
    interval = gain["gain_interval"]
    low, high = interval["low"], interval["high"]
    compared = plural(gain["compared"], "label")
    verdict = "Choosing beats drawing at random" if low > 0 else "Drawing at random is as good so far"
    if high < 0:
        verdict = "Choosing is worse than drawing at random here: try another strategy (query.strategy)"
    yield Text(
        f"{verdict}: {points(gain['gain'])} points of accuracy ({100 * interval['level']:g}% interval {points(low)} to "
        f"{points(high)}) with {compared} of either kind, at {gain['version']}: {percent(gain['active_accuracy'])} "
        f"against {percent(gain['control_accuracy'])} on {plural(gain['examples'], 'evaluation image')}.",
        "lead",
    )
    if report.saved is not None:
        yield Text(_labels_saved(report.saved, report.plan.standing.spent.currency, certain=low > 0))
    yield Text(
        sentence(
            f"{plural(gain['active_labels'], 'label')} were chosen, {plural(gain['control_labels'], 'label')} drawn at "
            f"random, {plural(gain['common_labels'], 'label')} of the beginning belong to both sides"
        ),
        "note",
    )


def _labels_saved(found: Saved, currency: str, certain: bool) -> str:
    """The gain as labels and money."""
    low, high = number(found.saved_low), number(found.saved_high)
    with_so_many = f"of the {plural(found.labels, 'label')} that each model had"
    if not certain:
        return (
            f"In labels: between {low} and {high} {with_so_many} were saved; more images drawn at random would tell "
            "(dalcli query --control). An estimate, read off the learning curve."
        )
    cost = "" if found.money is None else f", {money(found.money, currency)}"
    least = "at least " if found.at_least else ""
    return (
        f"In labels: {least}{number(found.saved)} {with_so_many} were saved ({low} to {high}{cost}): the learning "
        f"curve stood at about {plural(found.as_good_at, 'label')} where random draws get with "
        f"{number(found.labels)}. An estimate, from straight lines between the measured models."
    )
