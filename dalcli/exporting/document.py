"""``model.json`` of an export: what the network is, what it wants and what it says, for programs. Never imports torch.

``facts`` are known before anything is written; they alone decide whether an export that is there is the one asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dalcli import __version__
from dalcli.config.hashing import fingerprint
from dalcli.config.schema import Config
from dalcli.exporting.outputs import Outputs
from dalcli.exporting.place import DOCUMENT, sha256
from dalcli.exporting.result import Quantised, WrittenForm
from dalcli.state.versions import ModelVersion

if TYPE_CHECKING:
    from dalcli.exporting.subject import Subject

FORMAT = 1


def facts(
    model: ModelVersion, checkpoint: str, config: Config, outputs: Outputs, temperature: float | None, asked: list[str]
) -> dict[str, Any]:
    """What is exported, without reading the network; ``checkpoint`` is the hash of its file.

    ``temperature`` None: it was not measured, and is 1; ``asked``: the forms that were named.
    """
    return {
        "format": FORMAT,
        "dalcli": __version__,
        "asked": asked,
        "model": model.version,
        "labels": model.labels,
        "classes": list(outputs.classes),
        "outputs": None if outputs.plain else [list(part) for part in outputs.parts],
        "unknown_classes": list(outputs.unknown),
        "temperature": 1.0 if temperature is None else temperature,
        "calibrated": temperature is not None,
        "hashes": {
            "checkpoint": checkpoint,
            "labels": model.labels_digest,
            "configuration": model.fingerprint,
            "decoding": fingerprint(config.data.resize, config.data.alpha_background),
        },
    }


def described(known: Mapping[str, Any], subject: Subject, config: Config) -> dict[str, Any]:
    """The same with what the network's own files tell."""
    import torch

    recipe, architecture, spec = subject.recipe, subject.architecture, subject.meta.spec
    record = spec.frozen or spec.origin
    height, width = recipe.image_size
    return {
        **known,
        "network": {
            "name": (record or spec).name,
            "library": None if architecture is None else architecture.library,
            "architecture": None if architecture is None else architecture.name,
            "weights": None if record is None else record.weights.replace("\\", "/").rsplit("/", 1)[-1],
            "fingerprint": None if record is None else record.fingerprint,
        },
        "input": {"name": "images", "shape": ["batch", 3, height, width], "type": "float32", "colour": "RGB"},
        "preprocessing": {
            "image_size": [height, width],
            "resize": recipe.resize,
            "crop_fraction": recipe.crop_fraction,
            "interpolation": recipe.interpolation,
            "antialias": True,
            "orientation": "EXIF",
            "alpha_background": list(config.data.alpha_background),
            "scale": 1 / 255,
            "mean": list(subject.stats.mean),
            "std": list(subject.stats.std),
        },
        "torch": torch.__version__,
        "trained_with_torch": subject.meta.torch_version,
    }


def measured(
    document: Mapping[str, Any], folder: Path, forms: tuple[WrittenForm, ...], int8: Quantised | None
) -> dict[str, Any]:
    """The same with every form's difference, what eight bits cost, and the hashes of all files in ``folder``."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != DOCUMENT)
    listed = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in files
    }
    return {**document, "forms": [asdict(form) for form in forms], "int8": int8 and asdict(int8), "files": listed}


def write(folder: Path, document: Mapping[str, Any]) -> None:
    """Put it into the folder that is being built."""
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    (folder / DOCUMENT).write_text(text, encoding="utf-8")
