"""Light commands stay light in large pools (rows written directly: no images are needed).

Nothing is timed. The same command runs in pools of different sizes, and its work is counted: a further sample may cost
only so much, and in a large pool no more than in a small one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from dalcli_runner import Outcome, ok
from workloads import Work, counting
from workspaces import add_model, add_scores, make, session

from dalcli.state.batches import BatchOptions, BatchRow, issue, next_id

SIZES = (200, 1_000, 4_000, 16_000)  # the first is for what happens once in a process: imports, compiled patterns
BATCHES = 20
GROWTH = 1.25  # how much dearer a sample may be in the largest pool: n log n makes 1.16, n² makes 4


@dataclass(frozen=True)
class Pool:
    """A workspace of ``size`` samples: a fifth labeled, a fifth in flight in 20 batches, the rest unlabeled."""

    root: Path
    size: int


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Pool]:
    return [filled(tmp_path_factory.mktemp("pool") / "work", size) for size in SIZES]


def filled(root: Path, size: int) -> Pool:
    make(root, 1)
    with session(root) as opened, opened.database.write() as connection:
        ids = [f"s-{hashlib.sha256(str(n).encode()).hexdigest()[:32]}" for n in range(size)]
        connection.executemany(
            "INSERT INTO sample (sample_id, purpose, reserve_position, width, height, added_at)"
            " VALUES (?, 'training', ?, 4, 4, 'now')",
            [(sample, n / size) for n, sample in enumerate(ids)],
        )
        connection.executemany(
            "INSERT INTO file (path, sample, size, mtime_ns, added_at) SELECT ?, id, 1, 1, 'now' FROM sample"
            " WHERE sample_id = ?",
            [(f"pool/{n // 1000}/image-{n}.jpg", sample) for n, sample in enumerate(ids)],
        )
        connection.executemany(
            "INSERT INTO vote (sample, class, annotator, file, line, recorded_at)"
            " SELECT id, ?, '', 'old.csv', 1, 'now' FROM sample WHERE sample_id = ?",
            [(n % 2, sample) for n, sample in enumerate(ids[: size // 5])],
        )
        chosen = connection.execute("SELECT id FROM sample ORDER BY id LIMIT ?, ?", (size // 5 + 1, size // 5))
        keys = [row["id"] for row in chosen]
        each = len(keys) // BATCHES
        for start in range(0, len(keys), each):
            rows = [
                BatchRow(rank, key, None, None, None, "random", "active")
                for rank, key in enumerate(keys[start : start + each], 1)
            ]
            issue(
                connection, next_id(connection), rows, b"", options=BatchOptions({}, {}), purpose="training",
                requested=each, model=None, key=None,
            )  # fmt: skip
    return Pool(root, size)


def ok_and_light(
    pools: Sequence[Pool], arguments: Callable[[Pool], Sequence[str]], python: float, sql: float
) -> Outcome:
    """What a command line prints in the largest pool; ``python`` and ``sql`` are what a further sample may cost.

    That is twice what it cost when this was written: another way of doing the same may be somewhat dearer.
    """
    found: list[Work] = []
    for pool in pools:
        with counting() as work:
            outcome = ok(pool.root, *arguments(pool))
        found.append(work)
    for what, limit, amounts in (
        ("python", python, [work.python for work in found]),
        ("sql", sql, [work.sql for work in found]),
    ):
        assert min(amounts) > 0, f"{what} is not counted"
        in_small, in_large = ((amounts[n] - amounts[n - 1]) / (pools[n].size - pools[n - 1].size) for n in (-2, -1))
        print(f"{what}: {in_small:.2f} and {in_large:.2f} a sample, {amounts[-1]} in all")  # noqa: T201  (pytest -s)
        assert in_large <= limit, f"{what}: {in_large:.2f} a sample"
        assert in_large <= GROWTH * in_small + 0.1, f"{what}: {in_small:.2f} a sample became {in_large:.2f}"
    return outcome


def always(*arguments: str) -> Callable[[Pool], Sequence[str]]:
    return lambda pool: arguments


def asking(pool: Pool) -> Sequence[str]:
    return "query", "--new", "--budget", str(pool.size // 100)


def test_status(pools: Sequence[Pool]) -> None:
    status = ok_and_light(pools, always("status", "--json"), 0.4, 170).json
    assert status["states"]["training"]["labeled"] == 3_200
    assert status["states"]["training"]["in flight"] == 3_200


def test_plan(pools: Sequence[Pool]) -> None:
    found = ok_and_light(pools, always("plan", "--json"), 0.4, 170).json
    assert found["standing"]["labels_now"] == 3_200


def test_cold_start_query(pools: Sequence[Pool]) -> None:
    assert len(ok_and_light(pools, asking, 28, 120).rows) == 160


def label_a_tenth(pools: Sequence[Pool], state: str, column: str, written: str) -> None:
    """A label file for a tenth of each pool: samples of one ``state``, each ``written`` into ``column``."""
    for pool in pools:
        rows = ok(pool.root, "pool", "list", "--state", state).rows[: pool.size // 10]
        assert len(rows) == pool.size // 10
        text = f"{column},label\n" + "".join(f"{written.format(**row)},cat\n" for row in rows)
        (pool.root / "labels.csv").write_text(text)


@pytest.mark.parametrize("column", ["sample_id", "path"])
def test_ingesting_a_tenth_of_the_pool(pools: Sequence[Pool], column: str) -> None:
    label_a_tenth(pools, "in flight", column, f"{{{column}}}")
    ok_and_light(pools, always("ingest-labels", "labels.csv"), 50, 110)
    ok_and_light(pools, always("ingest-labels", "labels.csv"), 50, 110)


def test_paths_that_are_written_otherwise(pools: Sequence[Pool]) -> None:
    label_a_tenth(pools, "unlabeled", "path", "/data/local-files/?d=mnt/{path}")
    ok_and_light(pools, always("ingest-labels", "labels.csv"), 120, 90)


def test_query_on_stored_scores_and_status_with_a_model(pools: Sequence[Pool]) -> None:
    for pool in pools:
        add_model(pool.root)
        add_scores(pool.root)
    ok_and_light(pools, always("status"), 18, 420)
    assert len(ok_and_light(pools, asking, 50, 400).rows) == 160


def test_batches(pools: Sequence[Pool]) -> None:
    ok_and_light(pools, always("batch", "list"), 0.1, 27)
    ok_and_light(pools, always("batch", "show", "b-0001"), 20, 14)
    ok_and_light(pools, always("pool", "list"), 44, 170)
