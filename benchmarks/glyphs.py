"""A labeled data set of glyphs, rendered from the fonts that are on this machine: as large, redundant, imbalanced and
noisy as one likes, and the same again for the same seed, fonts and Pillow.

    python benchmarks/glyphs.py FOLDER [--classes letters] [--per-class 200] [--redundancy 0.5] [--imbalance 20]

makes FOLDER/CLASS/*.png, a folder per class, for ``source: {kind: folder, path: FOLDER}`` of ``dalcli simulate``.
Fonts are found in the system's font folders and inside installed Python packages (matplotlib ships DejaVu, STIX and
Computer Modern); on Debian ``apt-get install fonts-recommended`` brings some hundred faces, and any package called
``fonts-*`` more. ``--list-fonts`` shows what would be used.

What makes learning harder, one by one: few pixels (--size), rotation, shear, shift, noise, background clutter. What
makes choosing matter: --redundancy (that part of a class are near-copies of its other images) and --imbalance.
"""

from __future__ import annotations

import argparse
import site
import string
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from dalcli.config.hashing import generator

SETS = {
    "digits": string.digits,
    "upper": string.ascii_uppercase,
    "lower": string.ascii_lowercase,
    "letters": string.ascii_uppercase,  # 26 classes: the letters that differ in every face
    "all": string.digits + string.ascii_uppercase + string.ascii_lowercase,
}
SYSTEM_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "C:/Windows/Fonts")
EXTENSIONS = {".ttf", ".otf", ".pfb"}
# Faces whose letters are no letters: mathematics, icons, symbols.
NO_LETTERS = ("cmsy", "cmex", "cmmi", "stixsiz", "stixnonuni", "symbol", "dingbat", "emoji", "icon", "awesome", "music")
OVERSAMPLED = 3  # times: glyphs are drawn large and reduced, which places them between pixels
MISSING = "\U0010ffff"  # no face has it: what is drawn instead is the sign for "missing"


@dataclass(frozen=True)
class Look:
    """One way to draw a glyph: everything but its noise."""

    face: Path
    rotation: float
    shear: float
    scale: float
    shift: tuple[float, float]
    ink: float
    paper: float


def main() -> None:
    options = _arguments()
    symbols = SETS.get(options.classes, options.classes)
    faces = usable_faces(options.fonts or default_folders(), symbols, options.max_fonts)
    if options.list_fonts:
        print(*faces, sep="\n")
        return
    if options.folder is None or not faces:
        sys.exit("name a folder to write to" if faces else "no usable font found: install some, or name --fonts FOLDER")
    counts = class_counts(len(symbols), options.per_class, options.imbalance)
    for symbol, count in zip(symbols, counts, strict=True):
        folder = options.folder / class_name(symbol)
        folder.mkdir(parents=True, exist_ok=True)
        for index, pixels in enumerate(images(symbol, count, faces, options)):
            Image.fromarray(pixels).save(folder / f"{index:05d}.png")
    print(f"{sum(counts)} images of {len(symbols)} classes from {len(faces)} faces in {options.folder}")


def class_name(symbol: str) -> str:
    """A folder name that is different for ``a`` and ``A`` on every file system."""
    kind = "digit" if symbol.isdigit() else "upper" if symbol.isupper() else "lower" if symbol.islower() else "sign"
    return f"{kind}-{symbol}" if symbol.isalnum() else f"{kind}-{ord(symbol):x}"


def class_counts(classes: int, per_class: int, imbalance: float) -> list[int]:
    """Images by class: the first has ``per_class``, the last that over ``imbalance``, exponentially between."""
    return [max(1, round(per_class * imbalance ** (-k / max(classes - 1, 1)))) for k in range(classes)]


def default_folders() -> list[Path]:
    """Where fonts usually are, those of Python packages included."""
    packages = [sysconfig.get_paths()["purelib"], *site.getsitepackages()]
    return [path for path in map(Path, dict.fromkeys([*SYSTEM_FOLDERS, *packages])) if path.is_dir()]


def usable_faces(folders: Sequence[Path], symbols: str, at_most: int | None) -> list[Path]:
    """One file per face (the same file name counts once) that has all ``symbols``, in the order of names."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
            if path.suffix.lower() in EXTENSIONS and not any(word in path.name.lower() for word in NO_LETTERS):
                found.setdefault(path.name, path)
    faces = [path for _, path in sorted(found.items()) if has_all(path, symbols)]
    return faces[:at_most]


def has_all(face: Path, symbols: str) -> bool:
    """Whether every symbol is drawn, and as something else than the sign for a missing one."""
    try:
        missing = stamp(face, MISSING, 32)
        drawn = [stamp(face, symbol, 32) for symbol in symbols]
    except (OSError, ValueError):
        return False
    different = {image.tobytes() for image in drawn}
    return (
        all(image.any() and not np.array_equal(image, missing) for image in drawn) and len(different) > len(drawn) / 2
    )


@lru_cache(maxsize=4096)
def stamp(face: Path, symbol: str, height: int) -> NDArray[np.uint8]:
    """``symbol`` in the middle of a square of ``2 * height`` pixels, white on black."""
    font = ImageFont.truetype(str(face), height)
    image = Image.new("L", (2 * height, 2 * height))
    left, top, right, bottom = font.getbbox(symbol)
    ImageDraw.Draw(image).text((height - (left + right) / 2, height - (top + bottom) / 2), symbol, 255, font)
    return np.asarray(image)


def images(symbol: str, count: int, faces: Sequence[Path], options: argparse.Namespace) -> Iterator[NDArray[np.uint8]]:
    """``count`` images of a symbol; every one depends on (seed, symbol, its number) alone."""
    originals = max(1, round(count * (1 - options.redundancy)))
    for index in range(count):
        copied = index if index < originals else int(generator(options.seed, symbol, "copy", index).integers(originals))
        drawn = look(generator(options.seed, symbol, "look", copied), faces, options)
        yield render(symbol, drawn, options.size, options.noise, generator(options.seed, symbol, "noise", index))


def look(random: np.random.Generator, faces: Sequence[Path], options: argparse.Namespace) -> Look:
    """A random face, place and shade."""
    return Look(
        face=faces[int(random.integers(len(faces)))],
        rotation=float(random.uniform(-options.rotation, options.rotation)),
        shear=float(random.uniform(-options.shear, options.shear)),
        scale=float(random.uniform(0.7, 1.0)),
        shift=(
            float(random.uniform(-options.shift, options.shift)),
            float(random.uniform(-options.shift, options.shift)),
        ),
        ink=float(random.uniform(0.65, 1.0)),
        paper=float(random.uniform(0.0, 0.3)),
    )


def render(symbol: str, drawn: Look, size: int, noise: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """(size, size) uint8: the glyph, then Gaussian noise of standard deviation ``noise`` (grey goes from 0 to 1)."""
    large = size * OVERSAMPLED
    glyph = Image.fromarray(stamp(drawn.face, symbol, max(8, round(drawn.scale * large))))
    glyph = glyph.rotate(drawn.rotation, Image.Resampling.BILINEAR)
    middle, half = glyph.width / 2, large / 2
    x, y = middle - half - drawn.shift[0] * size * OVERSAMPLED, middle - half - drawn.shift[1] * size * OVERSAMPLED
    sheared = (1, drawn.shear, x - drawn.shear * half, 0, 1, y)
    glyph = glyph.transform((large, large), Image.Transform.AFFINE, sheared, Image.Resampling.BILINEAR)
    mask = np.asarray(glyph.resize((size, size), Image.Resampling.BOX), dtype=np.float64) / 255
    grey = drawn.paper + (drawn.ink - drawn.paper) * mask + noise * random.standard_normal((size, size))
    return np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--classes", default="letters", help=f"{', '.join(SETS)}, or the characters themselves")
    parser.add_argument("--per-class", type=int, default=200)
    parser.add_argument("--size", type=int, default=20, help="height and width in pixels")
    parser.add_argument("--redundancy", type=float, default=0.0, help="part of each class that copies another look")
    parser.add_argument("--imbalance", type=float, default=1.0, help="images of the first class : of the last")
    parser.add_argument("--rotation", type=float, default=12.0, help="at most so many degrees")
    parser.add_argument("--shear", type=float, default=0.15)
    parser.add_argument("--shift", type=float, default=0.08, help="at most this part of the size")
    parser.add_argument("--noise", type=float, default=0.08, help="standard deviation of the noise; grey goes 0 to 1")
    parser.add_argument("--fonts", type=Path, nargs="*", help="folders or files; default: what is installed")
    parser.add_argument("--max-fonts", type=int)
    parser.add_argument("--list-fonts", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
