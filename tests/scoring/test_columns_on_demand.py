"""A score table holds what somebody reads: predictions first, gradients and dropout samples once they are asked for."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from workspaces import ask

from dalcli.gradients.engine import GradientEngine
from tests import processes
from tests.processes import SignalAtCall
from tests.scoring.test_score_shards import same_shards, times_of
from tests.small_pools import SmallPool, copied

PREDICTED = {"digest", "probabilities", "features"}
GRADIENTS = {"grad_sq_norm", "grad_inner"}
DYNAMICAL = ("query", "--budget", "3", "--strategy", "dynamical")


def files(pool: SmallPool) -> dict[str, bytes]:
    folder = pool.root / ".dalcli" / "scores" / "m-0001"
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}


def columns(pool: SmallPool) -> set[frozenset[str]]:
    return {frozenset(shard) for shard in pool.shards().values()}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Images that went through the engine in this process, by kind of pass."""
    seen = {"score": 0, "predict": 0, "labeled_gradient": 0}

    def counting(name: str) -> None:
        original = getattr(GradientEngine, name)

        def counted(self: GradientEngine, inputs: object, *rest: object, **named: object) -> object:
            seen[name] += len(inputs) if hasattr(inputs, "__len__") else 1
            return original(self, inputs, *rest, **named)

        monkeypatch.setattr(GradientEngine, name, counted)

    for name in seen:
        counting(name)
    return seen


def test_the_default_strategy_costs_forward_passes_alone(trained: SmallPool, passes: dict[str, int]) -> None:
    out = trained.ok("score")
    pool = len(trained.pool())
    assert passes == {"score": 0, "predict": pool, "labeled_gradient": 0}
    assert columns(trained) == {frozenset(PREDICTED)}
    assert set(files(trained)) == {f"shard-0000{n}.safetensors" for n in range(-(-pool // 8))}
    assert "labeled set" not in out.out
    found = trained.json("score")
    assert found["columns"] == ["features", "probabilities"]
    assert (found["labeled"], found["labeled_gradient_norm"]) == (None, None)
    assert trained.json("status")["unscored"] == 0
    assert passes["predict"] == pool, "nothing is computed twice"


def test_predictions_are_the_same_bits_whichever_pass_they_come_from(trained: SmallPool, scored: SmallPool) -> None:
    trained.ok("score")
    full = {name: {key: shard[key] for key in PREDICTED} for name, shard in scored.shards().items()}
    assert same_shards(trained.shards(), full)


@pytest.mark.parametrize("command", [("score", "--full"), DYNAMICAL])
def test_gradients_are_added_to_the_same_shards_and_nothing_else_is_computed_again(
    trained: SmallPool, scored: SmallPool, passes: dict[str, int], command: tuple[str, ...]
) -> None:
    trained.ok("score")
    before = files(trained)
    passes.update(dict.fromkeys(passes, 0))
    trained.ok(*command)
    assert passes == {"score": len(trained.pool()), "predict": 0, "labeled_gradient": passes["labeled_gradient"]}
    after = files(trained)
    assert {name: after[name] for name in before} == before
    assert {name for name in after if "gradients" in name} == {n.replace(".safe", "-gradients.safe") for n in before}
    assert same_shards(trained.shards(), scored.shards())
    rows = ask(trained.root, "SELECT DISTINCT contents FROM score_file ORDER BY contents")
    assert rows == [('["gradients"]',), ('["predictions"]',)]
    assert "up to date" in trained.ok("score", "--full").err


def test_a_strategy_chooses_the_same_from_either_table(trained: SmallPool, scored: SmallPool, tmp_path: Path) -> None:
    for strategy in ("diverse-margin", "dynamical", "badge", "random", "power-dynamical"):
        one, other = copied(trained, tmp_path / f"{strategy}-1"), copied(scored, tmp_path / f"{strategy}-2")
        line = ("query", "--budget", "5", "--strategy", strategy)
        assert one.ok(*line).out == other.ok(*line).out


def test_what_was_scored_in_full_stays_so_for_what_comes_later_only_on_demand(
    scored: SmallPool, passes: dict[str, int]
) -> None:
    old = len(scored.pool())
    for number in range(3):
        image = scored.root / "photos" / f"red-9{number}.png"
        image.write_bytes((scored.root / scored.pool()[number]["path"]).read_bytes() + bytes([number]))
    scored.ok("pool", "add", str(scored.root / "photos"))
    scored.ok("score")
    fresh = len(scored.pool()) - old
    assert fresh > 0
    assert (passes["predict"], passes["score"]) == (fresh, 0)
    assert scored.json("score")["columns"] == ["features", "probabilities"], "what all samples have"
    scored.ok("query", "--budget", "2", "--strategy", "dynamical", "--new")
    assert (passes["predict"], passes["score"]) == (fresh, fresh)
    assert len(scored.scores()) == old + fresh
    assert columns(scored) == {frozenset(PREDICTED | GRADIENTS)}


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(SignalAtCall("dalcli.scoring.labeled_gradient:write_tensors"), id="before G_S is kept"),
        pytest.param(SignalAtCall("dalcli.scoring.job:write_shard", 3), id="before gradients are written"),
        pytest.param(SignalAtCall("dalcli.state.scores:add", 3), id="after they were written"),
        pytest.param(SignalAtCall("dalcli.state.scores:add", 2, signal.SIGTERM), id="terminated"),
    ],
)
def test_a_killed_addition_is_gone_on_with(trained: SmallPool, scored: SmallPool, moment: SignalAtCall) -> None:
    trained.ok("score")
    before = files(trained)
    processes.run(trained, ["score", "--full"], moment)
    assert {name: files(trained)[name] for name in before} == before
    assert "up to date" in trained.ok("score").err, "what the default strategy reads is complete all the while"
    trained.ok("score", "--full")
    assert same_shards(trained.shards(), scored.shards())


@pytest.mark.parametrize(
    ("moment", "made"),
    [
        pytest.param(SignalAtCall("dalcli.scoring.labeled_gradient:write_tensors"), None, id="before G_S is kept"),
        pytest.param(SignalAtCall("dalcli.scoring.job:write_shard"), 0, id="before the first shard"),
        pytest.param(SignalAtCall("dalcli.state.scores:add", 3), 2, id="written but not recorded"),
        pytest.param(SignalAtCall("dalcli.gradients.engine:GradientEngine.score", 6, signal.SIGINT), 2, id="Ctrl-C"),
        pytest.param(SignalAtCall("dalcli.gradients.engine:GradientEngine.score", 4, signal.SIGTERM), 1, id="SIGTERM"),
    ],
)
@pytest.mark.parametrize("command", [("score", "--full"), DYNAMICAL])
def test_an_interrupted_addition_computes_only_the_shards_that_are_missing(
    trained: SmallPool,
    scored: SmallPool,
    passes: dict[str, int],
    moment: SignalAtCall,
    made: int | None,
    command: tuple[str, ...],
) -> None:
    trained.ok("score")
    predicted, times = files(trained), times_of(trained)
    assert processes.run(trained, list(command), moment).code in {-signal.SIGKILL, 130, 143}
    whole = [times_of(trained)[f"shard-{n:05d}-gradients.safetensors"] for n in range(made or 0)]
    passes.update(dict.fromkeys(passes, 0))
    outcome = trained.ok(*command)
    fresh = len(trained.pool()) - 8 * (made or 0)
    assert f"scored {fresh} samples in" in outcome.err
    assert (passes["score"], passes["predict"]) == (fresh, 0)
    assert (passes["labeled_gradient"] > 0) == (made is None), "G_S that was kept serves"
    after = times_of(trained)
    assert {name: files(trained)[name] for name in predicted} == predicted
    assert {name: after[name] for name in times} == times
    assert [after[f"shard-{n:05d}-gradients.safetensors"] for n in range(made or 0)] == whole
    assert same_shards(trained.shards(), scored.shards())
    assert trained.ok(*DYNAMICAL).out == scored.ok(*DYNAMICAL).out
    assert passes["score"] == fresh


def test_a_query_between_two_attempts_reads_what_it_needs_and_leaves_the_rest(
    trained: SmallPool, scored: SmallPool, passes: dict[str, int]
) -> None:
    trained.ok("score")
    processes.run(trained, ["score", "--full"], SignalAtCall("dalcli.state.scores:add", 3))
    halfway = files(trained)
    passes.update(dict.fromkeys(passes, 0))
    line = ("query", "--budget", "3", "--new", "--strategy")
    assert trained.ok(*line, "margin").out == scored.ok(*line, "margin").out
    assert passes == dict.fromkeys(passes, 0)
    assert files(trained) == halfway
    assert trained.ok(*line, "dynamical").out == scored.ok(*line, "dynamical").out
    assert (passes["score"], passes["predict"]) == (len(trained.pool()) - 16, 0)


def test_an_interrupted_first_run_knows_which_columns_each_shard_has(
    trained: SmallPool, scored: SmallPool, passes: dict[str, int]
) -> None:
    processes.run(trained, ["score"], SignalAtCall("dalcli.state.scores:add", 3))
    pool = len(trained.pool())
    trained.ok("score", "--full")  # gradients for two shards, everything for the others
    assert (passes["score"], passes["predict"]) == (pool, 0)
    assert {name for name in files(trained) if "gradients" in name} == {
        f"shard-0000{n}-gradients.safetensors" for n in (0, 1)
    }
    assert same_shards(trained.shards(), scored.shards())
    assert trained.ok(*DYNAMICAL).out == scored.ok(*DYNAMICAL).out


def test_a_damaged_file_costs_its_own_columns_alone(trained: SmallPool, passes: dict[str, int]) -> None:
    trained.ok("score")
    trained.ok("score", "--full")
    whole = files(trained)
    folder = trained.root / ".dalcli" / "scores" / "m-0001"
    for name, kind in (("shard-00001-gradients.safetensors", "score"), ("shard-00002.safetensors", "predict")):
        passes.update(dict.fromkeys(passes, 0))
        (folder / name).write_bytes(whole[name][:-1])
        said = trained.ok("score", "--full").err
        assert f"{name} is missing or damaged: scoring its 8 samples again" in said
        assert {key: count for key, count in passes.items() if count} == {kind: 8}
        assert files(trained) == whole


def test_without_the_labeled_gradient_gradients_are_made_again_and_predictions_stay(
    scored: SmallPool, passes: dict[str, int]
) -> None:
    before = scored.shards()
    (scored.root / ".dalcli/scores/m-0001/labeled_gradient.safetensors").unlink()
    assert "up to date" in scored.ok("score").err, "nothing that the default strategy reads is lost"
    scored.ok("score", "--full")
    assert (passes["score"], passes["predict"]) == (len(scored.pool()), 0)
    assert same_shards(scored.shards(), before)
    trimmed = load_file(scored.root / ".dalcli/scores/m-0001/shard-00000.safetensors")
    assert set(trimmed) == PREDICTED, "columns that no longer count take no space"


def test_a_lost_image_sends_its_shards_samples_to_new_ones(trained: SmallPool) -> None:
    trained.ok("score")
    ninth = list(trained.scores())[9]
    lost = next(row for row in trained.pool() if row["sample_id"] == ninth)
    trained.path(lost).unlink()
    outcome = trained.ok("score", "--full")
    assert "1 image can no longer be read" in outcome.err
    assert set(trained.scores()) == {row["sample_id"] for row in trained.pool() if row["state"] != "quarantined"}
    assert columns(trained) == {frozenset(PREDICTED | GRADIENTS)}
    assert all(np.isfinite(row["grad_inner"]) for row in trained.scores().values())


def test_dropout_samples_are_a_group_of_their_own(trained: SmallPool, passes: dict[str, int]) -> None:
    trained.configure(scoring={"mc_samples": 4})
    trained.ok("score")
    assert columns(trained) == {frozenset(PREDICTED)}
    trained.ok("query", "--budget", "2", "--strategy", "bald")
    assert columns(trained) == {frozenset(PREDICTED | {"mc_probabilities"})}
    assert passes["score"] == 0
    trained.ok("score", "--full")
    assert columns(trained) == {frozenset(PREDICTED | GRADIENTS | {"mc_probabilities"})}


def test_a_strategy_that_lacks_its_setting_is_refused_before_anything_is_computed(
    trained: SmallPool, passes: dict[str, int]
) -> None:
    trained.ok("score")
    for strategy, key in (("lcmd", "scoring.sketch"), ("bald", "scoring.mc_samples")):
        refused = trained.run("query", "--budget", "2", "--strategy", strategy)
        assert (refused.code, refused.out) == (5, "")
        assert key in refused.err
    assert passes["score"] == 0


def test_the_dry_run_foretells_what_each_would_compute(trained: SmallPool) -> None:
    pool = len(trained.pool())
    few, all_of_them = trained.json("score", "--dry-run"), trained.json("score", "--full", "--dry-run")
    assert few["samples"] == all_of_them["samples"] == pool
    assert few["score_bytes"] < all_of_them["score_bytes"]
    trained.ok("score")
    assert trained.json("score", "--dry-run")["samples"] == 0
    assert trained.json("score", "--full", "--dry-run")["samples"] == pool


def test_a_default_query_after_scores_were_deleted_needs_nothing_that_gradients_need(trained: SmallPool) -> None:
    trained.configure(scoring={"sketch": 16, "prescreen": 0.5})
    trained.ok("score", "--full")
    shutil.rmtree(trained.root / ".dalcli" / "scores")
    assert len(trained.ok("query", "--budget", "2").out.splitlines()) == 3
    trained.ok("score", "--full")
    assert all("sketch" in columns for columns in trained.scores().values())


def test_the_dry_run_knows_what_a_changed_setting_makes_again(scored: SmallPool) -> None:
    scored.configure(scoring={"sketch": 16})
    assert scored.json("score", "--full", "--dry-run")["samples"] == len(scored.pool())


def test_without_g_s_gradients_are_computed_again_where_they_are_wanted(scored: SmallPool) -> None:
    before = scored.scores()
    (scored.root / ".dalcli/scores/m-0001/labeled_gradient.safetensors").unlink()
    told = scored.ok("score", "--full").err
    count = len(scored.pool())
    assert f"what gradients were made with is missing or damaged: computing those of {count} samples again" in told
    assert "scoring" not in told
    after = scored.scores()
    assert {s: c["grad_inner"] for s, c in before.items()} == {s: c["grad_inner"] for s, c in after.items()}


def test_dropout_samples_that_are_there_serve_although_no_more_are_asked_for(trained: SmallPool) -> None:
    trained.configure(scoring={"mc_samples": 4})
    trained.ok("score", "--full")
    trained.configure(scoring={"mc_samples": 0})
    assert len(trained.ok("query", "--budget", "2", "--strategy", "bald").out.splitlines()) == 3
