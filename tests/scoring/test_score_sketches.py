"""Sketches in the score table, through the real command: the engine's own, with their error measured and said."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional
from workspaces import ask

from dalcli.config.hashing import derive_seed
from dalcli.data.identity import digests
from dalcli.feedback import SilentFeedback
from dalcli.gradients.sketch import SketchSpec, sketch_of
from dalcli.scores import labeled_sketch
from dalcli.scores.prescreen import drawn
from dalcli.scores.settings import TableSettings
from dalcli.scoring.labeled_gradient import stored
from dalcli.scoring.run import newest, open_store
from dalcli.scoring.scorer import Scorer
from dalcli.scoring.settling import compared
from dalcli.state import catalog
from dalcli.workspace.images import PoolImages
from dalcli.workspace.session import Session, open_session
from tests import processes
from tests.processes import SignalAtCall
from tests.small_pools import SmallPool, draw

M = 64


@pytest.fixture
def sketched(trained: SmallPool) -> SmallPool:
    trained.configure(scoring={"sketch": M})
    trained.ok("score", "--full")
    return trained


def spec_of(pool: SmallPool) -> SketchSpec:
    seed = yaml.safe_load((pool.root / "dalcli.yaml").read_text())["seed"]
    return SketchSpec(derive_seed(seed, "gradient sketch", "m-0001"), M)


@contextmanager
def engine_of(pool: SmallPool) -> Iterator[tuple[Session, Scorer, dict[str, Tensor], list[str], Tensor]]:
    """The session, a scorer, G_S, and all samples with what the model sees of them."""
    with open_session(pool.root, SilentFeedback()) as session:
        model = newest(session, stale_ok=False)
        gradient = stored(open_store(session, model))
        assert gradient is not None
        scorer = Scorer(session, model, torch.device("cpu"))
        with session.database.read() as connection:
            images = catalog.images(connection, "training")
        opened = PoolImages.peek(session, images, (8, 8))
        inputs = scorer.inputs(opened.read(np.arange(len(images))))
        yield session, scorer, gradient.tensors, [image.sample_id for image in images], inputs


def test_the_column_is_the_engines_sketch(sketched: SmallPool) -> None:
    table = sketched.scores()
    with engine_of(sketched) as (_, scorer, direction, ids, inputs):
        expected = scorer.engine.score(inputs, direction, spec_of(sketched)).sketch
    assert expected is not None
    found = np.stack([table[sample]["sketch"] for sample in ids])
    assert found.dtype == np.float32
    scale = float(expected.norm(dim=1).max())
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6 * scale)


def test_the_labeled_sets_sketch_is_kept_beside(sketched: SmallPool) -> None:
    settings = TableSettings.parse(str(ask(sketched.root, "SELECT settings FROM score_table")[0][0]))
    assert settings is not None
    folder = sketched.root / ".dalcli/scores/m-0001"
    found = labeled_sketch.load(folder / labeled_sketch.NAME, settings.gradient_key)
    assert found is not None
    with engine_of(sketched) as (_, _, direction, _, _):
        np.testing.assert_allclose(found.vector, sketch_of(direction, spec_of(sketched)).numpy())
    assert found.seed == spec_of(sketched).seed


def test_the_stated_error_is_the_true_one(sketched: SmallPool) -> None:
    """Against every sample's gradient by ordinary autograd in float64."""
    stated = sketched.json("score", "--full")["sketch"]
    with engine_of(sketched) as (session, scorer, direction, ids, inputs):
        rows = drawn(derive_seed(session.config.seed, "sketch error"), digests(ids), compared(len(ids)))
        model = scorer.loaded.model.double()
        gradients = []
        for sample in inputs[rows].double():
            logits = model(sample[None])
            loss = functional.cross_entropy(logits, logits.argmax(1))
            found = torch.autograd.grad(loss, list(model.parameters()))
            gradients.append(dict(zip((name for name, _ in model.named_parameters()), found, strict=True)))
        flat = torch.stack([torch.cat([value.flatten() for value in g.values()]) for g in gradients])
        sketches = torch.stack([sketch_of(g, spec_of(sketched)) for g in gradients])
        norms = flat.norm(dim=1)
        errors = (sketches @ sketches.T - flat @ flat.T).abs() / (norms[:, None] * norms)
        pairs = errors[~torch.eye(len(rows), dtype=torch.bool)]
        whole = torch.cat([direction[name].double().flatten() for name in gradients[0]])
        along = (sketches @ sketch_of(direction, spec_of(sketched)) - flat @ whole).abs() / (norms * whole.norm())
    assert stated["samples"] == len(rows) == 8
    assert stated["dimension"] == M
    assert stated["expected"] == pytest.approx(math.sqrt(2 / M))
    assert stated["inner_rms"] == pytest.approx(float(pairs.square().mean().sqrt()), rel=1e-3)
    assert stated["inner_largest"] == pytest.approx(float(pairs.max()), rel=1e-3)
    assert stated["direction_rms"] == pytest.approx(float(along.square().mean().sqrt()), rel=1e-3)


def test_it_is_said_and_a_second_run_prints_the_same(sketched: SmallPool) -> None:
    first, second = sketched.ok("score", "--full"), sketched.ok("score", "--full")
    assert (first.out, first.err) == (second.out, second.err)
    assert f"{M} numbers, inner products off by" in first.out
    assert "root mean square over the pairs of 8 samples; expected 0.177" in first.err


def test_other_scores_are_the_same_with_sketches(sketched: SmallPool, scored: SmallPool) -> None:
    plain, other = scored.scores(), sketched.scores()
    for sample, columns in plain.items():
        assert all(np.array_equal(value, other[sample][name]) for name, value in columns.items())


@pytest.mark.parametrize(
    "moment",
    [
        SignalAtCall("dalcli.scoring.settling:sketch_of"),
        SignalAtCall("dalcli.scores.labeled_sketch:write_arrays"),
        SignalAtCall("dalcli.state.scores:add", 3),
    ],
)
def test_killed_and_resumed_it_ends_in_the_same_files(trained: SmallPool, moment: SignalAtCall, tmp_path: Path) -> None:
    trained.configure(scoring={"sketch": M})
    other = SmallPool(Path(shutil.copytree(trained.root, tmp_path / "other")))
    processes.run(trained, ["score", "--full"], moment)
    trained.ok("score", "--full")
    other.ok("score", "--full")
    assert contents(trained) == contents(other)


def contents(pool: SmallPool) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (pool.root / ".dalcli/scores/m-0001").iterdir()}


def test_a_lost_sketch_of_the_labeled_set_costs_no_shards(sketched: SmallPool) -> None:
    before = contents(sketched)
    path = sketched.root / ".dalcli/scores/m-0001" / labeled_sketch.NAME
    path.write_bytes(before[path.name][:-1] + b"?")
    shard = sketched.root / ".dalcli/scores/m-0001/shard-00000.safetensors"
    time = shard.stat().st_mtime_ns
    sketched.ok("score", "--full")
    assert contents(sketched) == before
    assert shard.stat().st_mtime_ns == time


def test_turned_off_later_the_table_stays_also_for_new_images(sketched: SmallPool) -> None:
    before = contents(sketched)
    sketched.configure(scoring={"sketch": 0})
    outcome = sketched.ok("score", "--full")
    assert "up to date" in outcome.err
    assert contents(sketched) == before
    assert sketched.json("status")["unscored"] == 0
    for index in range(3):
        draw(sketched.root / "photos" / f"blue-9{index}.png", "blue", 900 + index)
    sketched.ok("pool", "add", str(sketched.root / "photos"))
    sketched.ok("score", "--full")
    assert {values["sketch"].shape for values in sketched.scores().values()} == {(M,)}
    sketched.ok("query", "--budget", "2")


@pytest.mark.parametrize("change", [{"sketch": 32}, {"sketch": M}])
def test_another_dimension_makes_another_table_with_a_note(
    sketched: SmallPool, scored: SmallPool, change: dict[str, int]
) -> None:
    pool = sketched if change["sketch"] != M else scored
    gradient = (pool.root / ".dalcli/scores/m-0001/labeled_gradient.safetensors").stat().st_mtime_ns
    pool.configure(scoring=change, query={"strategy": "dynamical"})
    assert pool.json("status")["unscored"] == len(pool.pool())
    outcome = pool.ok("score", "--full")
    was = "sketches of 64 numbers" if pool is sketched else "no sketches"
    reason = f"the scores have {was}, and scoring.sketch asks for {change['sketch']}"
    assert f"{reason}: computing gradients of all samples again" in outcome.err
    assert {values["sketch"].shape for values in pool.scores().values()} == {(change["sketch"],)}
    assert (pool.root / ".dalcli/scores/m-0001/labeled_gradient.safetensors").stat().st_mtime_ns == gradient
    assert "up to date" in pool.ok("score", "--full").err


def test_the_dry_run_counts_them(trained: SmallPool) -> None:
    plain = trained.json("score", "--full", "--dry-run")
    trained.configure(scoring={"sketch": 2048})
    found = trained.json("score", "--full", "--dry-run")
    assert found["score_bytes"] - plain["score_bytes"] == 4 * 2048 * found["samples"] + 8 * 2048
    trained.ok("score", "--full")
    assert trained.json("score", "--full", "--dry-run")["score_bytes"] == 0


@pytest.mark.parametrize("value", ["-1", "65537", "x", "1.5", "on"])
def test_impossible_dimensions_are_refused(trained: SmallPool, value: str) -> None:
    path = trained.root / "dalcli.yaml"
    path.write_text(f"{path.read_text()}\n".replace("scoring:", f"scoring:\n  sketch: {value}\n"))
    outcome = trained.run("score", "--full")
    assert outcome.code == 3
    assert "scoring.sketch" in outcome.err
