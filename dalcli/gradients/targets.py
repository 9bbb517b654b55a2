"""What one scoring pass is to find besides norms: products with a direction, sketches, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from dalcli.gradients.projection import Sketcher
from dalcli.gradients.rules.base import NORMS_ONLY, Wanted


@dataclass(frozen=True, slots=True)
class Targets:
    """``direction``: V by parameter name, for ⟨g_u, V⟩; ``sketcher``: for sketches of g_u."""

    direction: Mapping[str, Tensor] | None = None
    sketcher: Sketcher | None = None

    def of(self, name: str, parameter: Tensor) -> Wanted:
        """What is wanted of the parameter ``name``."""
        if self.direction is None and self.sketcher is None:
            return NORMS_ONLY
        along = None if self.direction is None else self.direction[name]
        if self.sketcher is None:
            return Wanted(along)
        return Wanted(along, self.sketcher.projection(name, parameter.shape, parameter.device))
