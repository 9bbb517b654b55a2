"""A file of somebody else's weights, judged before it is needed: its name and its header. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open

from dalcli.errors import BadInputError


def require(path: Path) -> None:
    """Refuse what is no safetensors file; whether its tensors fit a model is not looked at.

    Raises:
        BadInputError: key ``model.weights``.
    """
    if path.suffix != ".safetensors":
        raise BadInputError(
            f"model.weights: {path} is not a .safetensors file (other formats can run code when opened)",
            "Convert it once: python -c \"import torch, safetensors.torch as s; s.save_file(torch.load('IN', "
            "weights_only=True), 'OUT.safetensors')\"",
        )
    if not path.is_file():
        raise BadInputError(
            f"model.weights: {path} does not exist",
            "Give a .safetensors file, relative to the workspace, or a torchvision weights name such as DEFAULT.",
        )
    with readable(path), safe_open(path, framework="np"):
        pass


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What is read of ``path`` meanwhile can be read, or it is an error of the user's: BadInputError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise BadInputError(
            f"model.weights: {path} cannot be read: {error}", "It may be truncated: copy or download it again."
        ) from error
