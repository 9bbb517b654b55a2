"""Dropout samples in the score table, through the real commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from workspaces import ask, dump

from dalcli.config.hashing import derive_seed, generator
from dalcli.feedback import SilentFeedback
from dalcli.scoring.run import newest
from dalcli.scoring.scorer import Scorer
from dalcli.state import catalog
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import open_session
from tests import processes
from tests.processes import SignalAtCall
from tests.small_pools import SmallPool

T = 5
COLUMN = "mc_probabilities"


@pytest.fixture
def dropped(trained: SmallPool) -> SmallPool:
    trained.configure(scoring={"mc_samples": T})
    trained.ok("score", "--full")
    return trained


def test_the_column_is_the_head_of_masked_features(dropped: SmallPool) -> None:
    """The cnn's only dropout is before its head: softmax(W (h · mask / 0.8) + b), in float64."""
    with open_session(dropped.root, SilentFeedback()) as session:
        model = newest(session, stale_ok=False)
        scorer = Scorer(session, model, torch.device("cpu"))
        with session.database.read() as connection:
            images = catalog.images(connection, "training")
        pixels = PoolImages.peek(session, images, (8, 8)).read(np.arange(len(images)))
        features = scorer.engine.predict(scorer.inputs(pixels)).features.double().numpy()
        [(layer, p)] = [
            (name, module.p)
            for name, module in scorer.loaded.model.named_modules()
            if isinstance(module, torch.nn.Dropout)
        ]
        head = scorer.loaded.model.get_submodule(str(scorer.loaded.head))
        weight, bias = (value.detach().double().numpy() for value in (head.weight, head.bias))
        seed = derive_seed(session.config.seed, "dropout masks", model.version)
    assert p == 0.2
    expected = []
    for t in range(T):
        kept = generator(seed, "mask", t, layer, 0).random(features.shape[1:]) >= p
        logits = features * kept / (1 - p) @ weight.T + bias
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        expected.append(powers / powers.sum(axis=1, keepdims=True))
    table = dropped.scores()
    found = np.stack([table[image.sample_id][COLUMN] for image in images])
    assert (found.shape, found.dtype) == ((len(images), T, 3), np.float16)
    np.testing.assert_allclose(found.astype(float), np.stack(expected, axis=1), atol=2e-3)


@pytest.mark.parametrize("name", ["bald", "batchbald"])
def test_a_query_can_choose_by_it(dropped: SmallPool, name: str) -> None:
    rows = dropped.ok("query", "--budget", "4", "--strategy", name).out.splitlines()
    assert len(rows) == 5
    assert all(name in row for row in rows[1:])


def test_a_query_on_a_table_without_it_names_the_key(scored: SmallPool) -> None:
    refused = scored.run("query", "--budget", "4", "--strategy", "bald")
    assert refused.code == 5
    assert "scoring.mc_samples" in refused.err


def test_another_batch_size_gives_the_same(dropped: SmallPool) -> None:
    before = dropped.scores()
    dropped.configure(scoring={"mc_samples": T + 1, "batch_size": 7})
    told = dropped.ok("score", "--full").err
    reason = "the scores have 5 dropout samples, and scoring.mc_samples asks for 6"
    assert f"{reason}: computing dropout samples of all samples again" in told
    after = dropped.scores()
    assert before.keys() == after.keys()
    for sample, columns in before.items():
        np.testing.assert_allclose(columns[COLUMN], after[sample][COLUMN][:T], atol=1e-3)


def test_asking_for_fewer_or_none_keeps_the_table(dropped: SmallPool) -> None:
    before = ask(dropped.root, "SELECT * FROM score_file")
    for samples in (2, 0):
        dropped.configure(scoring={"mc_samples": samples})
        assert "up to date" in dropped.ok("score", "--full").err
    assert ask(dropped.root, "SELECT * FROM score_file") == before


def test_a_killed_run_goes_on_to_the_same_files(trained: SmallPool, tmp_path: Path) -> None:
    trained.configure(scoring={"mc_samples": T})
    other = SmallPool(Path(shutil.copytree(trained.root, tmp_path / "other")))
    processes.run(trained, ["score", "--full"], SignalAtCall("dalcli.state.scores:add", 2))
    assert len(ask(trained.root, "SELECT * FROM score_file")) == 1
    trained.ok("score", "--full")
    other.ok("score", "--full")
    assert contents(trained) == contents(other)


def contents(pool: SmallPool) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (pool.root / ".dalcli/scores/m-0001").iterdir()}


def test_the_dry_run_counts_it(trained: SmallPool) -> None:
    plain = trained.json("score", "--full", "--dry-run")
    trained.configure(scoring={"mc_samples": 100})
    found = trained.json("score", "--full", "--dry-run")
    assert found["score_bytes"] - plain["score_bytes"] == 2 * 100 * 3 * found["samples"]
    trained.ok("score", "--full")
    assert trained.json("score", "--full", "--dry-run")["score_bytes"] == 0


def test_a_prescreened_table_has_it_for_every_sample(trained: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dalcli.scores.prescreen.SMALLEST_POOL", 1)
    trained.configure(scoring={"mc_samples": T, "prescreen": 0.3})
    trained.ok("score", "--full")
    found = np.stack([columns[COLUMN] for columns in trained.scores().values()]).astype(float)
    np.testing.assert_allclose(found.sum(axis=2), 1, atol=5e-3)
    assert len(found) == len(trained.pool())


def test_a_model_without_dropout_is_refused_before_anything_is_thrown_away(scored: SmallPool) -> None:
    scored.configure(model={"dropout": 0})
    scored.ok("train")
    scored.ok("score", "--full")
    before = dump(scored.root)
    scored.configure(model={"dropout": 0}, scoring={"mc_samples": T})
    for arguments in (
        ["score", "--full"],
        ["score", "--full", "--dry-run"],
        ["query", "--budget", "2", "--strategy", "bald"],
    ):
        refused = scored.run(*arguments)
        assert refused.code == 3, refused.err
        assert "has no dropout" in refused.err
        assert "model.dropout" in refused.err
    assert dump(scored.root) == before


def test_a_single_sample_is_refused(trained: SmallPool) -> None:
    trained.configure(scoring={"mc_samples": 1})
    refused = trained.run("score", "--full")
    assert refused.code == 3
    assert "scoring.mc_samples" in refused.err
