"""From a frozen network to one that is trained as a whole, and back again."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from dalcli.feedback import SilentFeedback
from dalcli.models import networks
from dalcli.models.checkpoint import load_model
from dalcli.models.frozen_head import FrozenHead, put_head
from dalcli.models.meta import read_meta
from dalcli.models.preprocess import PixelStats, to_input
from dalcli.state import catalog
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import open_session
from tests import processes
from tests.frozen_pools import DIMENSION, make_frozen_pool, write_settings
from tests.processes import EveryEpoch, SignalAtCall
from tests.small_pools import SmallPool, copied, same_weights

TRAINING = {"max_epochs": 3, "batch_size": 4, "learning_rate": 0.01, "accuracy_threshold": 1.0}


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = make_frozen_pool(tmp_path_factory.mktemp("thawed") / "w", training=TRAINING)
    pool.label(pool.pool()[:15])
    pool.ok("train")
    return pool


@pytest.fixture
def trained(_trained: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_trained, tmp_path / "w")


def test_the_whole_network_begins_with_what_the_head_says(trained: SmallPool) -> None:
    meta = read_meta(trained.version() / "meta.json")
    record = meta.spec.frozen
    assert record is not None
    head = FrozenHead(DIMENSION, 3)
    load_model(trained.version() / "model.safetensors", head)
    folder = trained.root / ".dalcli" / "networks"
    frozen = networks.read(folder, record, trained.root)
    whole = networks.whole(record, networks.stored(folder, record), 5, 0, trained.root).eval()
    assert put_head(whole, head, 5)
    with open_session(trained.root, SilentFeedback()) as session:
        with session.database.read() as connection:
            pool = catalog.images(connection, "training")
        with PoolImages.open(session, pool, record.recipe) as images:
            pixels = np.concatenate([block.inputs for block in images.blocks(8)])
    inputs = to_input(pixels, PixelStats(record.recipe.mean, record.recipe.std), torch.device("cpu"))
    with torch.no_grad():
        logits, expected = whole(inputs), head(frozen.features(inputs))
    torch.testing.assert_close(logits[:, :3], expected, rtol=1e-4, atol=1e-4)
    assert not logits[:, 3:].any()  # new classes


def test_all_of_it_is_trained_from_the_head_on(trained: SmallPool) -> None:
    outcome = trained.ok("train", "--all")
    assert "starts from the frozen network tinynet:network and the head of m-0001" in outcome.err
    meta = trained.meta("m-0002")
    assert meta["spec"]["frozen"] is None
    assert meta["spec"]["origin"]["name"] == "tinynet:network"
    assert meta["parent"] == "m-0001"
    assert meta["epochs"] >= 1
    assert {"0.weight", "4.weight"} <= trained.weights("m-0002").keys()
    assert "up to date" in trained.ok("train", "--all").err
    trained.ok("score", "--full")
    assert {"features", "grad_sq_norm"} <= next(iter(trained.scores("m-0002").values())).keys()
    trained.label(trained.pool("unlabeled", "evaluation"))
    trained.ok("evaluate")


def test_back_again_the_head_stands_on_the_frozen_network_as_it_was(trained: SmallPool) -> None:
    trained.ok("train", "--all")
    outcome = trained.ok("train")
    assert "the frozen network as it was before" in outcome.err
    assert same_weights(trained.weights("m-0003"), trained.weights("m-0001"))
    trained.ok("score")


def test_the_key_does_as_the_option(trained: SmallPool, tmp_path: Path) -> None:
    other = copied(trained, tmp_path / "other")
    trained.ok("train", "--all")
    write_settings(other, training=TRAINING, model={"train": "all"})
    other.ok("train")
    assert same_weights(trained.weights("m-0002"), other.weights("m-0002"))
    rows = other.pool("unlabeled")[:3]
    other.label(rows, "violet", "--allow-new-classes")
    other.ok("train")
    assert other.weights("m-0003")["4.weight"].shape == (4, DIMENSION)
    assert other.meta("m-0003")["parent"] == "m-0002"


def test_a_killed_training_of_all_ends_in_the_same_weights(trained: SmallPool, tmp_path: Path) -> None:
    other = copied(trained, tmp_path / "other")
    trained.ok("train", "--all")
    patch = SignalAtCall("dalcli.training.loop:save_run", 2)
    outcome = processes.run(other, ["train", "--all"], EveryEpoch(), patch)
    assert outcome.code == -signal.SIGKILL
    other.ok("train", "--all")
    assert same_weights(trained.weights("m-0002"), other.weights("m-0002"))
