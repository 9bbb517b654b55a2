"""The ``dalcli.yaml`` that ``init`` writes: short, with the keys people change first."""

from __future__ import annotations

import yaml

from dalcli.config.schema import Config

_TEMPLATE = """\
# Settings of this workspace. Every key is optional; `docs/config.md` lists all of them.
# The class list lives in the database (`dalcli status`) and grows with `ingest-labels --allow-new-classes`.
seed: {seed}

data:
{data}
{model}
query:
{query}
evaluation:
  reserve: {reserve:g}          # fixed by `init`
"""


_SIZE = """\
  image_size: auto      # chosen by `init` from the images; or a number, or [height, width]
  resize: stretch       # stretch, crop or pad
"""

_SIZE_OF_FROZEN = """\
  image_size: auto      # what the network's weights were made for, as is all that is done to images; or a number
"""

_WHOLE = """\
model:
  name: {name}            # `init` chose {model}; cnn, resnet18, vgg11 or any torchvision classification model
  # weights: DEFAULT    # pretrained: a torchvision weights name or a .safetensors file

training:
  accuracy_threshold: 0.99
  max_epochs: 200
"""

_FROZEN = """\
model:
  name: {name}
  train: head           # the network stays as its weights are, only the last layer is trained, in seconds; or all
  weights: {weights}
"""

_QUERY = "  strategy: {strategy}  # margin, badge, dynamical, random, ...: see docs/strategies.md\n"
_COLD_START = "  cold_start: {cold_start}    # the first batches, before there is a model\n"


def render(model: str, reserve: float, config: Config) -> str:
    """The text of a new workspace's configuration; ``model`` is what ``init`` chose where ``config`` leaves it open."""
    frozen = config.model.train == "head"
    values = {"name": _plain(config.model.name), "weights": _plain(config.model.weights), "model": model}
    query = _QUERY + _COLD_START if frozen else _QUERY
    return _TEMPLATE.format(
        seed=config.seed,
        data=_SIZE_OF_FROZEN if frozen else _SIZE,
        model=(_FROZEN if frozen else _WHOLE).format(**values),
        query=query.format(strategy=config.query.strategy, cold_start=config.query.cold_start),
        reserve=reserve,
    )


def _plain(value: str | None) -> str:
    """As YAML reads it back; file names may hold anything."""
    return yaml.safe_dump(value, width=10**6, allow_unicode=True).removesuffix("\n...\n").rstrip("\n")
