"""The loop on a frozen network: features once per image, a head in an instant, and scores that an oracle confirms."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dalcli.feedback import SilentFeedback
from dalcli.scores.columns import Group
from dalcli.scoring.run import open_store
from dalcli.state import versions
from dalcli.workspace import network_features
from dalcli.workspace.session import open_session
from tests.frozen_pools import DIMENSION, make_frozen_pool, network, write_settings
from tests.small_pools import SmallPool, copied, draw

IMAGENET = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
LABELED = 15


@pytest.fixture(scope="module")
def _labeled(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = make_frozen_pool(tmp_path_factory.mktemp("frozen") / "w")
    pool.label(pool.pool()[:LABELED])
    return pool


@pytest.fixture
def labeled(_labeled: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_labeled, tmp_path / "w")


@pytest.fixture(scope="module")
def _scored(_labeled: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = copied(_labeled, tmp_path_factory.mktemp("scored") / "w")
    pool.ok("train")
    pool.ok("score", "--full")
    return pool


@pytest.fixture
def scored(_scored: SmallPool, tmp_path: Path) -> SmallPool:
    return copied(_scored, tmp_path / "w")


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many images the network has looked at, batch by batch."""
    counts: list[int] = []
    features = network_features.NetworkFeatures._features

    def counted(self: network_features.NetworkFeatures, pixels: np.ndarray) -> np.ndarray:
        counts.append(len(pixels))
        return features(self, pixels)

    monkeypatch.setattr(network_features.NetworkFeatures, "_features", counted)
    yield counts


def true_features(pool: SmallPool, rows: list[dict[str, str]]) -> torch.Tensor:
    """(n, d) float64, by plain torch."""
    body = network()[:-1].double()
    pixels = np.stack([np.asarray(Image.open(pool.path(row)).convert("RGB")) for row in rows])
    mean, std = IMAGENET
    inputs = (torch.from_numpy(pixels).double() / 255 - mean) / std
    with torch.no_grad():
        found: torch.Tensor = body(inputs.permute(0, 3, 1, 2))
    return found


def kept_features(pool: SmallPool) -> dict[str, np.ndarray]:
    """The column of the newest version, by sample id."""
    with open_session(pool.root, SilentFeedback()) as session:
        with session.database.read() as connection:
            model = versions.newest(connection)
        assert model is not None
        table = open_store(session, model).table([Group.PREDICTIONS])
    assert table is not None
    blocks = list(table.blocks(["features"]))
    return {f"s-{bytes(d).hex()}": f for block in blocks for d, f in zip(block.digests, block["features"], strict=True)}


def test_scores_are_those_of_the_formulas(scored: SmallPool) -> None:
    rows = scored.pool()
    weights = {name: torch.from_numpy(value).double() for name, value in scored.weights().items()}
    raw = true_features(scored, rows)
    h = (raw - weights["centre"]) * weights["factor"]
    h1 = torch.cat([h, torch.ones(len(h), 1)], dim=1)
    logits = h @ weights["linear.weight"].T + weights["linear.bias"]
    p = torch.softmax(logits, dim=1)
    q = p - torch.nn.functional.one_hot(p.argmax(dim=1), 3)
    names = ["red", "green", "blue"]
    labeled = [index for index, row in enumerate(rows) if row["state"] == "labeled"]
    truth = torch.tensor([names.index(Path(rows[i]["path"]).name.split("-")[0]) for i in labeled])
    g_s = (p[labeled] - torch.nn.functional.one_hot(truth, 3)).T @ h1[labeled]
    found, features = scored.scores(), kept_features(scored)
    for index, row in enumerate(rows):
        columns = found[row["sample_id"]]
        assert "features" not in columns
        np.testing.assert_allclose(columns["probabilities"], p[index], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(features[row["sample_id"]], h[index], rtol=1e-4, atol=1e-5)
        squared = q[index].square().sum() * h1[index].square().sum()
        np.testing.assert_allclose(columns["grad_sq_norm"], squared, rtol=1e-4)
        np.testing.assert_allclose(columns["grad_inner"], q[index] @ g_s @ h1[index], rtol=1e-3, atol=1e-5)


def test_each_image_is_looked_at_once(labeled: SmallPool, seen: list[int]) -> None:
    total = len(labeled.pool())
    for command in (["train"], ["score"], ["query", "--budget", "4"], ["train"], ["score", "--full"]):
        labeled.ok(*command)
    assert sum(seen) == total
    labeled.label(labeled.pool("in flight"))
    labeled.ok("train")
    labeled.ok("score")
    assert sum(seen) == total
    assert labeled.meta("m-0002")["parent"] == "m-0001"


def test_new_images_cost_only_themselves(scored: SmallPool, seen: list[int]) -> None:
    more = scored.root / "more"
    more.mkdir()
    for index in range(9):
        draw(more / f"red-{index:02d}.png", "red", 1000 + index)
    before = len(scored.pool())
    scored.ok("pool", "add", str(more))
    scored.ok("score")
    assert sum(seen) == len(scored.pool()) - before > 0


def test_neither_the_weights_nor_the_place_are_needed_afterwards(scored: SmallPool, seen: list[int]) -> None:
    (scored.root / "tiny.safetensors").unlink()
    expected = scored.ok("query", "--budget", "5").out
    moved = copied(scored, scored.root.parent / "elsewhere")
    shutil.rmtree(scored.root)
    assert moved.ok("query", "--budget", "5").out == expected
    shutil.rmtree(moved.root / ".dalcli" / "cache")
    moved.ok("score")
    assert sum(seen) == len(moved.pool())


def test_a_deleted_cache_costs_time_and_changes_nothing(_scored: SmallPool, tmp_path: Path, seen: list[int]) -> None:
    one, other = copied(_scored, tmp_path / "one"), copied(_scored, tmp_path / "other")
    shutil.rmtree(other.root / ".dalcli" / "cache")
    command = ("query", "--budget", "6", "--strategy", "coreset")
    assert one.ok(*command).out == other.ok(*command).out
    assert sum(seen) == len(other.pool())


def test_damage_in_the_cache_is_noticed_and_mended(_scored: SmallPool, tmp_path: Path) -> None:
    one, other = copied(_scored, tmp_path / "one"), copied(_scored, tmp_path / "other")
    segment = next((other.root / ".dalcli" / "cache").glob("features-*/segment-*"))
    content = bytearray(segment.read_bytes())
    content[-20] ^= 1
    segment.write_bytes(content)
    command = ("query", "--budget", "6", "--strategy", "coreset")
    outcome = other.run(*command)
    if outcome.code:  # only a choice that reads the damaged row finds out
        assert outcome.code == 1
        assert "dalcli score" in outcome.err
        other.ok("score")
    assert other.ok(*command).out == one.ok(*command).out


def test_an_unreadable_image_is_set_aside_and_nothing_is_computed_twice(labeled: SmallPool, seen: list[int]) -> None:
    labeled.ok("train")
    victims = labeled.pool("unlabeled")[:2]
    for row in victims:
        labeled.path(row).write_bytes(b"no image")
    labeled.ok("score")
    quarantined = {row["sample_id"] for row in labeled.pool("quarantined")}
    assert quarantined == {row["sample_id"] for row in victims}
    assert sum(seen) <= len(labeled.pool())


def test_the_answer_is_the_same_bits_every_time(labeled: SmallPool, tmp_path: Path) -> None:
    other = copied(labeled, tmp_path / "other")
    labeled.ok("train")
    other.ok("train")
    for name, values in labeled.weights().items():
        assert values.tobytes() == other.weights()[name].tobytes()
    head = labeled.meta()["head"]
    assert head["penalty"] == pytest.approx(1e-3)
    assert labeled.json("train")["model"]["penalty"] == pytest.approx(1e-3)


def test_more_classes_are_solved_for_anew(scored: SmallPool) -> None:
    rows = scored.pool("unlabeled")[:3]
    scored.label(rows, "violet", "--allow-new-classes")
    scored.ok("train")
    assert scored.weights("m-0002")["linear.weight"].shape == (4, DIMENSION)
    np.testing.assert_array_equal(scored.weights("m-0002")["centre"], scored.weights()["centre"])
    scored.ok("score")
    assert {len(columns["probabilities"]) for columns in scored.scores("m-0002").values()} == {4}


def test_another_network_is_adopted_when_it_is_asked_for(scored: SmallPool) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(6)
    changed = {name: torch.randn_like(value) for name, value in network().state_dict().items()}
    save_file(changed, scored.root / "other.safetensors")
    write_settings(scored, model={"weights": "other.safetensors"})
    assert scored.ok("status").out
    scored.ok("train")
    scored.ok("score")
    assert len(list((scored.root / ".dalcli" / "networks").iterdir())) == 2
    assert len(list((scored.root / ".dalcli" / "cache").glob("features-*"))) == 2
    assert not np.array_equal(scored.weights("m-0002")["centre"], scored.weights()["centre"])


def test_half_precision_features_take_half_the_disk(tmp_path: Path) -> None:
    pool = make_frozen_pool(tmp_path / "w", data={"features": "float16"})
    pool.label(pool.pool()[:LABELED])
    pool.ok("train")
    pool.ok("score")
    rows, found = pool.pool(), kept_features(pool)
    centre, factor = pool.weights()["centre"], pool.weights()["factor"]
    expected = (true_features(pool, rows).numpy().astype(np.float16).astype(np.float32) - centre) * factor
    for row, features in zip(rows, expected, strict=True):
        np.testing.assert_allclose(found[row["sample_id"]], features, rtol=2e-2, atol=2e-3)


def test_a_cold_start_looks_at_features(labeled: SmallPool, tmp_path: Path, seen: list[int]) -> None:
    pool = make_frozen_pool(tmp_path / "cold")
    out = pool.ok("query", "--budget", "6").out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {row["strategy"] for row in rows} == {"maxherding"}
    assert len(rows) == 6
    assert sum(seen) == len(pool.pool())
    assert pool.ok("query", "--budget", "6").out == out


def test_evaluation_and_diagnosis_see_features(scored: SmallPool) -> None:
    scored.label(scored.pool("unlabeled", "evaluation"))
    report = scored.json("evaluate")["report"]
    rows = scored.pool("labeled", "evaluation")
    weights = {name: torch.from_numpy(value).double() for name, value in scored.weights().items()}
    h = (true_features(scored, rows) - weights["centre"]) * weights["factor"]
    predicted = (h @ weights["linear.weight"].T + weights["linear.bias"]).argmax(dim=1)
    names = ["red", "green", "blue"]
    truth = torch.tensor([names.index(Path(row["path"]).name.split("-")[0]) for row in rows])
    assert report["accuracy"] == pytest.approx(float((predicted == truth).double().mean()))
    kernel = json.loads(scored.ok("diagnose", "--budget", "5", "--json").out)["theory"]["kernel"]
    assert kernel["constant"] is True
    assert "constant, as section 4 assumes" in scored.ok("diagnose", "--budget", "5").out


def test_the_cache_is_one_for_all_versions(scored: SmallPool) -> None:
    folders = list((scored.root / ".dalcli" / "cache").iterdir())
    assert [folder.name.split("-")[0] for folder in folders] == ["features"]  # and no pixels


def test_a_head_has_no_dropout(scored: SmallPool) -> None:
    write_settings(scored, scoring={"mc_samples": 4})
    outcome = scored.run("query", "--budget", "2", "--strategy", "bald")
    assert outcome.code == 3
    assert "the head of a frozen network has none" in outcome.err
    write_settings(scored)
    scored.ok("query", "--budget", "2")


def test_penalty_and_class_weights_are_settings_of_training(scored: SmallPool) -> None:
    write_settings(scored, training={"penalty": 0.1})
    scored.ok("train")
    assert scored.meta("m-0002")["head"] == {
        **scored.meta("m-0002")["head"],
        "penalty": 0.1,
        "reason": "training.penalty",
        "compared": [],
    }
    assert np.linalg.norm(scored.weights("m-0002")["linear.weight"]) < np.linalg.norm(scored.weights()["linear.weight"])
    write_settings(scored, training={"penalty": 0.1, "class_weights": "balanced"})
    scored.ok("train")
    counts = scored.json("status")["labels_per_class"]
    assert len(set(counts.values())) > 1  # else nothing would change
    before, after = (scored.weights(name)["linear.bias"] for name in ("m-0002", "m-0003"))
    rarest = min(range(3), key=list(counts.values()).__getitem__)
    assert after[rarest] > before[rarest]
    assert "up to date" in scored.ok("train").err
