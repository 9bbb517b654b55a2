"""A file of somebody else's weights, judged before it is needed: its name and its header. Never imports torch."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from dalcli.errors import BadInputError

SAFE = ".safetensors"
PICKLED = frozenset({".pth", ".pt", ".bin", ".ckpt"})
"""What torch.save writes; read without ever running code from it."""

_AGAIN = "It may be truncated: copy or download it again."


def require(path: Path, *, pickled: bool = False) -> None:
    """Refuse what is no safetensors file; whether its tensors fit a model is not looked at.

    Args:
        path: the file.
        pickled: whether files of ``torch.save`` are good too.

    Raises:
        BadInputError: key ``model.weights``.
    """
    if path.suffix != SAFE and not (pickled and path.suffix in PICKLED):
        _refuse_kind(path, pickled)
    if path.is_dir():
        raise BadInputError(f"model.weights: {path} is a folder", "Give the file of weights in it.")
    if not path.is_file():
        kinds = f"a .safetensors{' or .pth' if pickled else ''} file"
        raise BadInputError(
            f"model.weights: {path} does not exist",
            f"Give {kinds}, relative to the workspace; networks of torchvision or timm also take names: DEFAULT, say.",
        )
    with readable(path):
        if path.suffix == SAFE:
            with safe_open(path, framework="np"):
                pass
        elif not zipfile.is_zipfile(path) and not _begins_like_a_pickle(path):
            raise BadInputError(f"model.weights: {path} cannot be read: it is no file that torch.save wrote", _AGAIN)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What is read of ``path`` meanwhile can be read, or it is an error of the user's: BadInputError."""
    try:
        yield
    except PermissionError as error:
        raise BadInputError(f"model.weights: {path} cannot be read: {error}", "Check its permissions.") from error
    except (OSError, SafetensorError) as error:
        raise BadInputError(f"model.weights: {path} cannot be read: {error}", _AGAIN) from error


def _refuse_kind(path: Path, pickled: bool) -> None:
    if pickled:
        raise BadInputError(
            f"model.weights: {path} is neither a .safetensors file nor one that torch.save wrote (.pth, .pt, .bin)",
            "Give its state dict in one of these formats.",
        )
    raise BadInputError(
        f"model.weights: {path} is not a .safetensors file (other formats can run code when opened)",
        "Convert it once: python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('IN', "
        "weights_only=True), 'OUT.safetensors')\"",
    )


def _begins_like_a_pickle(path: Path) -> bool:
    """Before 1.6 torch.save wrote a bare pickle, protocol 2 or later."""
    with path.open("rb") as file:
        start = file.read(2)
    return len(start) == 2 and start[0] == 0x80 and 2 <= start[1] <= 5
