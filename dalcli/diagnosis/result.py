"""What a diagnosis says, as values: the JSON document of ``dalcli diagnose --json``. Never imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from dalcli.theory.alignment import Shuffled, Theorem2
from dalcli.theory.dynamics import Convergence
from dalcli.theory.mmd import Discrepancy
from dalcli.theory.ratio import IntervalEstimate, RatioSummary


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How training of the version ended, and what is left of its gradient.

    ``dynamics``: G(S) = ‖G_S‖² (Eq. 8) over ``labeled`` samples. ``mean_gradient`` ‖G_S‖ / |S|: the length of the
    loss's gradient per labeled sample; ``pool_gradient``: the root mean square ‖g_u‖ of ``pool_samples`` pool samples.
    """

    converged: bool
    stopped: str
    epochs: int
    train_accuracy: float
    train_loss: float
    labeled: int
    dynamics: float
    mean_gradient: float
    pool_gradient: float | None
    pool_samples: int


@dataclass(frozen=True)
class PrefixRatio:
    """R of the first ``size`` samples of the batch, in its own order."""

    size: int
    ratio: float


@dataclass(frozen=True, kw_only=True)
class BatchRatio:
    """R(Q|S) of one batch, exactly (Eq. 14).

    ``source``: ``issued`` with this model, or ``next``: what `query` would choose now. ``numerator`` Σ_u Δ(u|S),
    ``denominator`` Δ(Q|S). ``cosine``: the mean cosine between the gradients of two members, weighted by their lengths.
    """

    source: str
    batch_id: str | None
    strategy: str
    size: int
    ratio: float
    numerator: float
    denominator: float
    cosine: float | None
    prefixes: tuple[PrefixRatio, ...]


@dataclass(frozen=True, kw_only=True)
class RandomRatios:
    """R over uniform random batches of ``size`` from ``pool`` of the ``population`` samples outside S.

    ``exact_ratio_of_means``: over *all* batches of that size (where ``pool`` is ``population``; else estimated from
    ``pool``). ``largest_batch``: up to which it stays within the verdict's bounds. ``sketched``: cross terms are
    sketched with ``sketch_dimension`` numbers, and ``sketch_error`` is the root mean square relative error of ‖g_Q‖² on
    ``checked`` batches; otherwise everything is exact.
    """

    size: int
    population: int
    pool: int
    summary: RatioSummary
    exact_ratio_of_means: float
    largest_batch: int
    sketched: bool
    sketch_dimension: int | None
    sketch_error: float | None
    checked: int


@dataclass(frozen=True, kw_only=True)
class KernelInfo:
    """How Θ was computed: class-averaged over the K logits, divided by ``scale`` (its mean diagonal), plus ``ridge``.

    Sketched: ``dimension`` numbers for each of ``groups`` groups of the ``classes`` classes; the errors are relative to
    exact values on ``checked`` samples: of single entries (root mean square, relative to √(Θ_ii Θ_jj)), A, and B.
    Constant: only a linear layer is trained, so Θ is the same before, during and after training (section 4).
    """

    samples: int
    classes: int
    constant: bool
    ridge: float
    scale: float
    sketched: bool
    dimension: int | None = None
    groups: int | None = None
    checked: int = 0
    entry_error: float | None = None
    alignment_error: float | None = None
    bound_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class LabeledSetReport:
    """Section 4's quantities over ``samples`` of the ``labeled`` images, with the yardstick of shuffled labels.

    ``g_mse_logits`` and ``g_mse_probabilities``: G_MSE with f the logits, and with f their softmax.
    """

    samples: int
    labeled: int
    alignment: float
    bound: float
    shuffled: Shuffled
    g_mse_logits: float
    g_mse_probabilities: float
    theorem_1: Convergence
    theorem_2: Theorem2


@dataclass(frozen=True)
class Rank:
    """Kendall's τ with its 95% interval; all None where one side does not vary."""

    tau: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Figure 2: τ between G_MSE(S∪Q) and A(S∪Q) over random Q of ``size`` with true labels.

    ``source``: where the ``candidates`` and their labels come from: ``labels file``, ``evaluation set``, or
    ``labeled set`` (then S is one half of it and Q from the other: the model has seen them).
    """

    source: str
    base: int
    candidates: int
    size: int
    batches: int
    logits: Rank
    probabilities: Rank


@dataclass(frozen=True, kw_only=True)
class KernelReport:
    """Everything that comes from Θ; ``since_start``: S0 against S, ``from_pool``: S against the whole pool."""

    kernel: KernelInfo
    labeled: LabeledSetReport
    since_start: Discrepancy | None
    from_pool: Discrepancy | None
    agreement: Agreement | None


@dataclass(frozen=True)
class Finding:
    """A question in plain words, its answer (yes, no, partly, unknown) and the numbers behind it."""

    question: str
    answer: str
    because: str


@dataclass(frozen=True, kw_only=True)
class DiagnoseResult:
    """A diagnosis of one model version; the same for a second run."""

    version: str
    newer_labels: int
    seed: int
    training: TrainingState
    batch: BatchRatio | None
    random: RandomRatios | None
    theory: KernelReport
    findings: tuple[Finding, ...]


__all__ = [
    "Agreement",
    "BatchRatio",
    "Convergence",
    "DiagnoseResult",
    "Discrepancy",
    "Finding",
    "IntervalEstimate",
    "KernelInfo",
    "KernelReport",
    "LabeledSetReport",
    "PrefixRatio",
    "RandomRatios",
    "Rank",
    "RatioSummary",
    "Shuffled",
    "Theorem2",
    "TrainingState",
]
