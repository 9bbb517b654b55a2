"""Features for choosing before there is a model, from the pretrained network that training will start from.

They are kept in ``.dalcli/features``, which may be deleted at any time: another query without a model reads them there.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from dalcli.config.hashing import fingerprint
from dalcli.data.identity import digests, sample_id
from dalcli.data.pixel_features import projected
from dalcli.data.pixels import Float32Array, IntArray
from dalcli.gradients.passes import logits_of
from dalcli.models import pretrained, zoo
from dalcli.models.head import penultimate
from dalcli.models.preprocess import IMAGENET, to_input
from dalcli.models.spec import ModelSpec, is_weights_file
from dalcli.runtime.device import reproducible, resolve_device
from dalcli.scores.arrayfile import read_arrays, write_arrays
from dalcli.scores.columns import Array, as_keys, find_keys
from dalcli.state import classes
from dalcli.training.plan import model_spec
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session, model_choice

FOLDER, FILE = "features", "pretrained.safetensors"
AT_ONCE = 32
FEWEST = 32  # numbers per image


def network_features(session: Session, opened: PoolImages) -> tuple[IntArray, Float32Array]:
    """The rows of the images that can be read, and their penultimate features (n, d), those kept from before included.

    Memory: four times n × d numbers of 4 bytes; where that is more than ``query.memory_limit``, d is reduced to what
    fits by a random projection, which keeps distances but for a few per cent.

    Raises:
        BadInputError: ``model.weights`` or another key of the model's is wrong.
    """
    with session.database.read() as connection:
        spec = model_spec(session.config, model_choice(connection, session.config), len(classes.names(connection)))
    ids = digests([image.sample_id for image in opened.images])
    most = max(FEWEST, session.config.query.memory_limit // (4 * 4 * max(len(ids), 1)))
    made_with = _fingerprint(session, spec)
    path = session.workspace.state / FOLDER / FILE
    arrays = _kept(path, made_with, most)
    places = find_keys(as_keys(ids), as_keys(arrays["digest"])) if arrays else np.full(len(ids), -1, np.int64)
    missing = np.flatnonzero(places < 0)
    if not len(missing):
        found: Float32Array = arrays["features"][places] if arrays else np.empty((0, 1), np.float32)
        return opened.rows, found
    computed, width = _computed(session, spec, opened, missing, most)
    rows = opened.rows
    fresh = places[rows] < 0
    result = np.empty((len(rows), computed.shape[1]), np.float32)
    result[fresh] = computed
    if arrays:
        result[~fresh] = arrays["features"][places[rows[~fresh]]]
    order = np.argsort(as_keys(ids[rows]))
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"made_with": made_with, "width": width}
    write_arrays(path, {"digest": ids[rows][order], "features": result[order]}, metadata)
    return rows, result


def _kept(path: Path, made_with: str, most: int) -> dict[str, Array]:
    """What is kept, if it would be made alike today; ``width`` is how many numbers the network gives."""
    kept = read_arrays(path)
    if kept is None:
        return {}
    arrays, metadata = kept
    alike = metadata["made_with"] == made_with and arrays["features"].shape[1] == min(metadata["width"], most)
    return arrays if alike else {}


def _fingerprint(session: Session, spec: ModelSpec) -> str:
    """Changes when features would."""
    data, weights = session.config.data, str(spec.weights)
    pixels = (*spec.image_size, data.resize, *data.alpha_background)
    file = session.workspace.root / weights
    content = sample_id(file) if is_weights_file(weights) and file.is_file() else weights
    return fingerprint(spec.name, spec.stem, content, session.config.seed, pixels)


def _computed(
    session: Session, spec: ModelSpec, opened: PoolImages, rows: IntArray, most: int
) -> tuple[Float32Array, int]:
    """Features (n, d) of those of ``rows`` that can be read, and how many numbers the network gives."""
    device = resolve_device(session.config.device)
    model = _network(session, spec).to(device).eval()
    stats = pretrained.pixel_stats(spec) or IMAGENET
    parts: list[Float32Array] = []
    width = 1
    with (
        reproducible(device, session.config.threads),
        torch.inference_mode(),
        penultimate(model, spec.num_classes) as head,
        session.feedback.task("looking at images", len(rows)) as task,
    ):
        for block in opened.blocks(AT_ONCE, rows):
            features = head.take(logits_of(model(to_input(block.inputs, stats, device)))).cpu().numpy()
            width = features.shape[1]
            parts.append(projected(features, most, session.config.seed))
            task.advance(len(block))
    return np.concatenate(parts) if parts else np.empty((0, min(width, most)), np.float32), width


def _network(session: Session, spec: ModelSpec) -> nn.Module:
    root = session.workspace.root
    zoo.check(spec, root)
    pretrained.check(spec, root)
    model = zoo.build(spec, session.config.seed, root)
    pretrained.load(model, spec, root, downloads=session.workspace.state / "downloads")
    return model
