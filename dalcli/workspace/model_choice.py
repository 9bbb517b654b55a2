"""Which model and input size suit a pool, the default a newcomer gets; and whether what was configured exists.

Small images are used at their own size by ``cnn``; larger ones are reduced for ``resnet18``, so that a first
``train`` of 100 photos ends within minutes on two processor cores. Imports torch only to ask for models and weights
that are not our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from dalcli.config.schema import Config
from dalcli.models import weights_file
from dalcli.models.spec import LARGE_STEM_FROM, ModelSpec, is_weights_file, resolve_stem
from dalcli.workspace.session import ModelChoice

SMALL = 64
REDUCED = 128
MINIMUM = {"vgg11": 32}
SURELY_THERE = frozenset({"auto", "cnn", "resnet18", "vgg11"})  # torch need not be imported to know these


def choose(sizes: Sequence[tuple[int, int]], config: Config) -> ModelChoice:
    """Model and input size for images of these (height, width); the configuration wins where it says something."""
    height = round(median(h for h, _ in sizes)) if sizes else 32
    width = round(median(w for _, w in sizes)) if sizes else 32
    small = max(height, width) <= SMALL
    name = config.model.name
    if name == "auto":
        small_input = small if config.data.image_size == "auto" else max(config.data.image_size) <= SMALL
        name = "cnn" if small_input else "resnet18"
    if config.data.image_size != "auto":
        return ModelChoice(name, config.data.image_size)
    least = MINIMUM.get(name, 1)
    if small:
        return ModelChoice(name, (max(height, least), max(width, least)))
    if name in {"cnn", "vgg11"}:
        return ModelChoice(name, (SMALL, SMALL))
    return ModelChoice(name, (REDUCED, REDUCED) if name == "resnet18" else (224, 224))


def configured(config: Config) -> ModelChoice:
    """What is known before any image is: ``auto`` stays, and an open size is taken to be one that suits weights."""
    size = config.data.image_size
    return ModelChoice(config.model.name, (LARGE_STEM_FROM, LARGE_STEM_FROM) if size == "auto" else size)


def check_model(choice: ModelChoice, config: Config, folder: Path) -> None:
    """Refuse a model or pretrained weights that do not exist; ``folder`` is the workspace.

    Weights by name are left for later while it is open which model ``auto`` stands for.

    Raises:
        BadInputError: key ``model.name`` or ``model.weights``.
    """
    if choice.name not in SURELY_THERE:
        from dalcli.models import zoo

        zoo.check_name(choice.name, folder)
    weights = config.model.weights
    if weights is not None and is_weights_file(weights):
        return weights_file.require(folder / weights)
    if weights is None or choice.name == "auto":
        return None
    from dalcli.models import pretrained

    stem = resolve_stem(choice.image_size, config.model.stem)
    return pretrained.check(ModelSpec(choice.name, 2, choice.image_size, stem, weights=weights), folder)
