"""The ``dalcli.yaml`` that ``init`` writes: short, with the keys people change first."""

from __future__ import annotations

from dalcli.config.schema import Config

_TEMPLATE = """\
# Settings of this workspace. Every key is optional; `docs/config.md` lists all of them.
# The class list lives in the database (`dalcli status`) and grows with `ingest-labels --allow-new-classes`.
seed: {seed}

data:
  image_size: auto      # chosen by `init` from the images; or a number, or [height, width]
  resize: stretch       # stretch, crop or pad

model:
  name: auto            # `init` chose {model}; cnn, resnet18, vgg11 or any torchvision classification model
  # weights: DEFAULT    # pretrained: a torchvision weights name or a .safetensors file

training:
  accuracy_threshold: 0.99
  max_epochs: 200

query:
  strategy: diverse-margin  # dynamical, margin, badge, random, ...: see docs/strategies.md

evaluation:
  reserve: {reserve:g}          # fixed by `init`
"""


def render(model: str, reserve: float, config: Config) -> str:
    """The text of a new workspace's configuration."""
    return _TEMPLATE.format(model=model, reserve=reserve, seed=config.seed)
