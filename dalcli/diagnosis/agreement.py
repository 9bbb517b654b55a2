"""Figure 2 on a workspace: do G_MSE(S∪Q) and A(S∪Q) rank random batches alike?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import generator
from dalcli.diagnosis.result import Agreement, Rank
from dalcli.diagnosis.sets import Sets
from dalcli.theory.alignment import subset_sums
from dalcli.theory.kendall import kendall
from dalcli.theory.kernel import Kernel, Matrix, Rows, one_hot
from dalcli.theory.softmax import softmax

if TYPE_CHECKING:
    from dalcli.diagnosis.kernel import Chosen

FEWEST = 8  # candidates and members of S
NORMAL = 1.96


def agreement(
    kernel: Kernel,
    sets: Sets,
    chosen: Chosen,
    labels: NDArray[np.int64],
    logits: Matrix,
    size: int,
    batches: int,
    seed: int,
) -> Agreement | None:
    """τ between G_MSE(S∪Q) and A(S∪Q) over random Q with true labels; None where too few are known.

    ``labels`` are those of ``chosen.labeled``, ``logits`` those of all images of the kernel.
    """
    random = generator(seed, "agreement")
    base, others, source = chosen.labeled, chosen.candidates, "labeled set"
    truth = np.zeros(len(chosen.images), np.int64)
    truth[base] = labels
    if sets.candidates is not None and len(others) >= FEWEST:
        source = sets.candidates.source
        truth[others] = [sets.candidates.labels[chosen.images[row].key] for row in others]
    else:
        mixed = random.permutation(base)
        base, others = np.split(mixed, [len(mixed) // 2])
    if len(base) < FEWEST or len(others) < FEWEST:
        return None
    member = min(size, len(others) // 2)
    subsets = _subsets(len(chosen.images), base, others, member, batches, random)
    y = one_hot(truth, logits.shape[1])
    aligned = subset_sums(kernel.values, y, subsets)
    return Agreement(
        source=source,
        base=len(base),
        candidates=len(others),
        size=member,
        batches=batches,
        logits=_rank(aligned, subset_sums(kernel.values, logits - y, subsets)),
        probabilities=_rank(aligned, subset_sums(kernel.values, softmax(logits) - y, subsets)),
    )


def _subsets(
    count: int, base: Rows, others: Rows, size: int, batches: int, random: np.random.Generator
) -> NDArray[np.bool_]:
    """S ∪ Q for random Q of ``others``, (T, count)."""
    chosen = np.zeros((batches, count), bool)
    chosen[:, base] = True
    for row in chosen:
        row[random.choice(others, size, replace=False)] = True
    return chosen


def _rank(first: Matrix, second: Matrix) -> Rank:
    found = kendall(first, second)
    if np.isnan(found.tau):
        return Rank(None, None, None)
    reach = NORMAL * found.standard_error
    return Rank(found.tau, max(-1.0, found.tau - reach), min(1.0, found.tau + reach))
