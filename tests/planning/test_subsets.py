"""Models on random parts of the labels: where few versions were measured, and the only tests here that train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from workspaces import ask

from dalcli.planning import subsets
from tests.frozen_pools import make_frozen_pool
from tests.small_pools import SmallPool, copied, make_pool


def measured(pool: SmallPool) -> SmallPool:
    """24 labels, one version, measured."""
    pool.label(pool.pool()[:24])
    pool.label(pool.pool(purpose="evaluation"))
    pool.ok("train")
    pool.ok("evaluate")
    return pool


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> SmallPool:
    return measured(make_frozen_pool(tmp_path_factory.mktemp("frozen") / "work", evaluation={"reserve": 0.35}))


def fits(pool: SmallPool) -> list[Any]:
    return ask(pool.root, "SELECT size, seed, report FROM subset_fit ORDER BY size, seed")


def test_sizes_are_nested_and_spread() -> None:
    assert subsets.sizes(1600, 10) == (100, 174, 303, 528, 919, 1600)
    assert subsets.sizes(0, 10) == ()
    assert subsets.sizes(12, 10) == (12,)


def test_by_itself_on_a_frozen_network(frozen: SmallPool, tmp_path: Path) -> None:
    pool = copied(frozen, tmp_path / "copy")
    first = pool.run("plan", "--json")
    assert "training 26 models on random parts of 24 labels" in first.err
    found = pool.json("plan")
    assert found["basis"]["kind"] == "random" and found["basis"]["points"] == 6
    assert "from 26 models trained on random parts" in found["basis"]["cautions"][0]
    made = fits(pool)
    sizes = sorted({size for size, _, _ in made})
    assert len(sizes) == 6 and sizes[-1] == 24 and len(made) == 5 * 5 + 1
    # All labels: what the version itself was measured at.
    assert made[-1][2].count("accuracy") and found["standing"]["value"] == pytest.approx(
        pool.json("evaluate")["report"]["accuracy"]
    )
    second = pool.run("plan", "--json")
    assert (second.out, "training" in second.err) == (first.out, False)
    assert fits(pool) == made
    assert pool.json("plan", "history")["forecasts"][0]["kind"] == "random"


def test_a_killed_run_continues_to_the_same(frozen: SmallPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, killed = copied(frozen, tmp_path / "whole"), copied(frozen, tmp_path / "killed")
    whole.ok("plan")
    left = iter(range(7))
    store = subsets.forecasts.store_fit

    def dying(*arguments: Any) -> None:
        store(*arguments)
        if next(left) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(subsets.forecasts, "store_fit", dying)
        assert killed.run("plan").code == 130
    assert len(fits(killed)) in {5, 6}
    assert "training 2" in killed.run("plan").err
    assert fits(killed) == fits(whole)


def test_all_of_a_model_is_trained_on_parts_only_when_asked(tmp_path: Path) -> None:
    pool = measured(make_pool(tmp_path / "work", training={"max_epochs": 1}))
    assert pool.json("plan")["verdict"] == "insufficient-data"
    assert fits(pool) == []
    asked = pool.run("plan", "--subsets", "--json")
    assert asked.code == 0 and "about a minute" in asked.err
    assert len(fits(pool)) == 26
    assert pool.json("plan", "--subsets")["basis"]["kind"] == "random"
    assert pool.json("plan")["basis"]["kind"] == "random", "once they are there, they are used"


def test_nothing_to_take_parts_of(tmp_path: Path) -> None:
    pool = make_frozen_pool(tmp_path / "work")
    failed = pool.run("plan", "--subsets")
    assert failed.code == 5 and "there is no model" in failed.err


def test_missing_files_are_no_reason_not_to_plan(frozen: SmallPool, tmp_path: Path) -> None:
    pool = copied(frozen, tmp_path / "copy")
    (pool.version() / "model.safetensors").unlink()
    outcome = pool.ok("plan", "--json")
    assert "no models were trained on parts of the labels" in outcome.err
    assert pool.run("plan", "--subsets").code == 1
