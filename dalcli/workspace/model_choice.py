"""Which model and input size suit a pool, the default a newcomer gets; and whether what was configured exists.

Small images are used at their own size by ``cnn``. Photographs are seen by a frozen, pretrained network, if its weights
can be had: a ``train`` takes seconds then, and a third of the labels. Else they are reduced for ``resnet18``, so that a
first ``train`` of 100 of them ends within minutes on two processor cores. Imports torch only to ask for models and
weights that are not our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from dalcli.config.schema import Config
from dalcli.models import weights_file
from dalcli.models.spec import LARGE_STEM_FROM, ModelSpec, is_user_model, is_weights_file, resolve_stem
from dalcli.workspace.session import ModelChoice

PHOTOGRAPHS = "efficientnet_b0"
"""The frozen network for photographs: docs/frozen.md says why this one."""
PHOTOGRAPH_WEIGHTS = "IMAGENET1K_V1"
DEFAULT = "DEFAULT"
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


def asked_for(config: Config, name: str | None, weights: str | None) -> Config:
    """``config`` with the model that the command line of ``init`` names.

    With weights, or a network that is there for its weights, a head is trained on it frozen.
    """
    if name is None and weights is None:
        return config
    name = name or PHOTOGRAPHS
    own = name in SURELY_THERE or is_user_model(name)
    asked = (
        {"name": name} if weights is None and own else {"name": name, "train": "head", "weights": weights or DEFAULT}
    )
    return Config.model_validate({**config.model_dump(exclude_unset=True), "model": asked})


def wants_photograph_network(choice: ModelChoice, config: Config) -> bool:
    """Whether it was left open what looks at images that are not small."""
    return choice.name == "resnet18" and not config.model.model_fields_set & {"name", "train", "weights", "stem"}


def photograph_config(config: Config) -> Config:
    """``config`` with the frozen network that photographs are seen by, where nothing else is asked for."""
    return asked_for(config, PHOTOGRAPHS, PHOTOGRAPH_WEIGHTS)


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
    if choice.name not in SURELY_THERE and config.model.train == "all":
        from dalcli.models import zoo

        zoo.check_name(choice.name, folder)
    weights = config.model.weights
    if config.model.train == "head":
        from dalcli.models import networks

        return networks.check(choice.name, weights or DEFAULT, folder)
    if weights is not None and is_weights_file(weights):
        return weights_file.require(folder / weights)
    if weights is None or choice.name == "auto":
        return None
    from dalcli.models import pretrained

    stem = resolve_stem(choice.image_size, config.model.stem)
    return pretrained.check(ModelSpec(choice.name, 2, choice.image_size, stem, weights=weights), folder)
