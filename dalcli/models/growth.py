"""A parent's weights in a model with more classes: what was learned stays, new classes start at zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dalcli.errors import DalcliError
from dalcli.models.checkpoint import load_state


def grow(model: nn.Module, parent: Mapping[str, Tensor], old_classes: int, new_classes: int) -> tuple[str, ...]:
    """Load ``parent`` (a state dict for ``old_classes``) into ``model`` (built for ``new_classes``).

    Tensors whose first dimension is the number of classes get zero rows at the end, so a new class starts with
    logit 0 and the others keep theirs (to the last bit, but for how a wider matrix product rounds). Everything
    else must match exactly.

    Returns:
        The names of the tensors that grew.

    Raises:
        DalcliError: some tensor is missing, unknown or of another shape; ``model`` is unchanged.
    """
    state = model.state_dict()
    unmatched = sorted(state.keys() ^ parent.keys())
    misshapen = [name for name in state.keys() & parent.keys() if state[name].shape != parent[name].shape]
    grown = sorted(name for name in misshapen if _grows(parent[name], state[name], old_classes, new_classes))
    wrong = unmatched + sorted(set(misshapen) - set(grown))
    if wrong:
        raise DalcliError(
            f"the parent's weights do not fit the model: {', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}",
            "Set training.start: reinit to train fresh weights, or restore the model settings of the parent.",
        )
    for name in state:
        old = parent[name]
        state[name] = _with_zero_rows(old, new_classes) if name in grown else old
    load_state(model, state)
    return tuple(grown)


def _grows(old: Tensor, new: Tensor, old_classes: int, new_classes: int) -> bool:
    by_class = old.ndim >= 1 and old.ndim == new.ndim and (len(old), len(new)) == (old_classes, new_classes)
    return by_class and new_classes > old_classes and old.shape[1:] == new.shape[1:]


def _with_zero_rows(old: Tensor, rows: int) -> Tensor:
    return torch.cat([old, old.new_zeros(rows - len(old), *old.shape[1:])])
