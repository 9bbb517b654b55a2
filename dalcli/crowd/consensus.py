"""What the votes of several annotators on one sample amount to, by one of three rules.

Where all say the same, that is the label under every rule: rules differ in what becomes of a dispute.

- ``unanimous``: it stays one, until those who disagree come to agree.
- ``majority``: more than half of the votes decide.
- ``dawid-skene``: what is most probably true decides, if that is certain enough, given how often each annotator errs
  (``dalcli.crowd.dawid_skene``). Of two annotators alone nobody can tell which one errs: disputes between them stay.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dalcli.crowd.dawid_skene import Votes, companies, dawid_skene

Rule = Literal["unanimous", "majority", "dawid-skene"]
RULES: tuple[Rule, ...] = ("unanimous", "majority", "dawid-skene")
COMPANY = 3


@dataclass(frozen=True, slots=True)
class Said:
    """One annotator's latest label of one sample: keys of both, and a class position."""

    sample: int
    annotator: str
    label: int


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is known about a sample that several annotators have labeled.

    Attributes:
        sample: its key.
        leading: the class with most to be said for it; ties go to the earlier one.
        confidence: its share of the votes, or its probability.
        settled: whether that is enough to make it the label.
    """

    sample: int
    leading: int
    confidence: float
    settled: bool


def opinions(rule: Rule, certainty: float, said: Iterable[Said]) -> list[Opinion]:
    """One for every sample with two votes or more, in the order of their keys; the order of ``said`` does not matter.

    ``certainty``: the least probability that settles a dispute (``dawid-skene`` only).
    """
    by_sample: defaultdict[int, list[Said]] = defaultdict(list)
    for each in said:
        by_sample[each.sample].append(each)
    shared = {sample: votes for sample, votes in sorted(by_sample.items()) if len(votes) > 1}
    if rule == "dawid-skene" and shared:
        return _by_errors(shared, certainty)
    return [_by_count(sample, [vote.label for vote in votes], rule) for sample, votes in shared.items()]


def _by_count(sample: int, labels: Sequence[int], rule: Rule) -> Opinion:
    leading = min(set(labels), key=lambda label: (-labels.count(label), label))
    votes = labels.count(leading)
    enough = votes == len(labels) if rule == "unanimous" else 2 * votes > len(labels)
    return Opinion(sample, leading, votes / len(labels), enough)


def _by_errors(shared: dict[int, list[Said]], certainty: float) -> list[Opinion]:
    samples = list(shared)
    said = [vote for votes in shared.values() for vote in votes]
    names, who = np.unique([vote.annotator for vote in said], return_inverse=True)
    classes, what = np.unique([vote.label for vote in said], return_inverse=True)
    rows = np.repeat(np.arange(len(samples)), [len(votes) for votes in shared.values()])
    votes = Votes(rows.astype(np.int64), who.astype(np.int64), what.astype(np.int64))
    probability = dawid_skene(votes)
    company = companies(votes)
    large = np.bincount(company, minlength=len(names))[company] >= COMPANY
    found = []
    for row, sample in enumerate(samples):
        labels = {vote.label for vote in shared[sample]}
        # Only what somebody said can become the label: nobody is ever taught a class that no one has named.
        named = np.flatnonzero(np.isin(classes, list(labels)))
        best = named[probability[row, named].argmax()]
        confidence = float(probability[row, best])
        knows = bool(large[np.searchsorted(names, shared[sample][0].annotator)])
        settled = len(labels) == 1 or (knows and confidence >= certainty)
        if len(labels) == 1 or knows:
            found.append(Opinion(sample, int(classes[best]), confidence, settled))
        else:
            found.append(_by_count(sample, [vote.label for vote in shared[sample]], "unanimous"))
    return found
