"""From numbers to answers in plain words: every threshold from both sides."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dalcli.cli import render_diagnose
from dalcli.diagnosis.findings import findings, good_prefix
from dalcli.diagnosis.result import (
    Agreement,
    BatchRatio,
    Convergence,
    DiagnoseResult,
    Discrepancy,
    Finding,
    IntervalEstimate,
    KernelInfo,
    KernelReport,
    LabeledSetReport,
    PrefixRatio,
    RandomRatios,
    Rank,
    RatioSummary,
    Shuffled,
    Theorem2,
    TrainingState,
)

ONE = IntervalEstimate(1.0, 0.9, 1.1)
TRAINING = TrainingState(
    converged=True,
    stopped="converged",
    epochs=20,
    train_accuracy=0.995,
    train_loss=0.05,
    labeled=100,
    dynamics=4.0,
    mean_gradient=0.02,
    pool_gradient=1.0,
    pool_samples=500,
)
BATCH = BatchRatio(
    source="issued",
    batch_id="b-0002",
    strategy="dynamical",
    size=4,
    ratio=0.9,
    numerator=0.9,
    denominator=1.0,
    cosine=0.1,
    prefixes=(PrefixRatio(1, 1.0), PrefixRatio(4, 0.9)),
)
RANDOM = RandomRatios(
    size=4,
    population=500,
    pool=500,
    summary=RatioSummary(batches=100, median=ONE, quantiles={}, ratio_of_means=ONE, not_positive=0),
    exact_ratio_of_means=0.95,
    largest_batch=60,
    sketched=False,
    sketch_dimension=None,
    sketch_error=None,
    checked=0,
)
DISTANCE = Discrepancy(
    first=100,
    second=400,
    mmd=0.05,
    unbiased_squared=0.001,
    random_median=0.04,
    random_high=0.06,
    p_value=0.2,
    permutations=999,
)
AGREEMENT = Agreement(
    source="evaluation set",
    base=100,
    candidates=50,
    size=4,
    batches=100,
    logits=Rank(0.6, 0.5, 0.7),
    probabilities=Rank(0.4, 0.2, 0.6),
)
THEORY = KernelReport(
    kernel=KernelInfo(samples=500, classes=10, constant=False, ridge=1e-3, scale=1.0, sketched=False),
    labeled=LabeledSetReport(
        samples=100,
        labeled=100,
        alignment=5.0,
        bound=2.0,
        shuffled=Shuffled(9, 1.0, 4.0),
        g_mse_logits=1.0,
        g_mse_probabilities=1.0,
        theorem_1=Convergence(0.1, 100, ()),
        theorem_2=Theorem2(lower=1, middle=2, upper=3, condition=10),
    ),
    since_start=DISTANCE,
    from_pool=DISTANCE,
    agreement=AGREEMENT,
)


def answer(
    number: int,
    training: TrainingState = TRAINING,
    batch: BatchRatio | None = BATCH,
    random: RandomRatios | None = RANDOM,
    theory: KernelReport = THEORY,
) -> Finding:
    return findings(training, batch, random, theory)[number]


@pytest.mark.parametrize(
    ("chosen", "means", "expected"),
    [
        (0.8, 1.25, "yes"),
        (0.79, 1.0, "no"),
        (1.26, 1.0, "no"),
        (1.0, 0.5, "partly"),
        (float("nan"), 1.0, "no"),
    ],
)
def test_the_batch_is_small_enough_if_r_is_near_one(chosen: float, means: float, expected: str) -> None:
    batch, random = replace(BATCH, ratio=chosen), replace(RANDOM, exact_ratio_of_means=means)
    assert answer(0, batch=batch, random=random).answer == expected


def test_what_is_said_about_the_batch() -> None:
    found = answer(0, batch=replace(BATCH, ratio=0.4, prefixes=(PrefixRatio(1, 1.0), PrefixRatio(2, 0.7))))
    assert "batch b-0002" in found.because
    assert "for its first 1;" in found.because
    assert "up to batches of 60" in found.because
    assert "not positive" in answer(0, batch=replace(BATCH, ratio=-3.0, denominator=-1.0)).because
    assert "query would choose" in answer(0, batch=replace(BATCH, batch_id=None)).because
    assert answer(0, batch=None).answer == "yes"
    assert answer(0, batch=None, random=None).answer == "unknown"


def test_the_good_prefix_ends_where_r_first_leaves_its_bounds() -> None:
    ratios = (1.0, 0.9, 0.7, 0.9)
    assert good_prefix(replace(BATCH, prefixes=tuple(map(PrefixRatio, (1, 2, 4, 8), ratios)))) == 2
    assert good_prefix(replace(BATCH, prefixes=(PrefixRatio(1, 2.0),))) == 0


def test_convergence_is_what_training_says_and_a_small_gradient() -> None:
    assert answer(1).answer == "yes"
    assert "0.02 of a typical pool gradient" in answer(1).because
    assert answer(1, replace(TRAINING, mean_gradient=0.11)).answer == "partly"
    stopped = answer(1, replace(TRAINING, converged=False, stopped="max_epochs"))
    assert (stopped.answer, "max_epochs" in stopped.because) == ("no", True)
    assert answer(1, replace(TRAINING, pool_gradient=None)).answer == "yes"


@pytest.mark.parametrize(("p", "expected"), [(0.01, "yes"), (0.02, "partly"), (0.05, "partly"), (0.06, "no")])
def test_drift_is_what_random_sets_do_not_show(p: float, expected: str) -> None:
    found = answer(2, theory=replace(THEORY, from_pool=replace(DISTANCE, p_value=p)))
    assert found.answer == expected
    assert "0.025 of the bound B = 2" in found.because
    assert "S0" in found.because
    assert "S0" not in answer(2, theory=replace(THEORY, since_start=None)).because
    assert answer(2, theory=replace(THEORY, from_pool=None)).answer == "unknown"


@pytest.mark.parametrize(
    ("logits", "softmax", "expected"),
    [
        ((0.5, 0.4), (0.3, 0.1), "yes"),
        ((0.49, 0.4), (0.3, 0.1), "partly"),
        ((0.8, 0.7), (0.1, -0.1), "partly"),
        ((0.1, -0.1), (0.8, 0.7), "no"),
    ],
)
def test_ranks_agree_if_tau_is_clearly_positive(
    logits: tuple[float, float], softmax: tuple[float, float], expected: str
) -> None:
    ranks = [Rank(tau, low, min(1.0, 2 * tau - low)) for tau, low in (logits, softmax)]
    theory = replace(THEORY, agreement=replace(AGREEMENT, logits=ranks[0], probabilities=ranks[1]))
    assert answer(3, theory=theory).answer == expected


def test_one_is_no_plural() -> None:
    assert "fitted after 1 epoch;" in answer(1, replace(TRAINING, epochs=1)).because
    assert "(1 image, dynamical; 1 is exact)" in answer(0, batch=replace(BATCH, size=1)).because
    shown = render_diagnose.diagnose(
        DiagnoseResult(
            version="m-0001",
            newer_labels=1,
            seed=0,
            training=replace(TRAINING, labeled=1, epochs=1, pool_samples=1),
            batch=BATCH,
            random=replace(RANDOM, largest_batch=1),
            theory=replace(THEORY, kernel=replace(THEORY.kernel, samples=1, classes=1)),
            findings=(),
        )
    )
    assert "m-0001: 1 label, converged; 1 label is newer" in shown
    assert "1 epoch, accuracy" in shown
    assert "over 1 pool image 1" in shown
    assert "up to 1 image\n" in shown
    assert "1 image, mean of 1 class, exact" in shown


def test_ranks_of_constants_are_unknown() -> None:
    nothing = Rank(None, None, None)
    theory = replace(THEORY, agreement=replace(AGREEMENT, logits=nothing, probabilities=nothing))
    assert answer(3, theory=theory).answer == "unknown"
    partial = replace(AGREEMENT, probabilities=nothing)
    assert "undefined" in answer(3, theory=replace(THEORY, agreement=partial)).because
    assert answer(3, theory=replace(THEORY, agreement=None)).answer == "unknown"
