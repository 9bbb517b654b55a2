"""A file of somebody else's weights, read: named tensors in the file's order, and never any code."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dalcli.errors import BadInputError
from dalcli.models import weights_file

State = OrderedDict[str, Tensor]

_WRAPPERS = ("state_dict", "model_state_dict", "model")  # where training programs keep the tensors in a checkpoint
_PREFIXES = ("module.", "_orig_mod.")  # of modules wrapped for several GPUs and by torch.compile
_FRACTIONS = ("weight", "bias", "running_mean", "running_var")
_REMEDY = "Give a file of its state dict: torch.save(model.state_dict(), 'weights.pth')."


def read(path: Path, *, pickled: bool = False) -> State:
    """The tensors of a ``.safetensors`` file, or with ``pickled`` also of one that ``torch.save`` wrote.

    A state dict inside a checkpoint is found, and prefixes that wrappers put before every name are removed. Only
    files of ``torch.save`` keep the order in which the model defines its tensors.

    Raises:
        BadInputError: key ``model.weights``: no such file, damaged, or something else than named tensors.
    """
    weights_file.require(path, pickled=pickled)
    if path.suffix == weights_file.SAFE:
        with weights_file.readable(path):
            return _with_metadata(_without_prefixes(OrderedDict(_usable(load_file(path), path))), None)
    with weights_file.readable(path):
        _require_whole(path)
    found = _usable(_unwrapped(_unpickled(path), path), path)
    return _with_metadata(_without_prefixes(OrderedDict(found)), getattr(found, "_metadata", None))


def _require_whole(path: Path) -> None:
    """torch does not look at the checksums in its files: a flipped bit would be a weight."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except zipfile.BadZipFile as error:
        raise _unreadable(path, error) from error
    if damaged is not None:
        raise _unreadable(path, ValueError(f"the checksum of {damaged} in it is wrong"))


def _usable(state: Mapping[str, Tensor], path: Path) -> Mapping[str, Tensor]:
    """``state``, if all of it are plain numbers and its weights have fractions."""
    for name, tensor in state.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            kind = "quantized" if tensor.is_quantized else "empty" if tensor.is_meta else "sparse"
        elif tensor.is_floating_point() or name.rsplit(".", 1)[-1] not in _FRACTIONS:
            continue
        raise BadInputError(
            f"model.weights: {path}: {name} is {kind}, where a network has floating point numbers",
            "Save the weights of the network as it was trained, before it was made smaller.",
        )
    return state


def _unpickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about itself
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower().replace(" ", "_"):
            raise _unreadable(path, error) from error
        raise BadInputError(
            f"model.weights: {path} holds more than tensors (a whole model object, or settings beside its weights), "
            "and reading that could run code",
            f"{_REMEDY} Do it where you trust the file.",
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a damaged file makes torch raise almost anything
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BadInputError:
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return BadInputError(
        f"model.weights: {path} cannot be read: {first}", "It may be truncated: copy or download it again."
    )


def _unwrapped(content: Any, path: Path) -> Mapping[str, Tensor]:
    while isinstance(content, Mapping):
        if content and all(isinstance(n, str) and isinstance(t, Tensor) for n, t in content.items()):
            return content
        inner = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    kind = f"has the keys {', '.join(map(str, list(content)[:5]))}" if isinstance(content, Mapping) else "is one value"
    raise BadInputError(f"model.weights: {path} holds no table of named tensors (it {kind})", _REMEDY)


def _without_prefixes(state: State) -> State:
    for prefix in _PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = OrderedDict((name.removeprefix(prefix), tensor) for name, tensor in state.items())
    return state


def _with_metadata(state: State, found: Any) -> State:
    # MNASNet wants its version number; the other models that look at versions take their absence for an old file.
    state._metadata = found or {"": {"version": 2}}  # type: ignore[attr-defined]  # where load_state_dict looks
    return state
