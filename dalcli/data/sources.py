"""What users name on the command line, turned into a list of image files.

A folder (searched through), a single image, or a manifest: a table with a path per row and optionally a label and
a split. Nothing is opened here but manifests; whether the files are images is for :mod:`dalcli.data.scan` to see.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dalcli.config.words import suggestion
from dalcli.data.decoding import image_extensions, is_image_file
from dalcli.data.folders import search_folder
from dalcli.data.found import FoundImage, FoundImages
from dalcli.data.manifest import read_manifest
from dalcli.errors import BadInputError

MANIFEST_EXTENSIONS = frozenset({".csv", ".tsv", ".txt"})


def find_images(source: Path, *, labels_from_folders: bool = False) -> FoundImages:
    """List the images that ``source`` names: a folder, a manifest or one image file.

    Args:
        source: what the user named.
        labels_from_folders: in a folder, the first folder below it is the class of everything inside.

    Raises:
        BadInputError: the source does not exist or cannot be read; a bad manifest (all bad rows at once).
    """
    if source.is_dir():
        return search_folder(source, labels_from_folders=labels_from_folders)
    if not source.exists():
        raise _does_not_exist(source)
    if _is_single_image(source):
        return FoundImages([FoundImage(source)])
    return FoundImages(read_manifest(source))


def read_test_set(source: Path) -> FoundImages:
    """List the images of a test set: a folder per class, a manifest, or a labeled table; all serve evaluation."""
    found = find_images(source, labels_from_folders=True)
    return FoundImages([replace(image, split="evaluation") for image in found.images], found.ignored)


def _is_single_image(source: Path) -> bool:
    extension = source.suffix.lower()
    if extension in MANIFEST_EXTENSIONS or not source.is_file():
        return False
    return extension in image_extensions() or is_image_file(source)


def _does_not_exist(source: Path) -> BadInputError:
    if source.is_symlink():
        return BadInputError(f"{source} is a symbolic link to something that does not exist.")
    try:
        siblings = [path.name for path in source.parent.iterdir()]
    except OSError:
        siblings = []
    return BadInputError(f"{source}: no such file or folder{suggestion(source.name, siblings)}")
