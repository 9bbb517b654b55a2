"""The approximation ratio R(Q|S) (Eq. 14, Figure 4): of the batch, of its first few, and of random batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import derive_seed, generator
from dalcli.diagnosis.findings import GOOD
from dalcli.diagnosis.gradients import Gradient, Gradients, SampleGradients, Values, sq_norm
from dalcli.diagnosis.result import BatchRatio, PrefixRatio, RandomRatios
from dalcli.diagnosis.sets import Query
from dalcli.feedback import Feedback
from dalcli.gradients.sketch import SketchSpec
from dalcli.state.catalog import PoolImage
from dalcli.theory import ratio
from dalcli.theory.ratio import PoolMeans

EXACT_PASSES = 16  # gradients per kernel sample that random batches may cost; beyond, cross terms are sketched
SKETCH_DIMENSION = 2048
CHECKED = 4  # batches for which the sketch is compared with the exact value


@dataclass(frozen=True)
class RandomWish:
    """How many random batches of what size, and how many samples' gradients they may cost exactly."""

    batches: int
    size: int
    samples: int
    seed: int


def of_batch(gradients: Gradients, feedback: Feedback, query: Query) -> BatchRatio:
    """R of the batch and of its first 1, 2, 4, 8, ... samples, all exact: one backward pass over the batch."""
    images = query.images
    known = gradients.of_samples(images)
    sq, inner = np.cumsum(known.sq_norm), np.cumsum(known.inner)
    total: Gradient = {}
    prefixes: list[PrefixRatio] = []
    done, joint = 0, 0.0
    with feedback.task("gradient of the batch", len(images)) as task:
        for size in _sizes(len(images)):
            part = gradients.summed(images[done:size], known.label[done:size].tolist(), task.advance)
            total = {name: value + total[name] if total else value for name, value in part.items()}
            joint, done = sq_norm(total), size
            prefixes.append(PrefixRatio(size, _ratio(sq[size - 1], inner[size - 1], joint)))
    numerator, denominator = ratio.terms(sq[-1:], inner[-1:], np.array([joint]))
    lengths = np.sqrt(known.sq_norm)
    pairs = float(lengths.sum() ** 2 - known.sq_norm.sum())
    return BatchRatio(
        source=query.source,
        batch_id=query.batch_id,
        strategy=query.strategy,
        size=len(images),
        ratio=prefixes[-1].ratio,
        numerator=float(numerator[0]),
        denominator=float(denominator[0]),
        cosine=(joint - float(sq[-1])) / pairs if pairs > 0 else None,
        prefixes=tuple(prefixes),
    )


def _sizes(count: int) -> list[int]:
    """1, 2, 4, ... and ``count`` itself."""
    return [*(2**power for power in range(count.bit_length()) if 2**power < count), count]


def _ratio(sq: float, inner: float, joint: float) -> float:
    numerator, denominator = ratio.terms(np.array([sq]), np.array([inner]), np.array([joint]))
    return ratio.ratio(float(numerator[0]), float(denominator[0]))


def of_random(
    gradients: Gradients, feedback: Feedback, pool: Sequence[PoolImage], population: int, wish: RandomWish
) -> RandomRatios:
    """R over uniform random batches from ``pool``, itself all or a uniform sample of ``population`` samples."""
    known = gradients.of_samples(pool)
    size = min(wish.size, len(pool))
    with feedback.task("gradient of the pool", len(pool)) as task:
        whole = sq_norm(gradients.summed(pool, known.label.tolist(), task.advance))
    means = PoolMeans.of(known.sq_norm, known.inner, whole)
    random = generator(wish.seed, "random batches")
    drawn = np.stack([random.choice(len(pool), size, replace=False) for _ in range(wish.batches)])
    sketched = wish.batches * size > EXACT_PASSES * wish.samples and len(pool) < wish.batches * size
    error, checked = None, 0
    if sketched:
        joint = _sketched(gradients, feedback, pool, known, drawn, derive_seed(wish.seed, "batch sketch"))
        checked = min(CHECKED, len(drawn))
        exact = _exact(gradients, feedback, pool, known, drawn[:checked])
        error = float(np.sqrt(np.mean((joint[:checked] / exact - 1) ** 2))) if (exact > 0).all() else None
        joint[:checked] = exact
    else:
        joint = _exact(gradients, feedback, pool, known, drawn)
    numerators, denominators = ratio.terms(known.sq_norm[drawn].sum(1), known.inner[drawn].sum(1), joint)
    return RandomRatios(
        size=size,
        population=population,
        pool=len(pool),
        summary=ratio.summarise(numerators, denominators, random),
        exact_ratio_of_means=means.ratio_of_means(size),
        largest_batch=means.largest_batch(*GOOD, most=population),
        sketched=sketched,
        sketch_dimension=SKETCH_DIMENSION if sketched else None,
        sketch_error=error,
        checked=checked,
    )


def _exact(
    gradients: Gradients,
    feedback: Feedback,
    pool: Sequence[PoolImage],
    known: SampleGradients,
    drawn: NDArray[np.int64],
) -> Values:
    """‖g_Q‖² of each batch of rows (T, b): one backward pass over every batch."""
    found = np.empty(len(drawn))
    with feedback.task("gradients of random batches", drawn.size) as task:
        for number, rows in enumerate(drawn):
            total = gradients.summed([pool[row] for row in rows], known.label[rows].tolist(), task.advance)
            found[number] = sq_norm(total)
    return found


def _sketched(
    gradients: Gradients,
    feedback: Feedback,
    pool: Sequence[PoolImage],
    known: SampleGradients,
    drawn: NDArray[np.int64],
    seed: int,
) -> Values:
    """‖g_Q‖² of each batch: exact ‖g_u‖², and cross terms from one sketch per sample."""
    with feedback.task("sketching the pool's gradients", len(pool)) as task:
        sketches = gradients.sketches(pool, SketchSpec(seed, SKETCH_DIMENSION), task.advance)
    own = np.sum(sketches**2, axis=1)
    found = np.empty(len(drawn))
    for number, rows in enumerate(drawn):
        cross = float(np.sum(sketches[rows].sum(0) ** 2) - own[rows].sum())
        found[number] = max(0.0, float(known.sq_norm[rows].sum()) + cross)
    return found
