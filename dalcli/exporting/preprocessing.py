"""From image files to what the network sees, for the exported folder: dalcli's own code, so that nothing can differ.

The package ``preprocessing`` of an export is three modules of ``dalcli.data``, which need numpy and Pillow alone, and
one function.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from dalcli import __version__
from dalcli.data import colour, decoding, resizing

PACKAGE = "preprocessing"

_HEADER = (
    f"# Copied from dalcli {__version__} (Apache License 2.0), which decodes the images that it trains on like this.\n"
)
_INIT = '''"""From image files to what the network sees, with numpy and Pillow alone."""

from pathlib import Path

import numpy as np

from preprocessing.decoding import DecodeError, decode


def to_input(paths, recipe):
    """Images as (n, 3, height, width) float32; ``recipe`` is ``preprocessing`` in model.json."""
    options = {key: recipe[key] for key in ("image_size", "resize", "crop_fraction", "interpolation")}
    options["alpha_background"] = tuple(recipe["alpha_background"])
    pixels = np.stack([_pixels(path, options) for path in paths])
    images = pixels.astype(np.float32) / np.float32(255)
    images = (images - np.array(recipe["mean"], np.float32)) / np.array(recipe["std"], np.float32)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _pixels(path, options):
    try:
        return decode(Path(path), **options)
    except DecodeError as error:
        raise ValueError(f"{path}: {error}") from None
'''


def write(folder: Path) -> list[str]:
    """The package, in ``folder``; its files."""
    package = folder / PACKAGE
    package.mkdir()
    texts = {"__init__.py": _INIT}
    for module in (colour, decoding, resizing):
        texts[f"{module.__name__.rsplit('.', 1)[-1]}.py"] = _HEADER + _portable(inspect.getsource(module))
    for name, text in texts.items():
        (package / name).write_text(text, encoding="utf-8")
    return [f"{PACKAGE}/{name}" for name in texts]


def _portable(source: str) -> str:
    source = source.replace("from dalcli.data.pixels import UInt8Array", "from numpy import ndarray as UInt8Array")
    return source.replace("from dalcli.data.", f"from {PACKAGE}.")
