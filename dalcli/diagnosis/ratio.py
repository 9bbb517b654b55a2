"""The approximation ratio R(Q|S) (Eq. 14, Figure 4): of the batch, of its first few, and of random batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dalcli.config.hashing import derive_seed, generator
from dalcli.data.pixels import IntArray
from dalcli.diagnosis.gradients import Gradient, Gradients, SampleGradients, sq_norm
from dalcli.diagnosis.result import BatchRatio, PrefixRatio, RandomRatios
from dalcli.diagnosis.sample import PoolSample, RandomBatches
from dalcli.diagnosis.sets import ChosenBatch
from dalcli.diagnosis.thresholds import GOOD_RATIO
from dalcli.gradients.sketch import SketchSpec
from dalcli.scores.columns import Floats
from dalcli.theory import ratio
from dalcli.theory.ratio import PoolMeans

EXACT_PASSES = 16  # gradients per kernel sample that random batches may cost; beyond, cross terms are sketched
SKETCH_DIMENSION = 2048
CHECKED = 4  # batches for which the sketch is compared with the exact value


def batch_ratio(gradients: Gradients, batch: ChosenBatch) -> BatchRatio:
    """R of the batch and of its first 1, 2, 4, 8, ... samples, all exact."""
    known, count = gradients.of_samples(batch.images), len(batch.images)
    sq, inner = np.cumsum(known.sq_norm), np.cumsum(known.inner)
    joint = dict(_joint_sq_norms(gradients, batch, known))
    terms = {size: ratio.terms(float(sq[size - 1]), float(inner[size - 1]), norm) for size, norm in joint.items()}
    prefixes = tuple(PrefixRatio(size, ratio.ratio(*pair)) for size, pair in terms.items())
    numerator, denominator = terms[count]
    pairs = float(np.sqrt(known.sq_norm).sum() ** 2 - known.sq_norm.sum())
    return BatchRatio(
        source=batch.source,
        batch_id=batch.batch_id,
        strategy=batch.strategy,
        size=count,
        ratio=prefixes[-1].ratio,
        numerator=numerator,
        denominator=denominator,
        cosine=(joint[count] - float(sq[-1])) / pairs if count > 1 and pairs > 0 else None,
        prefixes=prefixes,
    )


def _joint_sq_norms(gradients: Gradients, batch: ChosenBatch, known: SampleGradients) -> Iterator[tuple[int, float]]:
    """‖Σ g_u‖² over the first 1, 2, 4, ... members and over all: one backward pass over the batch."""
    total: Gradient = {}
    done, count = 0, len(batch.images)
    with gradients.model.feedback.task("gradient of the batch", count) as task:
        for size in _prefix_sizes(count):
            part = gradients.summed(batch.images[done:size], known.label[done:size].tolist(), task)
            total = {name: value + total[name] if total else value for name, value in part.items()}
            done = size
            yield size, sq_norm(total)


def _prefix_sizes(count: int) -> list[int]:
    """1, 2, 4, ... and ``count`` itself."""
    return [*(2**power for power in range(count.bit_length()) if 2**power < count), count]


def random_ratios(
    gradients: Gradients, pool: PoolSample, known: SampleGradients, batches: RandomBatches, kernel_samples: int
) -> RandomRatios:
    """R over uniform random batches from ``pool``, of whose samples the gradients are ``known``.

    Exact as long as that costs little beside ``kernel_samples``.
    """
    count, size = len(pool.images), min(batches.size, len(pool.images))
    source = _PoolGradients(gradients, pool, known)
    means = source.means()
    random = generator(batches.seed, "random batches")
    drawn = np.stack([random.choice(count, size, replace=False) for _ in range(batches.count)])
    passes = batches.count * size
    sketched = passes > EXACT_PASSES * kernel_samples and count < passes
    joint = _sketched(source, drawn, batches.seed) if sketched else _JointSqNorms(source.exact(drawn))
    numerators, denominators = ratio.terms(known.sq_norm[drawn].sum(1), known.inner[drawn].sum(1), joint.values)
    return RandomRatios(
        size=size,
        population=pool.population,
        pool=count,
        summary=ratio.summarise(numerators, denominators, random),
        exact_ratio_of_means=means.ratio_of_means(size),
        largest_batch=means.largest_batch(*GOOD_RATIO, most=pool.population),
        sketched=sketched,
        sketch_dimension=SKETCH_DIMENSION if sketched else None,
        sketch_error=joint.error,
        checked=joint.checked,
    )


@dataclass(frozen=True, eq=False)
class _JointSqNorms:
    """‖g_Q‖² of T batches, (T,), and the relative error of sketched ones on those ``checked``, which are exact."""

    values: Floats
    error: float | None = None
    checked: int = 0


def _sketched(source: _PoolGradients, drawn: IntArray, seed: int) -> _JointSqNorms:
    values = source.sketched(drawn, derive_seed(seed, "batch sketch"))
    checked = min(CHECKED, len(drawn))
    exact = source.exact(drawn[:checked])
    error = float(np.sqrt(np.mean((values[:checked] / exact - 1) ** 2))) if (exact > 0).all() else None
    return _JointSqNorms(np.concatenate([exact, values[checked:]]), error, checked)


@dataclass(frozen=True, eq=False)
class _PoolGradients:
    """Gradients of the pool that random batches are drawn from; ``known`` of its samples one by one."""

    gradients: Gradients
    pool: PoolSample
    known: SampleGradients

    def means(self) -> PoolMeans:
        """One backward pass over the pool."""
        images = self.pool.images
        with self.gradients.model.feedback.task("gradient of the pool", len(images)) as task:
            whole = self.gradients.summed(images, self.known.label.tolist(), task)
        return PoolMeans.of(self.known.sq_norm, self.known.inner, sq_norm(whole))

    def exact(self, drawn: IntArray) -> Floats:
        """‖g_Q‖² of each batch of rows (T, b): one backward pass over every batch."""
        found = np.empty(len(drawn))
        with self.gradients.model.feedback.task("gradients of random batches", drawn.size) as task:
            for number, rows in enumerate(drawn):
                images = [self.pool.images[row] for row in rows]
                found[number] = sq_norm(self.gradients.summed(images, self.known.label[rows].tolist(), task))
        return found

    def sketched(self, drawn: IntArray, seed: int) -> Floats:
        """‖g_Q‖² of each batch of rows (T, b): exact ‖g_u‖², and cross terms from one sketch per sample."""
        images = self.pool.images
        with self.gradients.model.feedback.task("sketching the pool's gradients", len(images)) as task:
            sketches = self.gradients.sketches(images, SketchSpec(seed, SKETCH_DIMENSION), task)
        own = np.sum(sketches**2, axis=1)
        found = np.empty(len(drawn))
        for number, rows in enumerate(drawn):
            cross = float(np.sum(sketches[rows].sum(0) ** 2) - own[rows].sum())
            found[number] = max(0.0, float(self.known.sq_norm[rows].sum()) + cross)
        return found
