"""How features enter the head of a frozen network: centred, and of a common length whatever the network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Standardisation:
    """What is taken off (d,) float32, and the factor for the rest: a mean square length of √d.

    One factor for all directions: a network's weak directions stay weak. With that length, penalties mean the same for
    every network.
    """

    centre: Tensor
    factor: float

    @classmethod
    def of(cls, features: Tensor) -> Standardisation:
        """What standardises ``features`` (n, d), n ≥ 1; features that are all alike are only centred."""
        values = features.double()
        centre = values.mean(dim=0).float()
        length = float((values - centre.double()).square().sum(dim=1).mean().sqrt())
        return cls(centre, features.shape[1] ** 0.25 / length if length > 0 else 1.0)

    def __call__(self, features: Tensor) -> Tensor:
        """``features`` (n, d) float32, standardised."""
        return (features.float() - self.centre) * self.factor
