"""Labels that a model contradicts: planted errors are found, by heads and by versions that had not seen them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from dalcli_runner import ok, run, write_labels
from PIL import Image
from workspaces import add_model, add_scores, dump, ids, make

from dalcli.crowd.confident import suspects as by_definition
from dalcli.training import softmax
from dalcli.training.penalty import FOLDS, folds
from tests.frozen_pools import make_frozen_pool
from tests.small_pools import CLASSES, SmallPool, copied

WRONG = 3


@pytest.fixture(scope="module")
def _frozen(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    root = tmp_path_factory.mktemp("frozen") / "w"
    with mock.patch("tests.frozen_pools.draw", _draw_clearly):
        pool = make_frozen_pool(root, 60)
    rows = pool.pool()
    pool.label(rows)
    wrong = [{**row, "label": _other(row["path"])} for row in rows[:WRONG]]
    write_labels(pool.root / "wrong.csv", wrong)
    pool.ok("ingest-labels", str(pool.root / "wrong.csv"), "--on-conflict", "replace")
    return pool


@pytest.fixture
def frozen(_frozen: SmallPool, tmp_path: Path) -> Iterator[SmallPool]:
    yield copied(_frozen, tmp_path / "w")


def _draw_clearly(path: Path, label: str, seed: int) -> None:
    """A noisy image that nobody could take for one of another class."""
    pixels = np.random.default_rng(seed).integers(0, 100, (8, 8, 3))
    pixels[..., CLASSES.index(label)] += 120
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def _other(path: str) -> str:
    truth = Path(path).name.split("-")[0]
    return CLASSES[(CLASSES.index(truth) + 1) % 3]


def rows(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out)))


def test_heads_find_planted_errors_before_any_model_and_after(frozen: SmallPool) -> None:
    planted = {row["sample_id"]: row["label"] for row in frozen.pool()[:WRONG]}
    first = frozen.ok("labels", "suspects")
    found = rows(first.out)
    assert {row["sample_id"] for row in found[:WRONG]} == set(planted)
    for row in found[:WRONG]:
        assert row["suggested"] == Path(row["path"]).name.split("-")[0]
        assert row["label"] == planted[row["sample_id"]]
        assert float(row["probability"]) < 0.5 < float(row["suggested_probability"])
    assert "labels checked look wrong" in first.err
    assert "not checked" not in first.err
    assert "less than" not in first.err
    before = dump(frozen.root)
    again = frozen.ok("labels", "suspects")
    assert again.out == first.out
    assert "up to date" in again.err
    assert dump(frozen.root) == before
    document = frozen.json("labels", "suspects")
    assert list(document) == ["checked", "unchecked", "classes", "suspects"]
    assert (document["checked"], document["unchecked"]) == (len(frozen.pool("labeled")), 0)
    assert list(document["suspects"][0]) == [
        "sample_id", "path", "label", "suggested", "probability", "suggested_probability", "by", "looked_at",
    ]  # fmt: skip


def test_the_probabilities_are_those_of_heads_that_have_not_seen_the_label(frozen: SmallPool) -> None:
    """By hand: features by the network itself, folds by the definition, one solution for each."""
    frozen.ok("train")
    document = frozen.json("labels", "suspects")
    from workspaces import session

    from dalcli.config.hashing import derive_seed
    from dalcli.data.identity import digests, tie_keys
    from dalcli.state import catalog, ledger, versions
    from dalcli.training.standardisation import Standardisation
    from dalcli.workspace.images import PoolImages
    from dalcli.workspace.network import frozen_network

    with session(frozen.root) as opened:
        record = frozen_network(opened)
        with opened.database.read() as connection:
            labels = ledger.labels(connection, "training")
            images = [image for image in catalog.images(connection, "training") if image.key in labels]
            version = versions.newest(connection)
        assert version is not None
        assert version.penalty is not None
        from safetensors.torch import load_file

        tensors = load_file(opened.workspace.model_folder(version.version) / "model.safetensors")
        with PoolImages.open(opened, images, record) as pool:
            features = torch.from_numpy(np.concatenate([block.inputs for block in pool.blocks(7)])).float()
    inputs = Standardisation(tensors["centre"], float(tensors["factor"]))(features)
    truth = torch.tensor([labels[image.key] for image in images])
    keys = tie_keys(derive_seed(3, "held out"), digests([image.sample_id for image in images]))
    fold = folds(truth, keys)
    expected = np.empty((len(images), 3))
    for number in range(FOLDS):
        head = softmax.solve(inputs[fold != number], truth[fold != number], 3, version.penalty)
        logits = inputs[fold == number].double() @ head.weights.T + head.bias
        expected[(fold == number).numpy()] = torch.softmax(logits, dim=1).numpy()
    by_hand = by_definition(expected, truth.numpy())
    assert [s["sample_id"] for s in document["suspects"]] == [images[row].sample_id for row in by_hand.rows]
    for row, suspect in zip(by_hand.rows, document["suspects"], strict=True):
        assert suspect["probability"] == pytest.approx(expected[row, truth[row]], rel=1e-6)


def test_suspects_are_handed_out_answered_and_not_asked_about_again(frozen: SmallPool) -> None:
    frozen.ok("labels", "suspects")
    found = rows(frozen.ok("query", "--relabel", str(WRONG), "--suspects").out)
    planted = {row["sample_id"] for row in frozen.pool()[:WRONG]}
    assert {row["sample_id"] for row in found} == planted
    assert {row["strategy"] for row in found} == {"suspects"}
    confirmed, *wrong = found
    labels = {row["sample_id"]: row["label"] for row in frozen.pool()}
    sheet = [{**confirmed, "label": labels[confirmed["sample_id"]]}]
    sheet += [{**row, "label": Path(row["path"]).name.split("-")[0]} for row in wrong]
    told = frozen.ok("ingest-labels", str(write_labels(frozen.root / "again.csv", sheet)))
    assert "2 earlier labels replaced" in told.err
    assert "1 earlier label confirmed" in told.err
    stale = frozen.run("query", "--relabel", "1", "--suspects")
    assert stale.code == 5
    assert "labels have changed" in stale.err
    now = rows(frozen.ok("labels", "suspects").out)
    looked_at = {row["sample_id"]: row["looked_at"] for row in now}
    assert looked_at.get(confirmed["sample_id"]) == "1"  # the model still doubts it; people do not
    assert not {row["sample_id"] for row in wrong} & set(looked_at)
    again = frozen.run("query", "--relabel", "99", "--suspects")
    assert again.code == 6 or confirmed["sample_id"] not in {row["sample_id"] for row in rows(again.out)}


def test_a_whole_network_judges_what_it_had_not_seen(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 20)
    s = sorted(ids(root / "photos").values())
    cats = dict(zip(s, np.linspace(0.1, 0.9, 20), strict=True))  # what add_scores lets the model say
    first = {sample: "cat" if cats[sample] > 0.5 else "dog" for sample in (s[0], s[19])}
    record(root, "first.csv", first)
    add_model(root)
    add_scores(root)
    late = {sample: "cat" if cats[sample] > 0.5 else "dog" for sample in (s[1], s[2], s[3], s[16], s[17], s[18])}
    late[s[2]] = "cat"
    late[s[17]] = "dog"
    record(root, "late.csv", late)
    found = ok(root, "labels", "suspects", "--json")
    assert (found.json["checked"], found.json["unchecked"]) == (6, 2)
    assert "2 labels were not checked" in found.err
    assert "less than 10 labels a class" in found.err
    assert {(x["sample_id"], x["suggested"], x["by"]) for x in found.json["suspects"]} == {
        (s[2], "dog", "m-0001"),
        (s[17], "cat", "m-0001"),
    }
    add_model(root)  # m-0002 has seen them all, and is scored: m-0001 judges still
    add_scores(root)
    assert ok(root, "labels", "suspects", "--json").json["suspects"] == found.json["suspects"]
    for shard in (root / ".dalcli" / "scores" / "m-0001").iterdir():
        shard.unlink()
    record(root, "more.csv", {s[5]: "dog"})
    found = ok(root, "labels", "suspects", "--json")
    assert (found.json["checked"], found.json["unchecked"]) == (1, 8)


def test_without_a_prediction_from_before_nothing_can_be_judged(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 8)
    s = sorted(ids(root / "photos").values())
    record(root, "l.csv", {s[0]: "cat", s[1]: "dog"})
    add_model(root)
    add_scores(root)
    refused = run(root, "labels", "suspects")
    assert refused.code == 5
    assert "each was seen by every version that was scored" in refused.err


def record(root: Path, name: str, labels: dict[str, str]) -> None:
    (root / name).write_text("sample_id,label\n" + "".join(f"{s},{label}\n" for s, label in labels.items()))
    ok(root, "ingest-labels", name)
