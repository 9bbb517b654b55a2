"""Choosing the first batch by what images look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import finish, message, ok, problems, run, start, write_labels
from PIL import Image
from simulations import things, write
from workspaces import ask, dump

from dalcli.querying import cold_start, selection
from dalcli.strategies.memory_table import MemoryTable
from dalcli.workspace.session import Session

COLOURS = [(220, 30, 30), (30, 200, 40), (30, 60, 220), (230, 220, 40), (200, 40, 210), (30, 210, 210)]
PICTURED = ["coreset", "typiclust", "maxherding"]


def coloured(folder: Path, sizes: tuple[int, ...], mode: str = "RGB") -> Path:
    """Noisy patches: ``sizes[c]`` of colour c, named by it."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for place, count in enumerate(sizes):
        for number in range(count):
            pixels = np.clip(COLOURS[place] + rng.normal(0, 12, (10, 10, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(folder / f"{place}-{number}.png")
    return folder


def workspace(root: Path, sizes: tuple[int, ...], strategy: str, mode: str = "RGB", more: str = "") -> Path:
    coloured(root / "photos", sizes, mode)
    (root / "dalcli.yaml").write_text(f"evaluation: {{reserve: 0}}\nquery: {{cold_start: {strategy}}}\n{more}")
    ok(root, "init", "photos", "--classes", "cat,dog")
    return root


def colours(rows: list[dict[str, str]]) -> list[str]:
    return [Path(row["path"]).name.split("-")[0] for row in rows]


@pytest.mark.parametrize("strategy", PICTURED)
def test_every_cluster_is_covered(tmp_path: Path, strategy: str) -> None:
    """Six colours, the rarest one ninth as frequent as the commonest: six picks at random would miss some."""
    root = workspace(tmp_path / "w", (54, 30, 20, 12, 8, 6), strategy)
    first = ok(root, "query", "--budget", "6")
    assert sorted(colours(first.rows)) == list("012345")
    assert f"a cold start by {strategy}" in first.err
    assert {(row["strategy"], row["score"], row["pseudo_label"], row["confidence"]) for row in first.rows} == {
        (strategy, "", "", "")
    }


@pytest.mark.parametrize("strategy", PICTURED)
def test_what_is_labeled_or_in_flight_is_not_asked_for_again(tmp_path: Path, strategy: str) -> None:
    root = workspace(tmp_path / "w", (20, 20, 20, 20, 20, 20), strategy)
    first = ok(root, "query", "--budget", "2")
    ok(root, "ingest-labels", write_labels(root / "l.csv", first.rows, all_of_them="cat"))
    second = ok(root, "query", "--budget", "2")
    third = ok(root, "query", "--new", "--budget", "2")
    assert sorted(colours(first.rows + second.rows + third.rows)) == list("012345")


@pytest.mark.parametrize("strategy", PICTURED)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_few_images_and_grey_ones_will_do(tmp_path: Path, strategy: str, mode: str) -> None:
    root = workspace(tmp_path / "w", (4, 4, 4, 4, 2, 2), strategy, mode)
    rows = ok(root, "query", "--budget", "15").rows
    assert len({row["sample_id"] for row in rows}) == 15
    assert len(ok(root, "query", "--new", "--budget", "15").rows) == 5


def test_the_same_images_in_another_order_give_the_same_batch(tmp_path: Path) -> None:
    one = workspace(tmp_path / "one", (9, 9, 9, 9, 9, 9), "typiclust", more="data: {cache: false}\n")
    other = tmp_path / "other"
    for number, path in enumerate(sorted((one / "photos").iterdir(), reverse=True)):
        (other / "photos").mkdir(parents=True, exist_ok=True)
        (other / "photos" / f"{number:03d}-{path.name}").write_bytes(path.read_bytes())
    (other / "dalcli.yaml").write_text("evaluation: {reserve: 0}\nquery: {cold_start: typiclust}\n")
    ok(other, "init", "photos", "--classes", "cat,dog")
    found = [[row["sample_id"] for row in ok(root, "query", "--budget", "7").rows] for root in (one, other)]
    assert found[0] == found[1]


def test_a_second_run_prints_the_same_bytes_and_changes_nothing(tmp_path: Path) -> None:
    root = workspace(tmp_path / "w", (4, 4, 4, 4, 4, 4), "typiclust")
    first, before = ok(root, "query", "--budget", "5"), dump(root)
    assert ok(root, "query", "--budget", "5").out == first.out
    assert dump(root) == before


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many times the images were looked at so far: one entry each."""
    features, times = cold_start.features, []

    def counting(session: Session) -> MemoryTable:
        times.append(len(times))
        return features(session)

    monkeypatch.setattr(cold_start, "features", counting)
    return times


def test_a_lost_race_is_no_reason_to_look_at_the_images_again(
    tmp_path: Path, described: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workspace(tmp_path / "w", (6, 6, 6, 6, 6, 6), "coreset")
    select, other = selection.select_batch, []

    def slow(*arguments: object) -> object:
        chosen = select(*arguments)  # type: ignore[arg-type]
        if not other:
            other.append(finish(start(root, "query", "--new", "--budget", "2")))
        return chosen

    monkeypatch.setattr(selection, "select_batch", slow)
    mine = ok(root, "query", "--new", "--budget", "4")
    assert other[0].code == 0
    assert sorted(colours(mine.rows + other[0].rows)) == list("012345")
    assert len(described) == 1


def test_images_that_come_in_while_others_are_looked_at_are_looked_at_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workspace(tmp_path / "w", (6, 6, 6, 6), "coreset")
    coloured(root / "more", (0, 0, 0, 0, 6, 6))
    features, times = cold_start.features, []

    def slow(session: Session) -> MemoryTable:
        found = features(session)
        times.append(len(times))
        if len(times) == 1:
            assert finish(start(root, "pool", "add", "more")).code == 0
        return found

    monkeypatch.setattr(cold_start, "features", slow)
    assert sorted(colours(ok(root, "query", "--budget", "6").rows)) == list("012345")
    assert len(times) == 2


def test_unreadable_images_are_set_aside_and_never_chosen(tmp_path: Path) -> None:
    root = workspace(tmp_path / "w", (9, 9, 9, 9, 9, 9), "coreset")
    broken = root / "photos" / "3-3.png"
    status = broken.stat()
    broken.write_bytes(broken.read_bytes()[:60].ljust(status.st_size, b"\0"))
    gone = root / "photos" / "4-4.png"
    gone.unlink()
    asked = ok(root, "query", "--budget", "54")
    assert len(asked.rows) == 52
    assert not {"3-3.png", "4-4.png"} & {Path(row["path"]).name for row in asked.rows}
    assert "can no longer be read" in asked.err
    assert ask(root, "SELECT count(*) FROM sample WHERE quarantine IS NOT NULL") == [(2,)]


@pytest.mark.parametrize("strategy", ["margin", "dynamical", "badge", "bald", "albl", "lcmd"])
def test_strategies_that_need_a_model_are_refused_with_those_that_do_not(tmp_path: Path, strategy: str) -> None:
    root = workspace(tmp_path / "w", (2, 2, 2), strategy)
    before = dump(root)
    refused = run(root, "query", "--budget", "2")
    assert refused.code == 3
    what, remedy = message(refused)
    assert f"query.cold_start: {strategy} chooses by what a model says" in what
    assert {"random", *PICTURED} <= set(remedy.replace(",", "").split())
    assert strategy not in remedy.replace(",", "").split()
    assert dump(root) == before


def test_a_composition_of_features_alone_will_do(tmp_path: Path) -> None:
    compose = "{score: uniform, selection: k-center, candidates: null}"
    root = workspace(tmp_path / "w", (9, 9, 9, 9, 9, 9), f"composed, compose: {compose}")
    assert sorted(colours(ok(root, "query", "--budget", "6").rows)) == list("012345")


def test_a_small_memory_limit_takes_fewer_components() -> None:
    assert cold_start._components(10, 10**6) == 64
    assert 8 * 10**6 * (cold_start._components(10**6, 10**8) + 1) <= 10**8
    assert cold_start._components(10**9, 10**6) == cold_start.FEWEST


def test_a_simulation_can_start_so_and_refuses_what_cannot(tmp_path: Path) -> None:
    things(tmp_path / "things", 10)
    keys = {"seeds": 1, "rounds": 1, "strategies": ["random"]}
    config = write(tmp_path / "c.yaml", **keys, initial_choice=["random", "typiclust"])
    ok(tmp_path, "simulate", config, "--jobs", "1", "-q")
    refused = run(tmp_path, "simulate", write(tmp_path / "d.yaml", **keys, initial_choice="margin"))
    assert refused.code == 3
    assert any("initial_choice.0: margin chooses by what a model says" in problem for problem in problems(refused))
