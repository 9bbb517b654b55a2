"""``diagnose``: does the theory behind the scores hold for this model, this labeled set and this batch size?

Section 4 and Figure 4 of the paper on one model version. Holds no lock and writes nothing; what `train`, `score` or
`ingest-labels` do meanwhile does not matter: everything is taken from one snapshot and one immutable version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dalcli.config.hashing import derive_seed, generator
from dalcli.config.schema import MAX_BUDGET
from dalcli.diagnosis import kernel, ratio
from dalcli.diagnosis.findings import findings
from dalcli.diagnosis.gradients import Gradients, sq_norm
from dalcli.diagnosis.images import Pictures
from dalcli.diagnosis.kernel import KernelWish
from dalcli.diagnosis.ratio import RandomWish
from dalcli.diagnosis.result import BatchRatio, DiagnoseResult, RandomRatios, TrainingState
from dalcli.diagnosis.scores import stored_gradient
from dalcli.diagnosis.sets import Sets, gather
from dalcli.errors import BadInputError, NotReadyError, UsageError
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.scoring.scorer import Scorer
from dalcli.state.catalog import PoolImage
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session

POOL_PER_SAMPLE = 32  # pool samples whose gradients R may look at, per kernel sample
LEAST_SAMPLES, MOST_SAMPLES = 16, 2048
LEAST_BATCHES, MOST_BATCHES = 10, 2000  # the rank correlation compares all pairs at once
MOST_SKETCH = 65_536


@dataclass(frozen=True)
class Options:
    """What the command line asked for; None means: as configured, derived, or whichever is affordable."""

    budget: int | None = None
    samples: int = 256
    random_batches: int = 100
    ridge: float = 1e-3
    sketch: int | None = None
    labels: Path | None = None
    model: str | None = None
    seed: int | None = None


def check(options: Options) -> None:
    """Refuse what no workspace could make sense of.

    Raises:
        UsageError: an option is out of range.
        BadInputError: there is no such labels file.
    """
    ranges = (
        ("--budget", options.budget, 1, MAX_BUDGET),
        ("--samples", options.samples, LEAST_SAMPLES, MOST_SAMPLES),
        ("--random-batches", options.random_batches, LEAST_BATCHES, MOST_BATCHES),
        ("--sketch", options.sketch, 0, MOST_SKETCH),
        ("--seed", options.seed, 0, 2**63 - 1),
    )
    for name, value, least, most in ranges:
        if value is not None and not least <= value <= most:
            raise UsageError(f"{name} {value} is out of range", f"{least} to {most}")
    if not 0 < options.ridge <= 1:
        raise UsageError(f"--ridge {options.ridge:g} is out of range", "above 0, at most 1 (of Θ's mean diagonal)")
    if options.labels is not None and not options.labels.is_file():
        raise BadInputError(f"{options.labels}: no such file", "name a CSV of true labels: --labels FILE")


def diagnose(session: Session, options: Options) -> DiagnoseResult:
    """Diagnose the newest version, or the one named.

    Raises:
        UsageError: an option is out of range, or no batch size is known.
        NotReadyError: there is no model, or no scores to choose a batch by.
        DalcliError: the model's files are damaged.
    """
    check(options)
    device = resolve_device(session.config.device)
    sets = gather(session, options.model, options.budget, options.labels)
    if sets.newer_labels:
        session.feedback.warn(
            f"{sets.newer_labels} labels are newer than model {sets.model.version}, and none of S here: dalcli train"
        )
    base = session.config.seed if options.seed is None else options.seed
    seed = derive_seed(base, "diagnose", sets.model.version)
    scorer = Scorer(session, sets.model, device)
    with reproducible(device, session.config.threads):
        return _diagnose(session, scorer, sets, options, base, seed)


def _diagnose(session: Session, scorer: Scorer, sets: Sets, options: Options, base: int, seed: int) -> DiagnoseResult:
    chosen = kernel.choose(sets, options.samples, seed)
    pool = _some_of_the_pool(sets, options, seed)
    query = [] if sets.query is None else sets.query.images
    of_labeled = stored_gradient(session, sets.model)
    wanted = [*([] if of_labeled is not None else sets.labeled), *chosen.images, *pool, *query]
    pictures = Pictures(session, wanted, scorer.loaded.meta.spec.image_size)
    kept = kernel.readable(chosen, pictures)
    if not len(kept.labeled):
        raise NotReadyError(
            f"none of the images that {sets.model.version} was trained on can be read", "see `dalcli pool quarantine`"
        )
    gradients = Gradients(session, scorer, pictures, sets, of_labeled)
    batch, random = _ratios(session, gradients, pictures, sets, pool, options, seed)
    wish = KernelWish(options.samples, options.random_batches, sets.budget, options.ridge, options.sketch, seed)
    theory = kernel.measure(scorer, pictures, session.feedback, sets, kept, wish)
    training = _training(gradients, sets.model, pictures.readable(pool))
    return DiagnoseResult(
        version=sets.model.version,
        newer_labels=sets.newer_labels,
        seed=base,
        training=training,
        batch=batch,
        random=random,
        theory=theory,
        findings=findings(training, batch, random, theory),
    )


def _some_of_the_pool(sets: Sets, options: Options, seed: int) -> list[PoolImage]:
    """All samples outside S, or a uniform sample of them that is large enough for batches of the size in question."""
    most = max(POOL_PER_SAMPLE * options.samples, 2 * sets.budget)
    if len(sets.pool) <= most:
        return list(sets.pool)
    rows = np.sort(generator(seed, "pool sample").choice(len(sets.pool), most, replace=False))
    return [sets.pool[row] for row in rows]


def _ratios(
    session: Session,
    gradients: Gradients,
    pictures: Pictures,
    sets: Sets,
    pool: Sequence[PoolImage],
    options: Options,
    seed: int,
) -> tuple[BatchRatio | None, RandomRatios | None]:
    """R of the batch and of random ones, where there are samples for them."""
    batch, random = None, None
    there = pictures.readable(pool)
    if sets.query is not None:
        images = pictures.readable(sets.query.images)
        if images:
            batch = ratio.of_batch(gradients, session.feedback, replace(sets.query, images=images))
    if len(there) >= 2:
        size = sets.budget if batch is None else batch.size
        wish = RandomWish(options.random_batches, size, options.samples, seed)
        random = ratio.of_random(gradients, session.feedback, there, len(sets.pool), wish)
    return batch, random


def _training(gradients: Gradients, model: ModelVersion, pool: Sequence[PoolImage]) -> TrainingState:
    dynamics = sq_norm(gradients.of_labeled)
    of_pool = gradients.of_samples(pool).sq_norm if pool else np.empty(0)
    assert model.train_accuracy is not None
    assert model.train_loss is not None
    return TrainingState(
        converged=bool(model.converged),
        stopped=model.stopped or "",
        epochs=model.epochs or 0,
        train_accuracy=model.train_accuracy,
        train_loss=model.train_loss,
        labeled=gradients.labeled,
        dynamics=dynamics,
        mean_gradient=float(np.sqrt(dynamics)) / gradients.labeled,
        pool_gradient=float(np.sqrt(of_pool.mean())) if len(of_pool) else None,
        pool_samples=len(pool),
    )
