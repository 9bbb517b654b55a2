"""Everything that comes from one tangent kernel Θ over S, the pool and images with known labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed, generator
from dalcli.diagnosis.agreement import agreement
from dalcli.diagnosis.images import Pictures
from dalcli.diagnosis.result import KernelInfo, KernelReport, LabeledSet
from dalcli.diagnosis.sets import Sets
from dalcli.errors import DalcliError
from dalcli.feedback import Feedback
from dalcli.gradients.memory import even_pieces
from dalcli.gradients.passes import evaluating, logits_of
from dalcli.scoring.scorer import Scorer
from dalcli.state.catalog import PoolImage
from dalcli.theory import alignment, mmd, ntk
from dalcli.theory.dynamics import convergence
from dalcli.theory.kernel import Kernel, Matrix, Rows, normalised, one_hot
from dalcli.theory.mmd import Discrepancy
from dalcli.theory.ntk import NtkSketch
from dalcli.theory.softmax import softmax

STEPS = (1, 10, 100, 1000)
SHUFFLES = 199
PERMUTATIONS = 999
EXACT_GRADIENTS = 20_000  # class gradients of single samples that an exact Θ may cost
GROUPS = 16  # of classes, where there are more: scoring passes of a sketched Θ
DIMENSION = 1024
CHECKED = 32  # samples on which a sketched Θ is compared with the exact one


@dataclass(frozen=True)
class KernelWish:
    """``sketch``: numbers per gradient, 0 for an exact Θ, None for whichever is affordable."""

    samples: int
    batches: int
    size: int
    ridge: float
    sketch: int | None
    seed: int


@dataclass(frozen=True)
class Chosen:
    """The images of Θ, in its order: S, then the pool outside S, then candidates. ``initial`` are rows of S."""

    images: Sequence[PoolImage]
    labeled: Rows
    initial: Rows
    pool: Rows
    candidates: Rows


def choose(sets: Sets, samples: int, seed: int) -> Chosen:
    """Uniform samples of each set, so that quantities over the sample stand for the set."""
    labeled = _sample(sets.labeled, samples, seed, "labeled")
    pool = _sample(sets.pool, samples, seed, "pool")
    candidates = _sample([] if sets.candidates is None else sets.candidates.images, samples, seed, "candidates")
    images = {image.key: image for image in (*labeled, *pool, *candidates)}  # a candidate may be in the pool, too
    row = {key: number for number, key in enumerate(images)}

    def rows(of: Sequence[PoolImage]) -> Rows:
        return np.array([row[image.key] for image in of], dtype=np.int64)

    initial = [image for image in labeled if image.key in sets.initial]
    return Chosen(list(images.values()), rows(labeled), rows(initial), rows(pool), rows(candidates))


def readable(chosen: Chosen, pictures: Pictures) -> Chosen:
    """Without the images that could not be read."""
    there = {image.key for image in pictures.readable(chosen.images)}
    keep = np.array([image.key in there for image in chosen.images], dtype=bool)
    place = np.cumsum(keep) - 1
    sets = (chosen.labeled, chosen.initial, chosen.pool, chosen.candidates)
    images = [image for image in chosen.images if image.key in there]
    return Chosen(images, *(place[rows[keep[rows]]] for rows in sets))


def _sample(images: Sequence[PoolImage], most: int, seed: int, purpose: str) -> list[PoolImage]:
    if len(images) <= most:
        return list(images)
    rows = np.sort(generator(seed, "kernel sample", purpose).choice(len(images), most, replace=False))
    return [images[row] for row in rows]


def measure(
    scorer: Scorer, pictures: Pictures, feedback: Feedback, sets: Sets, chosen: Chosen, wish: KernelWish
) -> KernelReport:
    """Θ and what follows from it."""
    labels = np.array([sets.labels[chosen.images[row].key] for row in chosen.labeled], dtype=np.int64)
    classes = scorer.loaded.meta.spec.num_classes
    kernel, info = _kernel(scorer, pictures, feedback, chosen, one_hot(labels, classes), wish)
    logits = _logits(scorer, pictures, chosen.images)
    return KernelReport(
        kernel=info,
        labeled=_labeled_set(kernel, chosen, labels, logits, len(sets.labeled), wish.seed),
        since_start=_discrepancy(
            kernel, chosen.initial, np.setdiff1d(chosen.labeled, chosen.initial), wish.seed, "since start"
        ),
        from_pool=_discrepancy(
            kernel,
            chosen.labeled,
            chosen.pool,
            wish.seed,
            "from pool",
            share=len(sets.pool) / (len(sets.pool) + len(sets.labeled)),
        ),
        agreement=agreement(kernel, sets, chosen, labels, logits, wish.size, wish.batches, wish.seed),
    )


def _labeled_set(
    kernel: Kernel, chosen: Chosen, labels: NDArray[np.int64], logits: Matrix, total: int, seed: int
) -> LabeledSet:
    theta, rows = kernel.of(chosen.labeled), chosen.labeled
    y = one_hot(labels, logits.shape[1])
    return LabeledSet(
        samples=len(rows),
        labeled=total,
        alignment=alignment.alignment(theta, y),
        bound=alignment.bound(theta, y),
        shuffled=alignment.shuffled(theta, y, SHUFFLES, generator(seed, "shuffled labels")),
        g_mse_logits=alignment.g_mse(theta, logits[rows], y),
        g_mse_probabilities=alignment.g_mse(theta, softmax(logits[rows]), y),
        theorem_1=convergence(theta, y, STEPS),
        theorem_2=alignment.theorem_2(theta, y),
    )


def _discrepancy(
    kernel: Kernel, first: Rows, rest: Rows, seed: int, purpose: str, share: float | None = None
) -> Discrepancy | None:
    """MMD of a part from the whole that it was drawn from; ``share``: of the rest in the whole."""
    if len(first) < 2 or len(rest) < 2:
        return None
    share = len(rest) / (len(first) + len(rest)) if share is None else share
    return mmd.compare(kernel.values, first, rest, PERMUTATIONS, generator(seed, "permutations", purpose), share)


def _kernel(
    scorer: Scorer, pictures: Pictures, feedback: Feedback, chosen: Chosen, labels: Matrix, wish: KernelWish
) -> tuple[Kernel, KernelInfo]:
    model, limit = scorer.loaded.model, scorer.memory_limit
    count, classes = len(chosen.images), labels.shape[1]
    affordable = count * classes <= EXACT_GRADIENTS and ntk.samples_that_fit(model, limit) >= count
    exact = wish.sketch == 0 or (wish.sketch is None and affordable)
    passes = classes if exact else min(classes, GROUPS)
    sketch = NtkSketch(derive_seed(wish.seed, "kernel sketch"), wish.sketch or DIMENSION, GROUPS)
    once = not exact or ntk.samples_that_fit(model, limit) >= count
    with feedback.task("tangent kernel", passes * count if once else None, "class gradients") as task:
        if exact:
            raw = ntk.exact_ntk(model, _inputs(scorer, pictures, chosen.images), count, classes, limit, task.advance)
        else:
            batch = scorer.micro_batch()
            raw = ntk.sketched_ntk(
                model, _inputs(scorer, pictures, chosen.images), count, classes, sketch, limit, batch, task.advance
            )
    kernel = _normalised(raw, wish.ridge)
    if exact:
        info = KernelInfo(count, classes, wish.ridge, kernel.scale, False, None, None, 0, None, None, None)
        return kernel, info
    rows = _check_rows(chosen.labeled, min(CHECKED, ntk.samples_that_fit(model, limit)), wish.seed)
    images = [chosen.images[row] for row in rows]
    with feedback.task("checking the sketch", classes * len(rows), "class gradients") as task:
        truth = ntk.exact_ntk(model, _inputs(scorer, pictures, images), len(rows), classes, limit, task.advance)
    errors = _errors(kernel, truth, rows, labels[np.searchsorted(chosen.labeled, rows)])
    info = KernelInfo(count, classes, wish.ridge, kernel.scale, True, sketch.dimension, passes, len(rows), *errors)
    return kernel, info


def _inputs(scorer: Scorer, pictures: Pictures, images: Sequence[PoolImage]) -> ntk.Inputs:
    return lambda piece: scorer.inputs(pictures.read([image.key for image in images[piece]]))


def _normalised(raw: Matrix, ridge: float) -> Kernel:
    try:
        return normalised(raw, ridge)
    except ValueError as error:
        raise DalcliError(f"{error}: nothing can be said about this model", "train it again: dalcli train") from None


def _check_rows(labeled: Rows, count: int, seed: int) -> Rows:
    drawn: Rows = np.sort(generator(seed, "kernel check").choice(labeled, min(count, len(labeled)), replace=False))
    return drawn


def _errors(kernel: Kernel, truth: Matrix, rows: Rows, labels: Matrix) -> tuple[float, float, float]:
    """Relative errors of entries, A and B on some samples of S, both on the sketched kernel's scale."""
    exact = truth / kernel.scale + kernel.ridge * np.eye(len(rows))
    found = kernel.of(rows)
    size = np.sqrt(np.diag(exact))
    entries = float(np.sqrt(np.mean(((found - exact) / (size[:, None] * size)) ** 2)))
    a = alignment.alignment(found, labels) / alignment.alignment(exact, labels) - 1
    b = alignment.bound(found, labels) / alignment.bound(exact, labels) - 1
    return entries, abs(a), abs(b)


def _logits(scorer: Scorer, pictures: Pictures, images: Sequence[PoolImage]) -> Matrix:
    """f(X) of the version, (n, K)."""
    model = scorer.loaded.model
    read = _inputs(scorer, pictures, images)
    with evaluating(model), torch.no_grad():
        parts = [
            logits_of(model(read(p))).double().cpu().numpy() for p in even_pieces(len(images), scorer.micro_batch())
        ]
    return np.concatenate(parts)
