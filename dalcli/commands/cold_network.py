"""Features for choosing before there is a model, from the pretrained network that training will start from.

They are kept in ``.dalcli/features``, which may be deleted at any time: a second query without a model finds them there.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dalcli.commands.pixels import ReadableImages, row_chunks
from dalcli.commands.session import Session, model_choice
from dalcli.commands.train_plan import model_spec
from dalcli.config.fingerprint import fingerprint
from dalcli.config.seeding import derive_seed, generator
from dalcli.data.identity import digests, sample_id
from dalcli.models import pretrained, zoo
from dalcli.models.head import penultimate
from dalcli.models.preprocess import IMAGENET, to_input
from dalcli.models.spec import ModelSpec
from dalcli.scoring.arrayfile import read_arrays, write_arrays
from dalcli.scoring.columns import as_keys, find_keys
from dalcli.scoring.passes import logits_of
from dalcli.state import classes
from dalcli.training.device import reproducible, resolve_device

FOLDER, FILE = "features", "pretrained.safetensors"
AT_ONCE = 32
FEWEST = 32  # numbers per image

Floats = NDArray[np.float32]


def network_features(session: Session, opened: ReadableImages) -> Floats:
    """Penultimate features (n, d) of all the images, those kept from before included.

    Memory: n × d numbers of 4 bytes; where that is more than half of ``query.memory_limit``, d is reduced to what fits
    by a random projection, which keeps distances but for a few per cent.

    Raises:
        BadInputError: ``model.weights`` or another key of the model's is wrong.
        UnreadableImagesError: some of the images.
    """
    with session.database.read() as connection:
        spec = model_spec(session.config, model_choice(connection, session.config), len(classes.names(connection)))
    ids = digests([image.sample_id for image in opened.images])
    most = max(FEWEST, session.config.query.memory_limit // (2 * 4 * max(len(ids), 1)))
    made_with = _fingerprint(session, spec, most)
    path = session.workspace.state / FOLDER / FILE
    kept = read_arrays(path)
    arrays = kept[0] if kept is not None and kept[1] == {"made_with": made_with} else {}
    places = np.full(len(ids), -1, np.int64)
    if arrays:
        places = find_keys(as_keys(ids), as_keys(arrays["digest"]))
    missing = np.flatnonzero(places < 0)
    if not len(missing):
        found: Floats = arrays["features"][places]
        return found
    computed = _computed(session, spec, opened, missing, most)
    result = np.empty((len(ids), computed.shape[1]), np.float32)
    result[missing] = computed
    if arrays:
        result[places >= 0] = arrays["features"][places[places >= 0]]
    order = np.argsort(as_keys(ids))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, {"digest": ids[order], "features": result[order]}, {"made_with": made_with})
    return result


def _fingerprint(session: Session, spec: ModelSpec, most: int) -> str:
    """Changes when features would."""
    data, weights = session.config.data, str(spec.weights)
    pixels = (*spec.image_size, data.resize, *data.alpha_background)
    file = session.workspace.root / weights
    content = sample_id(file) if pretrained.is_file(weights) and file.is_file() else weights
    # More numbers than any network has make no difference; fewer do.
    return fingerprint(spec.name, spec.stem, content, session.config.seed, min(most, 1 << 16), pixels)


def _computed(session: Session, spec: ModelSpec, opened: ReadableImages, rows: NDArray[np.int64], most: int) -> Floats:
    device = resolve_device(session.config.device)
    model = _network(session, spec).to(device).eval()
    stats = pretrained.pixel_stats(spec) or IMAGENET
    parts: list[Floats] = []
    with (
        reproducible(device, session.config.threads),
        torch.inference_mode(),
        penultimate(model, spec.num_classes) as head,
        session.feedback.task("looking at images", len(rows)) as task,
    ):
        for chunk in row_chunks(len(rows), AT_ONCE):
            pixels = opened.pixels.read(rows[chunk])
            features = head.take(logits_of(model(to_input(pixels, stats, device)))).cpu().numpy()
            parts.append(_projected(features, most, session.config.seed))
            task.advance(len(chunk))
    return np.concatenate(parts)


def _network(session: Session, spec: ModelSpec) -> nn.Module:
    root = session.workspace.root
    zoo.check(spec, root)
    pretrained.check(spec, root)
    model = zoo.build(spec, session.config.seed, root)
    pretrained.load(model, spec, root, downloads=session.workspace.state / "downloads")
    return model


def _projected(features: Floats, most: int, seed: int) -> Floats:
    """(n, min(d, ``most``)): as they are, or projected by random signs."""
    width = features.shape[1]
    if width <= most:
        return features
    signs = generator(derive_seed(seed, "feature projection"), width, most).integers(0, 2, (width, most))
    scaled: Floats = features @ ((2 * signs - 1) / np.sqrt(most)).astype(np.float32)
    return scaled
