"""``diagnose``: does the theory behind the scores hold for this model, this labeled set and this batch size?

Section 4 and Figure 4 of the paper on one model version. What `train`, `score` or `ingest-labels` do meanwhile does not
matter: everything is taken from one snapshot and one immutable version. Only scores that lack their gradients are
completed first (``missing``); beyond that it holds no lock and writes nothing.

The way: ``sets`` (S, S0, the pool, the batch, candidates) → ``sample`` (uniform ones that stand for them) → ``images``
(decoded once) → ``gradients`` and from them ``ratio`` (R); ``kernel`` (Θ and what follows from it) and ``agreement``
(Kendall's τ) → ``result`` (the numbers) → ``findings`` (what they mean, by the numbers of ``thresholds``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dalcli.config.hashing import derive_seed
from dalcli.config.words import counted
from dalcli.diagnosis.findings import findings
from dalcli.diagnosis.gradients import Gradients, SampleGradients, sq_norm
from dalcli.diagnosis.images import DecodedImages
from dalcli.diagnosis.kernel import KernelSettings, kernel_report
from dalcli.diagnosis.missing import add_gradients
from dalcli.diagnosis.model import DiagnosedModel
from dalcli.diagnosis.ratio import batch_ratio, random_ratios
from dalcli.diagnosis.request import DiagnoseRequest
from dalcli.diagnosis.result import DiagnoseResult, TrainingState
from dalcli.diagnosis.sample import KernelSample, PoolSample, RandomBatches
from dalcli.diagnosis.sets import Sets, check, gather
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.scoring import labeled_gradient
from dalcli.scoring.scorer import Scorer
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session
from dalcli.workspace.versions import none_readable


def diagnose(session: Session, request: DiagnoseRequest) -> DiagnoseResult:
    """Diagnose the newest version, or the one named.

    Raises:
        UsageError: no batch size is known.
        NotReadyError: there is no model, or no scores to choose a batch by.
        DalcliError: the model's files are damaged.
    """
    device = resolve_device(session.config.device)
    check(session, request.model, request.budget, request.labels)
    add_gradients(session, request.model)
    sets = gather(session, request.model, request.budget, request.labels)
    if sets.newer_labels:
        newer = counted(sets.newer_labels, "label is", "labels are")
        session.feedback.warn(f"{newer} newer than model {sets.model.version}, and none of S here: dalcli train")
    scorer = Scorer(session, sets.model, device)
    with reproducible(device, session.config.threads):
        return _diagnose(session, scorer, sets, request)


def _diagnose(session: Session, scorer: Scorer, sets: Sets, request: DiagnoseRequest) -> DiagnoseResult:
    base = session.config.seed if request.seed is None else request.seed
    seed = derive_seed(base, "diagnose", sets.model.version)
    sample = KernelSample.draw(sets, request.samples, seed)
    pool = PoolSample.draw(sets, request.samples, seed)
    of_labeled = labeled_gradient.stored(sets.scores)

    wanted = [*sample.images, *pool.images, *([] if sets.batch is None else sets.batch.images)]
    if of_labeled is None:
        wanted = [*sets.labeled, *wanted]
    decoded = DecodedImages.read(session, wanted, scorer.loaded.meta.spec.seen)
    sample, pool = sample.readable(decoded), pool.readable(decoded)
    chosen = None if sets.batch is None else replace(sets.batch, images=decoded.readable(sets.batch.images))
    if not len(sample.labeled):
        raise none_readable(sets.model)

    model = DiagnosedModel(scorer, decoded, session.feedback)
    gradients = Gradients(model, sets, of_labeled)
    batches = RandomBatches(request.random_batches, sets.budget, seed)
    batch = batch_ratio(gradients, chosen) if chosen is not None and chosen.images else None
    alike = batches if batch is None else replace(batches, size=batch.size)
    known = gradients.of_samples(pool.images)  # for R, and for how long a gradient of the pool is
    random = random_ratios(gradients, pool, known, alike, request.samples) if len(pool.images) >= 2 else None
    theory = kernel_report(model, sets, sample, KernelSettings(request.ridge, request.sketch, seed), batches)
    training = _training(gradients, sets.model, known)
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


def _training(gradients: Gradients, model: ModelVersion, of_pool: SampleGradients) -> TrainingState:
    dynamics, samples = sq_norm(gradients.of_labeled), len(of_pool.sq_norm)
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
        pool_gradient=float(np.sqrt(of_pool.sq_norm.mean())) if samples else None,
        pool_samples=samples,
    )
