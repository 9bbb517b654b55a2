"""Figure 2 on a workspace: do G_MSE(S∪Q) and A(S∪Q) rank random batches alike?"""

from __future__ import annotations

import numpy as np

from dalcli.config.hashing import generator
from dalcli.diagnosis.result import Agreement, Rank
from dalcli.diagnosis.sample import KernelSample, RandomBatches
from dalcli.diagnosis.sets import Sets
from dalcli.scores.columns import Floats
from dalcli.theory.alignment import subset_sums
from dalcli.theory.kendall import kendall
from dalcli.theory.kernel import Kernel, one_hot, softmax

FEWEST = 8  # candidates and members of S
NORMAL = 1.96


def agreement(
    kernel: Kernel, logits: Floats, sample: KernelSample, sets: Sets, batches: RandomBatches
) -> Agreement | None:
    """τ between G_MSE(S∪Q) and A(S∪Q) over random Q with true labels; None where too few are known.

    ``kernel`` and ``logits`` (n, K) are those of all images of ``sample``.
    """
    random = generator(batches.seed, "agreement")
    base, others, source = sample.labeled, sample.candidates, "labeled set"
    truth = np.zeros(len(sample.images), np.int64)
    truth[base] = sample.classes(base, sets.labels)
    if sets.candidates is not None and len(others) >= FEWEST:
        source = sets.candidates.source
        truth[others] = sample.classes(others, sets.candidates.labels)
    else:
        mixed = random.permutation(base)
        base, others = np.split(mixed, [len(mixed) // 2])
    if len(base) < FEWEST or len(others) < FEWEST:
        return None
    size = min(batches.size, len(others) // 2)
    members = np.zeros((batches.count, len(sample.images)), bool)
    members[:, base] = True
    for row in members:
        row[random.choice(others, size, replace=False)] = True
    y = one_hot(truth, logits.shape[1])
    aligned = subset_sums(kernel.values, y, members)
    return Agreement(
        source=source,
        base=len(base),
        candidates=len(others),
        size=size,
        batches=batches.count,
        logits=_rank(aligned, subset_sums(kernel.values, logits - y, members)),
        probabilities=_rank(aligned, subset_sums(kernel.values, softmax(logits) - y, members)),
    )


def _rank(first: Floats, second: Floats) -> Rank:
    found = kendall(first, second)
    if np.isnan(found.tau):
        return Rank(None, None, None)
    reach = NORMAL * found.standard_error
    return Rank(found.tau, max(-1.0, found.tau - reach), min(1.0, found.tau + reach))
