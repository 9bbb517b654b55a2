"""What the outputs of a model version mean today: classes were renamed, merged and added since it was trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dalcli.crowd.merging import representatives


@dataclass(frozen=True)
class Outputs:
    """The classes that a model can say, by today's names.

    Attributes:
        classes: names; a merged class is not among them.
        parts: for each class the outputs of the network that mean it: the probabilities of these are added up.
        unknown: classes that came after the version was trained.
        columns: for each class its column in what ``merged_logits`` gives.
        positions: for each class its position among those of today, as labels have it.
    """

    classes: tuple[str, ...]
    parts: tuple[tuple[int, ...], ...]
    unknown: tuple[str, ...]
    columns: tuple[int, ...]
    positions: tuple[int, ...]

    @property
    def plain(self) -> bool:
        """Whether every output is a class of its own."""
        return all(len(part) == 1 for part in self.parts)


def outputs_of(names: Sequence[str], counted_as: Sequence[int], count: int) -> Outputs:
    """What the first ``count`` classes, which the version knows, are today.

    Args:
        names, counted_as: of all classes of today by position, merged ones included.
    """
    target = representatives(counted_as, count)
    columns = np.unique(target)
    parts = tuple(tuple(np.flatnonzero(target == column).tolist()) for column in columns)
    said = [counted_as[column] for column in columns.tolist()]
    unknown = [name for place, name in enumerate(names) if counted_as[place] == place and place not in said]
    return Outputs(tuple(names[place] for place in said), parts, tuple(unknown), tuple(columns.tolist()), tuple(said))
