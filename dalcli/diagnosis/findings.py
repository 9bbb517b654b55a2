"""What the numbers of a diagnosis mean, in plain words: yes, no, partly or unknown, and why.

Where the answers part is in :mod:`dalcli.diagnosis.thresholds` and docs/diagnose.md. Never imports torch.
"""

from __future__ import annotations

from dalcli.config.words import counted
from dalcli.diagnosis.result import (
    Agreement,
    BatchRatio,
    Discrepancy,
    Finding,
    KernelReport,
    RandomRatios,
    Rank,
    TrainingState,
)
from dalcli.diagnosis.thresholds import (
    CLEAR_P_VALUE,
    GOOD_RATIO,
    SMALL_GRADIENT,
    STRONG_TAU,
    WEAK_P_VALUE,
    is_good_ratio,
)


def findings(
    training: TrainingState, batch: BatchRatio | None, random: RandomRatios | None, theory: KernelReport
) -> tuple[Finding, ...]:
    """The questions a diagnosis is asked for, answered."""
    return (
        _batch_size(batch, random),
        _converged(training),
        _drifted(theory),
        _alike(theory.agreement),
    )


def good_prefix(batch: BatchRatio) -> int:
    """The largest size that was looked at up to which R stays within bounds."""
    size = 0
    for prefix in batch.prefixes:
        if not is_good_ratio(prefix.ratio):
            break
        size = prefix.size
    return size


def _batch_size(batch: BatchRatio | None, random: RandomRatios | None) -> Finding:
    question = "Is the batch small enough for the greedy approximation?"
    if batch is None and random is None:
        return Finding(question, "unknown", "there is no sample left outside the labeled set")
    parts, ratios = [], []
    if batch is not None:
        ratios.append(batch.ratio)
        name = f"batch {batch.batch_id}" if batch.batch_id else "the batch that query would choose"
        parts.append(f"R = {batch.ratio:.2f} for {name} ({counted(batch.size, 'image')}, {batch.strategy}; 1 is exact)")
        if batch.denominator <= 0:
            parts.append("its joint effect is not positive, so R is no fraction of anything")
        elif not is_good_ratio(batch.ratio):
            kept = good_prefix(batch)
            parts.append(f"R stays within {_bounds()} for " + (f"its first {kept}" if kept else "not even its first"))
    if random is not None:
        means = random.exact_ratio_of_means
        ratios.append(means)
        fit = f"within {_bounds()} up to batches of {random.largest_batch}"
        parts.append(f"random batches of {random.size}: ratio of means {means:.2f}, {fit}")
    within = [is_good_ratio(value) for value in ratios]
    answer = "yes" if all(within) else "no" if not within[0] else "partly"
    return Finding(question, answer, "; ".join(parts))


def _bounds() -> str:
    return f"{GOOD_RATIO[0]:g} to {GOOD_RATIO[1]:g}"


def _converged(training: TrainingState) -> Finding:
    question = "Has training converged?"
    ended = f"{100 * training.train_accuracy:.1f}% of the labels fitted after {counted(training.epochs, 'epoch')}"
    if not training.converged:
        return Finding(question, "no", f"{ended}, then stopped by {training.stopped}: raise training.max_epochs")
    if not training.pool_gradient:
        return Finding(question, "yes", f"{ended}; G(S) = {training.dynamics:.3g}")
    share = training.mean_gradient / training.pool_gradient
    size = f"per label the loss's gradient is {share:.3g} of a typical pool gradient"
    return Finding(question, "yes" if share <= SMALL_GRADIENT else "partly", f"{ended}; {size}")


def _drifted(theory: KernelReport) -> Finding:
    question = "Has the labeled set drifted from the pool?"
    found = theory.from_pool
    if found is None:
        return Finding(question, "unknown", "there are fewer than two samples on one side")
    answer = "yes" if found.p_value <= CLEAR_P_VALUE else "partly" if found.p_value <= WEAK_P_VALUE else "no"
    size = found.mmd / theory.labeled.bound
    parts = [f"{_against_random(found)}; MMD is {size:.2g} of the bound B = {theory.labeled.bound:.3g}"]
    if theory.since_start is not None:
        parts.append(f"from the first labels (S0): {_against_random(theory.since_start)}")
    return Finding(question, answer, "; ".join(parts))


def _against_random(found: Discrepancy) -> str:
    sizes = f"{counted(found.first, 'image')} against {found.second}"
    reference = f"random sets have {found.random_median:.3g}, 95% below {found.random_high:.3g}"
    return f"MMD {found.mmd:.3g} ({sizes}; {reference}; p = {found.p_value:.2g})"


def _alike(found: Agreement | None) -> Finding:
    question = "Do training dynamics and alignment rank batches alike?"
    if found is None or found.logits.tau is None or found.logits.low is None:
        return Finding(question, "unknown", "there are too few images whose true labels are known: see --labels")
    clear = found.logits.low > 0
    also = found.probabilities.low is not None and found.probabilities.low > 0
    answer = "no" if not clear else "yes" if also and found.logits.tau >= STRONG_TAU else "partly"
    seen = ", which the model was trained on" if found.source == "labeled set" else ""
    because = (
        f"Kendall's τ = {tau(found.logits)} with the logits as f, {tau(found.probabilities)} with their softmax, over "
        f"{counted(found.batches, 'random batch', 'random batches')} of {found.size} from the {found.source}{seen}"
    )
    return Finding(question, answer, because)


def tau(rank: Rank) -> str:
    """τ with its interval."""
    if rank.tau is None or rank.low is None or rank.high is None:
        return "undefined"
    return f"{rank.tau:.2f} ({rank.low:.2f} to {rank.high:.2f})"
