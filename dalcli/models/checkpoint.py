"""A model version's weights on disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from dalcli.errors import DalcliError
from dalcli.models.tensorfile import read_tensors, write_tensors


def save_model(path: Path, model: nn.Module) -> None:
    """Write the state dict of ``model`` (parameters and buffers) to ``path``, atomically.

    Raises:
        DalcliError: the model keeps state that is not a tensor.
    """
    write_tensors(path, tensor_state(model))


def load_model(path: Path, model: nn.Module) -> None:
    """Put the weights of ``path`` into ``model``, exactly as they were.

    Raises:
        DamagedFileError: the file is missing, truncated or corrupt.
        DalcliError: the file belongs to another architecture.
    """
    tensors, _ = read_tensors(path)
    expected = model.state_dict()
    wrong = sorted(expected.keys() ^ tensors.keys())
    wrong += sorted(name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape)
    if wrong:
        raise DalcliError(
            f"{path} belongs to another model: {', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''} do not match",
            "If the model is your own function, restore the code that this version was trained with.",
        )
    load_state(model, tensors)


def load_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """``load_state_dict`` for tensors from a file; module versions, which files do not keep, are the model's own."""
    state = OrderedDict(tensors)
    # MNASNet refuses to load without its version number; load_state_dict looks for it in this attribute.
    state._metadata = model.state_dict()._metadata  # type: ignore[attr-defined]
    model.load_state_dict(state)


def tensor_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict, known to hold nothing but tensors.

    Raises:
        DalcliError: the model keeps state that is not a tensor.
    """
    state = model.state_dict()
    other = [name for name, value in state.items() if not isinstance(value, Tensor)]
    if other:
        raise DalcliError(
            f"the model keeps state that is not a tensor: {', '.join(other)}",
            "Use buffers for it (register_buffer) instead of get_extra_state.",
        )
    return dict(state)
