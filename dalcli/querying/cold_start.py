"""Choosing before there is a model: which strategies can, and the features that they read."""

from __future__ import annotations

import numpy as np

from dalcli.config.hashing import derive_seed
from dalcli.config.querying import QueryConfig
from dalcli.data.identity import digests, tie_keys
from dalcli.data.pixel_features import COMPONENTS, SAMPLE, PixelProjection, descriptions, images_at_once, projected
from dalcli.data.pixels import Float32Array, IntArray
from dalcli.errors import BadInputError
from dalcli.state import catalog
from dalcli.strategies import registry
from dalcli.strategies.base import Strategy
from dalcli.strategies.memory_table import MemoryTable
from dalcli.workspace.images import FEATURES_AT_ONCE, PoolImages
from dalcli.workspace.network import frozen_network
from dalcli.workspace.session import Session, model_choice

COLUMN = "features"
FEWEST = 8  # components
FEWEST_OF_NETWORK = 32  # numbers of a projection


def strategy(name: str, query: QueryConfig, key: str = "query.cold_start") -> Strategy:
    """The strategy called ``name``, which must work without a model; ``key`` is where the user wrote the name.

    Raises:
        BadInputError: there is no such strategy, or it needs a model.
    """
    found = registry.create(name, query, key)
    lacking = sorted(set(found.columns) - {COLUMN})
    if lacking:
        able = [each for each in registry.STRATEGIES if not set(registry.create(each, query).columns) - {COLUMN}]
        raise BadInputError(
            f"{key}: {name} chooses by what a model says ({', '.join(lacking)}), and there is no model yet",
            f"choose one of: {', '.join(able)}",
        )
    return found


def features(session: Session) -> MemoryTable:
    """Features of every readable training image; images found unreadable are set aside.

    They come from the frozen network, from the one that ``model.weights`` names, or else from pixels. Memory: the table
    and a copy, at most ``query.memory_limit`` down to a few numbers per image.

    Raises:
        DalcliError: most of the images are missing.
        BadInputError: the network or ``model.weights`` is wrong.
    """
    frozen = frozen_network(session)
    with session.database.read() as connection:
        images = catalog.images(connection, "training")
        size = model_choice(connection, session.config).image_size
    with PoolImages.open(session, images, size if frozen is None else frozen) as opened:
        if frozen is not None:
            rows, found = _by_frozen_network(session, opened)
        elif session.config.model.weights:
            rows, found = _by_network(session, opened)
        else:
            rows, found = _by_pixels(session, opened)
    return MemoryTable(digests([opened.images[row].sample_id for row in rows]), {COLUMN: found})


def _by_frozen_network(session: Session, opened: PoolImages) -> tuple[IntArray, Float32Array]:
    """The rows that can be read and their features, which later rounds read again; centred, as a head sees them."""
    most = max(FEWEST_OF_NETWORK, session.config.query.memory_limit // (2 * 4 * max(len(opened), 1)))
    rows: list[IntArray] = []
    parts: list[Float32Array] = []
    with session.feedback.task("looking at images", len(opened)) as task:
        for block in opened.blocks(FEATURES_AT_ONCE):
            rows.append(block.rows)
            parts.append(projected(block.inputs.astype(np.float32), most, session.config.seed))
            task.advance(len(block))
    if not parts:  # nothing can be read, or nothing is there
        return opened.rows, np.empty((0, 1), np.float32)
    found: Float32Array = np.concatenate(parts)
    found -= found.mean(axis=0, dtype=np.float64).astype(np.float32)
    return np.concatenate(rows), found


def _by_network(session: Session, opened: PoolImages) -> tuple[IntArray, Float32Array]:
    from dalcli.querying.cold_network import network_features  # the only part that needs torch

    return network_features(session, opened)


def _by_pixels(session: Session, opened: PoolImages) -> tuple[IntArray, Float32Array]:
    """The rows that can be read, and what their images look like."""
    ids, step = digests([image.sample_id for image in opened.images]), images_at_once(opened.source.shape)
    keys = tie_keys(derive_seed(session.config.seed, "pixel features"), ids)
    sample = np.sort(np.argsort(keys, kind="stable")[:SAMPLE])
    looked_at = [descriptions(block.inputs) for block in opened.blocks(step, sample)]
    if not looked_at:  # nothing can be read, or nothing is there
        return opened.rows, np.empty((len(opened.rows), 1), np.float32)
    most = _components(len(ids), session.config.query.memory_limit)
    projection = PixelProjection.of(np.concatenate(looked_at), most)
    rows: list[IntArray] = []
    parts: list[Float32Array] = []
    with session.feedback.task("looking at images", len(ids)) as task:
        for block in opened.blocks(step):
            rows.append(block.rows)
            parts.append(projection.features(descriptions(block.inputs)))
            task.advance(len(block))
    return np.concatenate(rows), np.concatenate(parts)


def _components(images: int, memory_limit: int) -> int:
    """As many as take half of the memory there is (a copy takes the other half)."""
    return max(FEWEST, min(COMPONENTS, memory_limit // (2 * 4 * max(images, 1)) - 1))
