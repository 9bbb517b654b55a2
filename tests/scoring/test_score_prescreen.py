"""``scoring.prescreen`` through the real command: exact where it scores, the same however it runs, honest about it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dalcli.scores.columns import Screened
from dalcli.scores.prescreen import calibration_size
from dalcli.scores.recall import upper_rate
from tests import processes
from tests.processes import SignalAtCall
from tests.scoring.test_score_shards import same_shards
from tests.small_pools import SmallPool, copied, draw, make_pool

COUNT = 200
SETTINGS: dict[str, dict[str, Any]] = {
    "evaluation": {"reserve": 0},
    "scoring": {"batch_size": 16, "shard_size": 64, "prescreen": 0.2},
    "query": {"budget": 10, "strategy": "dynamical"},
}


@pytest.fixture(scope="module")
def _trained_pool(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = make_pool(tmp_path_factory.mktemp("prescreen") / "w", COUNT, **SETTINGS)
    pool.label(pool.pool()[:20])
    pool.ok("train")
    return pool


@pytest.fixture(scope="module")
def _full(_trained_pool: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    pool = copied(_trained_pool, tmp_path_factory.mktemp("full") / "w")
    configure(pool, prescreen=1.0, sketch=8)
    pool.ok("score", "--full")
    return pool.scores()


@pytest.fixture(scope="module")
def _screened(_trained_pool: SmallPool, tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    pool = copied(_trained_pool, tmp_path_factory.mktemp("screened") / "w")
    pool.ok("score", "--full")
    return pool


@pytest.fixture
def ready(_trained_pool: SmallPool, tmp_path: Path) -> SmallPool:
    """Trained, not scored, with a prescreen configured."""
    return copied(_trained_pool, tmp_path / "ready")


@pytest.fixture
def screened(_screened: SmallPool, tmp_path: Path) -> SmallPool:
    """Scored with that prescreen."""
    return copied(_screened, tmp_path / "screened")


def configure(pool: SmallPool, **scoring: Any) -> None:
    pool.configure(**{**SETTINGS, "scoring": {**SETTINGS["scoring"], **scoring}})


def codes(pool: SmallPool) -> dict[str, int]:
    return {sample: int(columns["prescreen"]) for sample, columns in pool.scores().items()}


def contents(pool: SmallPool) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (pool.root / ".dalcli/scores/m-0001").iterdir()}


def close(found: dict[str, Any], exact: dict[str, Any]) -> bool:
    norm = exact["grad_sq_norm"] ** 0.5
    return bool(
        found["grad_sq_norm"] == pytest.approx(exact["grad_sq_norm"], rel=1e-5)
        and abs(found["grad_inner"] - exact["grad_inner"]) <= 1e-5 * norm * max(1.0, abs(exact["grad_inner"]) / norm)
    )


@pytest.mark.parametrize("sketch", [0, 8])
def test_what_is_scored_is_exact_and_everything_is_predicted(
    ready: SmallPool, _full: dict[str, dict[str, Any]], sketch: int
) -> None:
    configure(ready, sketch=sketch)
    ready.ok("score", "--full")
    table = ready.scores()
    assert table.keys() == _full.keys()
    counts = np.bincount([columns["prescreen"] for columns in table.values()], minlength=4)
    assert counts[Screened.CALIBRATION] == calibration_size(COUNT) == 32
    assert 0.05 * COUNT < counts[Screened.PROMISING] < 0.4 * COUNT
    assert counts[Screened.AWAY] > COUNT / 2
    for sample, columns in table.items():
        exact = _full[sample]
        np.testing.assert_allclose(columns["probabilities"], exact["probabilities"], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(columns["features"], exact["features"], rtol=1e-5, atol=1e-6)
        if columns["prescreen"] == Screened.AWAY:
            assert np.isnan([columns["grad_sq_norm"], columns["grad_inner"]]).all()
            assert not sketch or np.isnan(columns["sketch"]).all()
        else:
            assert close(columns, exact)
            if sketch:
                scale = np.linalg.norm(exact["sketch"])
                np.testing.assert_allclose(columns["sketch"], exact["sketch"], atol=1e-5 * scale)


def test_it_is_the_promising_ones_that_are_scored(screened: SmallPool, _full: dict[str, dict[str, Any]]) -> None:
    delta = {sample: c["grad_sq_norm"] + 2 * c["grad_inner"] for sample, c in _full.items()}
    best = sorted(delta, key=lambda sample: -delta[sample])[:10]
    found = codes(screened)
    assert sum(found[sample] != Screened.AWAY for sample in best) >= 9


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(SignalAtCall("dalcli.scores.prescreen:write_arrays"), id="before the decision is kept"),
        pytest.param(SignalAtCall("dalcli.gradients.engine:GradientEngine.predict", 2), id="while calibrating"),
        pytest.param(SignalAtCall("dalcli.gradients.engine:GradientEngine.predict", 8), id="in a shard"),
        pytest.param(SignalAtCall("dalcli.state.scores:add", 2), id="before a shard is recorded"),
    ],
)
def test_killed_and_resumed_it_ends_in_the_same_files(
    ready: SmallPool, screened: SmallPool, moment: SignalAtCall
) -> None:
    assert processes.run(ready, ["score", "--full"], moment).code < 0
    ready.ok("score", "--full")
    assert contents(ready) == contents(screened)


@pytest.mark.parametrize("scoring", [{"batch_size": 7}, {"batch_size": 128}, {"shard_size": 5, "batch_size": 1}])
def test_who_is_scored_does_not_depend_on_batches_and_shards(
    ready: SmallPool, screened: SmallPool, scoring: dict[str, int], _full: dict[str, dict[str, Any]]
) -> None:
    configure(ready, **scoring)
    ready.ok("score", "--full")
    assert codes(ready) == codes(screened)
    assert all(close(c, _full[s]) for s, c in ready.scores().items() if c["prescreen"] != Screened.AWAY)


def test_exact_scores_run_in_full_batches(ready: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    from dalcli.gradients.engine import GradientEngine

    sizes: list[int] = []
    original = GradientEngine.score

    def counted(self: GradientEngine, inputs: Any, *rest: Any) -> Any:
        sizes.append(len(inputs))
        return original(self, inputs, *rest)

    monkeypatch.setattr(GradientEngine, "score", counted)
    configure(ready, batch_size=4, shard_size=10_000)
    ready.ok("score", "--full")
    in_shard = sizes[32 // 4 :]
    assert set(in_shard[:-1]) == {4}
    wanted = sum(code in {Screened.PROMISING, Screened.CONTROL} for code in codes(ready).values())
    assert sum(in_shard) == wanted


def test_the_statement_follows_from_the_table(screened: SmallPool) -> None:
    found = screened.json("score", "--full")["prescreen"]
    table = screened.scores().values()
    away = sum(c["prescreen"] == Screened.AWAY for c in table)
    delta = np.array([c["grad_sq_norm"] + 2 * c["grad_inner"] for c in table if c["prescreen"] != Screened.AWAY])
    control = np.array([c["grad_sq_norm"] + 2 * c["grad_inner"] for c in table if c["prescreen"] == Screened.CONTROL])
    level = np.sort(delta)[-10]
    hits = int((control >= level).sum())
    assert (found["samples"], found["scored"], found["budget"]) == (COUNT, COUNT - away, 10)
    assert (found["control"], found["control_hits"]) == (len(control), hits)
    assert (found["gamma"], found["fraction"]) == (2.0, 0.2)
    assert found["recall"] == pytest.approx(max(0, 1 - away * hits / len(control) / 10))
    assert found["recall_at_least"] == pytest.approx(max(0, 1 - away * upper_rate(hits, len(control), 0.95) / 10))


def test_it_is_said_and_a_second_run_prints_the_same(screened: SmallPool) -> None:
    before = contents(screened)
    first, second = screened.ok("score", "--full"), screened.ok("score", "--full")
    assert (first.out, first.err) == (second.out, second.err)
    assert "recall of the exact top 10 (γ = 2)" in first.err
    assert "samples scored exactly, recall of the top 10" in first.out
    assert contents(screened) == before


def test_new_images_are_judged_by_the_kept_decision(screened: SmallPool) -> None:
    before = contents(screened)
    for index in range(9):
        draw(screened.root / "photos" / f"blue-9{index}9.png", "blue", 9000 + index)
    screened.ok("pool", "add", str(screened.root / "photos"))
    screened.ok("score", "--full")
    after = contents(screened)
    assert {name: after[name] for name in before} == before
    assert len(screened.scores()) == COUNT + 9


def test_a_damaged_shard_is_made_again_alike(screened: SmallPool) -> None:
    before, path = contents(screened), screened.root / ".dalcli/scores/m-0001/shard-00001.safetensors"
    path.write_bytes(before[path.name][:-1])
    assert "scoring its 64 samples again" in screened.ok("score", "--full").err
    after = screened.scores()
    assert len(after) == COUNT
    assert {name: contents(screened)[name] for name in before if name != path.name} == {
        name: data for name, data in before.items() if name != path.name
    }


@pytest.mark.parametrize("how", ["deleted", "damaged"])
def test_without_its_decision_a_table_is_made_again(screened: SmallPool, how: str) -> None:
    before, path = screened.shards(), screened.root / ".dalcli/scores/m-0001/prescreen.safetensors"
    whole = path.read_bytes()
    path.unlink() if how == "deleted" else path.write_bytes(whole[:-1] + b"?")
    screened.ok("score", "--full")
    assert same_shards(screened.shards(), before)
    assert path.read_bytes() == whole


def test_asking_for_more_makes_the_table_again_and_for_less_does_not(screened: SmallPool) -> None:
    before = contents(screened)
    configure(screened, prescreen=0.1)
    assert "up to date" in screened.ok("score", "--full").err
    assert contents(screened) == before
    configure(screened, prescreen=1.0)
    assert screened.json("status")["unscored"] == COUNT
    outcome = screened.ok("score", "--full")
    reason = "only 0.2 of the pool was scored exactly, and scoring.prescreen asks for 1"
    assert f"{reason}: computing gradients of all samples again" in outcome.err
    assert not any("prescreen" in columns for columns in screened.scores().values())
    assert not (screened.root / ".dalcli/scores/m-0001/prescreen.safetensors").exists()
    configure(screened, prescreen=0.2)
    assert "up to date" in screened.ok("score", "--full").err, "a table with all exact scores has more than is needed"


@pytest.mark.parametrize("fraction", [1e-9, 0.999])
def test_extreme_fractions(ready: SmallPool, fraction: float) -> None:
    configure(ready, prescreen=fraction)
    ready.ok("score", "--full")
    passed = sum(code == Screened.PROMISING for code in codes(ready).values())
    assert passed < 0.1 * COUNT if fraction < 0.5 else passed > 0.7 * COUNT
    outcome = ready.ok("query", "--budget", "60")
    assert len(outcome.out.splitlines()) == 61


def test_a_pool_too_small_to_prescreen_is_scored_exactly(trained: SmallPool, scored: SmallPool) -> None:
    trained.configure(scoring={"prescreen": 0.1})
    outcome = trained.ok("score", "--full")
    assert "are too few to prescreen; all are scored" in outcome.err
    assert set(codes(trained).values()) == {Screened.PROMISING}
    for sample, columns in scored.scores().items():
        assert close(trained.scores()[sample], columns)
    assert trained.json("score", "--full")["prescreen"]["recall_at_least"] == 1.0


def test_where_nothing_can_be_learnt_all_are_scored(ready: SmallPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dalcli.scores.prescreen.fit", lambda *arrays: None)
    outcome = ready.ok("score", "--full")
    assert "nothing can be learnt from this model's gradients; all are scored" in outcome.err
    assert Screened.AWAY not in codes(ready).values()


def test_a_query_takes_exact_scores_first(screened: SmallPool, _full: dict[str, dict[str, Any]]) -> None:
    found = codes(screened)
    free = {row["sample_id"] for row in screened.pool("unlabeled")}
    exact = {sample for sample in free if found[sample] != Screened.AWAY}
    delta = {sample: c["grad_sq_norm"] + 2 * c["grad_inner"] for sample, c in _full.items()}
    outcome = screened.ok("query", "--budget", "8")
    rows = [line.split(",") for line in outcome.out.splitlines()[1:]]
    assert [row[0] for row in rows] == sorted(exact, key=lambda sample: -delta[sample])[:8]
    assert f"{len(free - exact)} samples without exact scores were left out (scoring.prescreen)" in outcome.err
    assert "no finite score" not in outcome.err


def test_a_query_for_more_than_was_scored_says_so(screened: SmallPool) -> None:
    found = codes(screened)
    free = {row["sample_id"] for row in screened.pool("unlabeled")}
    exact = {sample for sample in free if found[sample] != Screened.AWAY}
    budget = len(exact) + 7
    outcome = screened.ok("query", "--budget", str(budget))
    rows = [line.split(",") for line in outcome.out.splitlines()[1:]]
    assert {row[0] for row in rows[:-7]} == exact
    assert {row[0] for row in rows[-7:]} <= free - exact
    assert all(row[3] == "" and row[4] and float(row[5]) > 0 for row in rows[-7:]), "predicted, not scored"
    assert f"only {len(exact)} eligible samples have exact scores" in outcome.err
    assert "the last 7 were drawn at random" in outcome.err
    assert "no finite score" not in outcome.err


def test_strategies_that_need_no_gradients_see_everything(screened: SmallPool, ready: SmallPool) -> None:
    configure(ready, prescreen=1.0)
    ready.ok("score", "--full")
    arguments = ("query", "--budget", "12", "--strategy", "margin")
    outcome = screened.ok(*arguments)
    assert outcome.out == ready.ok(*arguments).out
    assert "prescreen" not in outcome.err


@pytest.mark.parametrize(("gamma", "warned"), [("2", False), ("0", True), ("inf", True)])
def test_another_gamma_is_warned_about(screened: SmallPool, gamma: str, warned: bool) -> None:
    outcome = screened.ok("query", "--budget", "3", "--gamma", gamma)
    assert (f"prescreened for γ = 2; what that missed for γ = {gamma} is unknown" in outcome.err) == warned


def test_the_dry_run_foretells_disk_and_changes_nothing(ready: SmallPool) -> None:
    folder = ready.root / ".dalcli/scores"
    estimate = ready.json("score", "--full", "--dry-run")
    assert not folder.exists()
    ready.ok("score", "--full")
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    assert size == pytest.approx(estimate["score_bytes"], rel=0.2)
    assert ready.json("score", "--full", "--dry-run")["samples"] == 0


@pytest.mark.parametrize("value", ["0", "-0.5", "1.5", "nan", "x"])
def test_impossible_fractions_are_refused(ready: SmallPool, value: str) -> None:
    path = ready.root / "dalcli.yaml"
    path.write_text(path.read_text().replace("prescreen: 0.2", f"prescreen: {value}"))
    outcome = ready.run("score", "--full")
    assert outcome.code == 3
    assert "scoring.prescreen" in outcome.err


def test_a_moved_workspace_goes_on(screened: SmallPool, tmp_path: Path) -> None:
    moved = SmallPool(Path(shutil.move(screened.root, tmp_path / "elsewhere")))
    assert "up to date" in moved.ok("score", "--full").err
