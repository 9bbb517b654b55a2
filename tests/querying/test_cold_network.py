"""The first batch by features of the pretrained network that training will start from."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dalcli.config.hashing import derive_seed
from dalcli.data.identity import digests
from dalcli.data.pixel_features import projected
from dalcli.feedback import SilentFeedback
from dalcli.models import zoo
from dalcli.models.preprocess import IMAGENET
from dalcli.models.spec import ModelSpec
from dalcli.querying import cold_network, cold_start
from dalcli.scores.samples import SampleSet
from dalcli.state import catalog
from dalcli.strategies.base import Request
from dalcli.strategies.typiclust import typiclust
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session, open_session
from tests.small_pools import SmallPool, draw, make_pool

COUNT = 24


@pytest.fixture(scope="module")
def _pool(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    root = tmp_path_factory.mktemp("cold") / "w"
    root.mkdir()
    network = zoo.build(ModelSpec("cnn", 7, (8, 8)), seed=99)  # seven classes: its head does not fit
    save_file(network.state_dict(), root / "w.safetensors")
    settings = {"model": {"name": "cnn", "weights": "w.safetensors"}, "query": {"cold_start": "typiclust"}}
    return make_pool(root, COUNT, evaluation={"reserve": 0}, **settings)


@pytest.fixture
def pool(_pool: SmallPool, tmp_path: Path) -> SmallPool:
    return SmallPool(Path(shutil.copytree(_pool.root, tmp_path / "w")))


def expected(session: Session, seed: int = 99) -> tuple[list[str], np.ndarray]:
    """Sample ids and pooled activations of the last convolution, one image at a time, in float64."""
    network = zoo.build(ModelSpec("cnn", 7, (8, 8)), seed).double().eval()
    with session.database.read() as connection:
        images = catalog.images(connection, "training")
    pixels = PoolImages.peek(session, images, (8, 8)).read(np.arange(len(images)))
    scaled = (pixels / 255.0 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    with torch.no_grad():
        body = torch.nn.Sequential(*list(network.children())[:-2])
        found = [body(torch.as_tensor(image).permute(2, 0, 1)[None]).numpy()[0] for image in scaled]
    return [image.sample_id for image in images], np.stack(found)


def test_features_are_what_the_pretrained_head_would_read(pool: SmallPool) -> None:
    with open_session(pool.root, SilentFeedback()) as session:
        ids, features = expected(session)
        found = cold_start.features(session).lookup(digests(ids), ["features"])["features"]
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-6)


def test_the_batch_is_the_strategys_choice_among_them(pool: SmallPool) -> None:
    rows = pool.ok("query", "--budget", "5").out.splitlines()[1:]
    with open_session(pool.root, SilentFeedback()) as session:
        table = cold_start.features(session)
        eligible = SampleSet(np.concatenate([block.digests for block in table.blocks([])]))
        asked = Request(5, eligible, derive_seed(session.config.seed, "query", "b-0001"), table)
    assert ["s-" + row.tobytes().hex() for row in typiclust().select(asked).digests] == [r.split(",")[0] for r in rows]


def test_they_are_kept_and_made_for_what_is_new_alone(pool: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pool.ok("query", "--budget", "3").out
    computed: list[int] = []
    original = cold_network._computed

    def counted(*arguments: object) -> object:
        computed.append(len(arguments[3]))  # type: ignore[arg-type]
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(cold_network, "_computed", counted)
    assert pool.ok("query", "--budget", "3").out == first
    pool.ok("query", "--new", "--budget", "3")
    assert computed == []
    draw(pool.root / "photos" / "blue-99.png", "blue", 900)
    pool.ok("pool", "add", str(pool.root / "photos"))
    pool.ok("query", "--new", "--budget", "3")
    assert computed == [1]
    with open_session(pool.root, SilentFeedback()) as session:
        ids, features = expected(session)
        found = cold_start.features(session).lookup(digests(ids), ["features"])["features"]
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-6)
    shutil.rmtree(pool.root / ".dalcli" / "features")
    pool.ok("query", "--new", "--budget", "3")
    assert computed == [1, COUNT + 1]


def test_other_weights_make_other_features(pool: SmallPool) -> None:
    pool.ok("query", "--budget", "3")
    save_file(zoo.build(ModelSpec("cnn", 7, (8, 8)), seed=5).state_dict(), pool.root / "w.safetensors")
    with open_session(pool.root, SilentFeedback()) as session:
        ids, features = expected(session, seed=5)
        found = cold_start.features(session).lookup(digests(ids), ["features"])["features"]
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-6)


def test_a_damaged_file_is_made_again(pool: SmallPool) -> None:
    pool.ok("query", "--budget", "3")
    path = pool.root / ".dalcli" / "features" / cold_network.FILE
    before = path.read_bytes()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    pool.ok("query", "--new", "--budget", "3")
    assert path.read_bytes() == before


def test_a_smaller_memory_limit_makes_them_again(pool: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    pool.ok("query", "--budget", "3")
    monkeypatch.setattr(cold_network, "FEWEST", 2)
    settings = {"model": {"name": "cnn", "weights": "w.safetensors"}, "evaluation": {"reserve": 0}}
    pool.configure(**settings, query={"cold_start": "typiclust", "memory_limit": 1_000_000})
    with open_session(pool.root, SilentFeedback()) as session:
        assert cold_start.features(session).layout["features"] == ("float32", (128,))  # 24 × 128 fit
        limited = session.config.query.model_copy(update={"memory_limit": 16 * COUNT * 10})
        narrow = session.config.model_copy(update={"query": limited})
        smaller = replace(session, config=narrow)
        assert cold_start.features(smaller).layout["features"] == ("float32", (10,))
        assert cold_start.features(smaller).layout["features"] == ("float32", (10,))
        assert cold_start.features(session).layout["features"] == ("float32", (128,))


def test_unreadable_images_are_set_aside(pool: SmallPool) -> None:
    (pool.root / "photos" / "red-00.png").unlink()
    shutil.rmtree(pool.root / ".dalcli" / "cache", ignore_errors=True)
    rows = pool.ok("query", "--budget", str(COUNT)).out.splitlines()[1:]
    assert len(rows) == COUNT - 1
    assert not any("red-00" in row for row in rows)


def test_weights_that_are_not_there_are_refused(pool: SmallPool) -> None:
    (pool.root / "w.safetensors").unlink()
    refused = pool.run("query", "--budget", "3")
    assert refused.code == 3
    assert "model.weights" in refused.err


def test_more_numbers_than_memory_has_room_for_are_projected() -> None:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal((6, 2000)).astype(np.float32)
    assert projected(wide, 2000, seed=1) is wide
    narrow = projected(wide, 400, seed=1)
    assert narrow.shape == (6, 400)
    np.testing.assert_array_equal(projected(wide, 400, seed=1), narrow)
    rows, columns = np.triu_indices(6, 1)
    ratios = np.square(narrow[rows] - narrow[columns]).sum(1) / np.square(wide[rows] - wide[columns]).sum(1)
    np.testing.assert_allclose(ratios, 1, atol=4 * np.sqrt(2 / 400))
