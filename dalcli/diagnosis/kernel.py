"""Everything that comes from one tangent kernel Θ over S, the pool and images with known labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dalcli.config.hashing import derive_seed, generator
from dalcli.data.pixels import IntArray
from dalcli.diagnosis.agreement import agreement
from dalcli.diagnosis.model import DiagnosedModel
from dalcli.diagnosis.result import KernelInfo, KernelReport, LabeledSetReport
from dalcli.diagnosis.sample import KernelSample, RandomBatches
from dalcli.diagnosis.sets import Sets
from dalcli.errors import DalcliError
from dalcli.scores.columns import Floats
from dalcli.theory import alignment, mmd, ntk
from dalcli.theory.dynamics import convergence
from dalcli.theory.kernel import Kernel, normalised, one_hot, softmax
from dalcli.theory.mmd import Discrepancy
from dalcli.theory.ntk import NtkSketch

STEPS = (1, 10, 100, 1000)
SHUFFLES = 199
PERMUTATIONS = 999
EXACT_GRADIENTS = 20_000  # class gradients of single samples that an exact Θ may cost
GROUPS = 16  # of classes, where there are more: scoring passes of a sketched Θ
DIMENSION = 1024
CHECKED = 32  # samples on which a sketched Θ is compared with the exact one


@dataclass(frozen=True)
class KernelSettings:
    """How Θ is to be computed; ``sketch``: numbers per gradient, 0 for an exact Θ, None for whichever is affordable."""

    ridge: float
    sketch: int | None
    seed: int


def kernel_report(
    model: DiagnosedModel, sets: Sets, sample: KernelSample, settings: KernelSettings, batches: RandomBatches
) -> KernelReport:
    """Θ over ``sample`` and what follows from it, Kendall's τ over random ``batches`` included.

    Raises:
        DalcliError: Θ is zero or not finite.
    """
    y = one_hot(sample.classes(sample.labeled, sets.labels), model.network().classes)
    kernel, info = _tangent_kernel(model, sample, y, settings)
    logits = model.logits(sample.images)
    added = np.setdiff1d(sample.labeled, sample.initial)
    outside = len(sets.pool) / (len(sets.pool) + len(sets.labeled))
    random = generator(settings.seed, "permutations", "since start")
    since_start = _distance(kernel, sample.initial, added, len(added) / len(sample.labeled), random)
    random = generator(settings.seed, "permutations", "from pool")
    from_pool = _distance(kernel, sample.labeled, sample.pool, outside, random)
    return KernelReport(
        kernel=info,
        labeled=_labeled_set(kernel.of(sample.labeled), logits[sample.labeled], y, len(sets.labeled), settings.seed),
        since_start=since_start,
        from_pool=from_pool,
        agreement=agreement(kernel, logits, sample, sets, batches),
    )


def _labeled_set(theta: Floats, logits: Floats, y: Floats, labeled: int, seed: int) -> LabeledSetReport:
    """Of Θ, the logits and the labels of the samples that stand for the ``labeled`` ones."""
    return LabeledSetReport(
        samples=len(y),
        labeled=labeled,
        alignment=alignment.alignment(theta, y),
        bound=alignment.bound(theta, y),
        shuffled=alignment.shuffled(theta, y, SHUFFLES, generator(seed, "shuffled labels")),
        g_mse_logits=alignment.g_mse(theta, logits, y),
        g_mse_probabilities=alignment.g_mse(theta, softmax(logits), y),
        theorem_1=convergence(theta, y, STEPS),
        theorem_2=alignment.theorem_2(theta, y),
    )


def _distance(
    kernel: Kernel, part: IntArray, rest: IntArray, share: float, random: np.random.Generator
) -> Discrepancy | None:
    """MMD of a part from the whole that it was drawn from, ``share`` of which is the rest."""
    if len(part) < 2 or len(rest) < 2:
        return None
    return mmd.compare(kernel.values, part, rest, PERMUTATIONS, random).from_whole(share)


def _tangent_kernel(
    model: DiagnosedModel, sample: KernelSample, y: Floats, settings: KernelSettings
) -> tuple[Kernel, KernelInfo]:
    """Θ over ``sample``, exact or sketched, and how good it is; ``y``: labels of its rows of S."""
    network, count = model.network(), len(sample.images)
    affordable = count * network.classes <= EXACT_GRADIENTS and network.samples_that_fit() >= count
    if settings.sketch == 0 or (settings.sketch is None and affordable):
        kernel = _normalised(_exact(model, sample, np.arange(count), "tangent kernel"), settings.ridge)
        return kernel, KernelInfo(
            samples=count,
            classes=network.classes,
            constant=model.linear,
            ridge=settings.ridge,
            scale=kernel.scale,
            sketched=False,
        )
    sketch = NtkSketch(derive_seed(settings.seed, "kernel sketch"), settings.sketch or DIMENSION, GROUPS)
    groups = min(network.classes, GROUPS)
    with model.feedback.task("tangent kernel", groups * count, "class gradients") as task:
        samples = model.samples(sample.images)
        raw = ntk.sketched_ntk(network, samples, sketch, model.scorer.micro_batch(), task.advance)
    kernel = _normalised(raw, settings.ridge)
    errors = _sketch_errors(model, sample, kernel, y, settings.seed)
    return kernel, KernelInfo(
        samples=count,
        classes=network.classes,
        constant=model.linear,
        ridge=settings.ridge,
        scale=kernel.scale,
        sketched=True,
        dimension=sketch.dimension,
        groups=groups,
        checked=errors.checked,
        entry_error=errors.entries,
        alignment_error=errors.alignment,
        bound_error=errors.bound,
    )


def _exact(model: DiagnosedModel, sample: KernelSample, rows: IntArray, label: str) -> Floats:
    """The raw Θ of some rows of ``sample``, (n, n)."""
    network, images = model.network(), [sample.images[row] for row in rows]
    once = network.samples_that_fit() >= len(images)  # otherwise nobody knows how often gradients are computed again
    with model.feedback.task(label, network.classes * len(images) if once else None, "class gradients") as task:
        return ntk.exact_ntk(network, model.samples(images), task.advance)


def _normalised(raw: Floats, ridge: float) -> Kernel:
    try:
        return normalised(raw, ridge)
    except ValueError as error:
        raise DalcliError(f"{error}: nothing can be said about this model", "train it again: dalcli train") from None


@dataclass(frozen=True)
class _SketchErrors:
    """Relative errors of Θ's entries (root mean square), of A and of B on ``checked`` samples of S."""

    checked: int
    entries: float
    alignment: float
    bound: float


def _sketch_errors(model: DiagnosedModel, sample: KernelSample, kernel: Kernel, y: Floats, seed: int) -> _SketchErrors:
    """A sketched Θ against the exact one, both on the sketched one's scale."""
    most = min(CHECKED, model.network().samples_that_fit(), len(sample.labeled))
    rows: IntArray = np.sort(generator(seed, "kernel check").choice(sample.labeled, most, replace=False))
    raw = _exact(model, sample, rows, "checking the sketch")
    exact = raw / kernel.scale + kernel.ridge * np.eye(len(rows))
    found = kernel.of(rows)
    size = np.sqrt(np.diag(exact))
    labels = y[np.searchsorted(sample.labeled, rows)]
    return _SketchErrors(
        checked=len(rows),
        entries=float(np.sqrt(np.mean(((found - exact) / (size[:, None] * size)) ** 2))),
        alignment=abs(alignment.alignment(found, labels) / alignment.alignment(exact, labels) - 1),
        bound=abs(alignment.bound(found, labels) / alignment.bound(exact, labels) - 1),
    )
