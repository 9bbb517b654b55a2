"""Diverse dynamical: dynamicAL's Δ, drawn instead of ranked, and discounted for what the batch has already.

Samples are drawn in proportion to Δ · D²/‖φ‖²: φ is the last layer's pseudo-label gradient, D² its squared distance to
the nearest gradient chosen (or 0), at most ‖φ‖². The first pick is a draw from Δ alone, every further one loses
what it shares with a pick. Plain Δ takes the top: squared norms favour outliers and wrong pseudo-labels when labels are
few, and the top resembles itself. Only the ``SHORTLIST`` × budget highest Δ are considered.
"""

from __future__ import annotations

from dalcli.strategies.diverse import Diverse, Shortlist
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.kmeanspp import KMeansPlusPlus
from dalcli.strategies.selection import TopValues
from dalcli.strategies.spaces import LastLayerGradients

SHORTLIST = 10.0


def diverse_dynamical(gamma: float) -> Diverse:
    """Memory: probabilities and features of the shortlist."""
    return Diverse(
        LastLayerGradients(),
        KMeansPlusPlus(power=1.0, relative=True),
        acquisition=Dynamical(gamma),
        shortlist=Shortlist(TopValues(Dynamical(gamma)), SHORTLIST),
        apart_from="in flight",
    )
