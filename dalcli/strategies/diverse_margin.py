"""Diverse margin: of the closest calls, those whose gradients differ most from each other and from what is labeled.

The ``SHORTLIST`` × budget smallest margins; of them, by LCMD in the space of last-layer gradients, the batch. A short
list keeps to samples that the model is unsure about, LCMD keeps it from asking the same thing twice or again: labeled
samples and those in flight are centres of clusters too. Deterministic but for ties.
"""

from __future__ import annotations

from dalcli.strategies.diverse import Diverse, Shortlist
from dalcli.strategies.lcmd import LargestCluster
from dalcli.strategies.margin import Margin
from dalcli.strategies.selection import TopValues
from dalcli.strategies.spaces import LastLayerGradients

SHORTLIST = 5.0


def diverse_margin() -> Diverse:
    """Memory: probabilities and features of the shortlist."""
    return Diverse(
        LastLayerGradients(),
        LargestCluster(),
        acquisition=Margin(),
        shortlist=Shortlist(TopValues(Margin()), SHORTLIST),
        apart_from="known",
    )
