"""What ``diagnose`` shows: numbers with their uncertainty, then answers in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dalcli.cli.tables import facts, listing, percent, text
from dalcli.config.words import counted

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dalcli.diagnosis.result import (
        Agreement,
        DiagnoseResult,
        Discrepancy,
        IntervalEstimate,
        KernelInfo,
        LabeledSetReport,
        RandomRatios,
    )

Row = tuple[str, object]


def diagnose(result: DiagnoseResult) -> str:
    """Sections in the order of the paper, then the findings."""
    rows = [*_training(result), *_batch(result), *_kernel(result.theory.kernel)]
    rows += _labeled_set(result.theory.labeled)
    rows += [("MMD(S0, S)", _distance(result.theory.since_start)), ("MMD(S, pool)", _distance(result.theory.from_pool))]
    rows += _agreement(result.theory.agreement)
    parts: list[RenderableType] = [facts(rows), ""]
    if result.batch is not None:
        prefixes = result.batch.prefixes
        parts += [
            listing(
                ["first images of the batch", *(str(p.size) for p in prefixes)],
                [["R", *(f"{p.ratio:.3g}" for p in prefixes)]],
            ),
            "",
        ]
    steps = result.theory.labeled.theorem_1
    header = ("step t", "lower bound", "E_t²", "upper bound")
    errors = [
        (s.step, f"{s.lower:.4g}" if s.lower > 0 else "none", f"{s.squared_error:.4g}", f"{s.upper:.4g}")
        for s in steps.steps
    ]
    parts += [f"Eq. 17 at η = 1/λ_max = {steps.rate:.3g}, from E_0² = {steps.at_start:g}", listing(header, errors), ""]
    for finding in result.findings:
        parts += [f"{finding.question} {finding.answer.capitalize()}.", f"    {finding.because}."]
    return text(*parts)


def _training(result: DiagnoseResult) -> list[Row]:
    t = result.training
    newer = f"; {counted(result.newer_labels, 'label is', 'labels are')} newer" if result.newer_labels else ""
    state = "converged" if t.converged else f"not converged, stopped by {t.stopped}"
    some = counted(t.pool_samples, "pool image")
    pool = "" if t.pool_gradient is None else f"; rms ‖g‖ over {some} {t.pool_gradient:.3g}"
    return [
        ("model", f"{result.version}: {counted(t.labeled, 'label')}, {state}{newer}"),
        ("training", f"{counted(t.epochs, 'epoch')}, accuracy {percent(t.train_accuracy)}, loss {t.train_loss:.3g}"),
        ("G(S)", f"{t.dynamics:.4g}; ‖G_S‖/|S| = {t.mean_gradient:.3g}{pool}"),
    ]


def _batch(result: DiagnoseResult) -> list[Row]:
    rows: list[Row] = []
    b = result.batch
    if b is not None:
        name = f"batch {b.batch_id}" if b.batch_id else "query's next batch"
        cosine = "" if b.cosine is None else f"; mean cosine of its gradients {b.cosine:.3f}"
        rows.append((f"R, {name}", f"{b.ratio:.4g} = {b.numerator:.4g} / {b.denominator:.4g} ({b.size}){cosine}"))
    return rows + ([] if result.random is None else _random(result.random))


def _random(r: RandomRatios) -> list[Row]:
    s = r.summary
    quantiles = ", ".join(f"{name} {value:.3g}" for name, value in s.quantiles.items())
    how = "exact"
    if r.sketched:
        error = "unknown" if r.sketch_error is None else f"{100 * r.sketch_error:.2g}%"
        checked = counted(r.checked, "batch", "batches")
        how = f"sketched in {r.sketch_dimension} numbers; ‖g_Q‖² off by {error} (rms of {checked})"
    all_of = "all batches" if r.pool == r.population else f"batches of {r.pool} of {counted(r.population, 'image')}"
    rows: list[Row] = [
        (f"R, {counted(s.batches, 'random batch', 'random batches')}", f"median {_interval(s.median)}; {how}"),
        ("    quantiles", quantiles),
        ("    ratio of means", _interval(s.ratio_of_means)),
        (
            f"    over {all_of}",
            f"{r.exact_ratio_of_means:.4g}; within bounds up to {counted(r.largest_batch, 'image')}",
        ),
    ]
    if s.not_positive:
        rows.append(("    Δ(Q|S) not positive", f"{s.not_positive} of {s.batches}: there R means nothing"))
    return rows


def _interval(found: IntervalEstimate) -> str:
    return f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g})"


def _kernel(k: KernelInfo) -> list[Row]:
    how = "exact"
    if k.sketched:
        mixed = "" if k.groups is None or k.groups == k.classes else f", classes mixed in {counted(k.groups, 'group')}"
        how = f"sketched in {k.dimension} numbers per class{mixed}"
    over = f"{counted(k.samples, 'image')}, mean of {counted(k.classes, 'class', 'classes')}"
    rows: list[Row] = [("Θ", f"{over}, {how}; / {k.scale:.4g} + {k.ridge:g} I")]
    if k.constant:
        rows.append(("    while training", "constant, as section 4 assumes: only a linear layer is trained"))
    if k.entry_error is not None and k.alignment_error is not None and k.bound_error is not None:
        errors = (("entries", k.entry_error), ("A", k.alignment_error), ("B", k.bound_error))
        listed = ", ".join(f"{name} {100 * error:.2g}%" for name, error in errors)
        rows.append(("    sketch error", f"{listed} (exact values on {counted(k.checked, 'image')})"))
    return rows


def _labeled_set(found: LabeledSetReport) -> list[Row]:
    some = "" if found.samples == found.labeled else f" ({found.samples} of {counted(found.labeled, 'label')})"
    t = found.theorem_2
    return [
        (f"alignment A{some}", f"{found.alignment:.4g}; shuffled labels {found.shuffled.alignment:.4g}"),
        (f"bound B{some}", f"{found.bound:.4g}; shuffled labels {found.shuffled.bound:.4g}"),
        ("G_MSE", f"{found.g_mse_logits:.4g} (f: logits), {found.g_mse_probabilities:.4g} (f: softmax)"),
        ("Eq. 19", f"{t.lower:.4g} ≤ {t.middle:.4g} ≤ {t.upper:.4g} (λ_max/λ_min {t.condition:.3g})"),
    ]


def _distance(found: Discrepancy | None) -> str:
    if found is None:
        return "not defined: fewer than two samples on one side"
    return (
        f"{found.mmd:.4g}; random sets {found.random_median:.4g}, 95% below {found.random_high:.4g}; "
        f"p = {found.p_value:.3g} ({found.first} against {counted(found.second, 'image')})"
    )


def _agreement(found: Agreement | None) -> list[Row]:
    from dalcli.diagnosis.findings import tau

    if found is None:
        return [("Kendall τ", "unknown: too few true labels outside S")]
    among = f"{counted(found.candidates, 'image')} ({found.source})"
    where = f"{found.batches} random Q of {found.size} from {among}, |S| = {found.base}"
    return [("Kendall τ", f"{tau(found.logits)} (f: logits), {tau(found.probabilities)} (f: softmax); {where}")]
