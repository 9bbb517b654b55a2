"""Light commands stay light in a pool of 100,000 samples (rows written directly: no images are needed)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dalcli_runner import Outcome, ok
from workspaces import add_model, add_scores, make, session

from dalcli.state.batches import BatchRow, issue, next_id

SAMPLES = 100_000
LABELED = 20_000
# Each takes about a second on two cores that nothing else uses; the limit is for machines that are busy.
LIMIT_SECONDS = 6.0


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make(tmp_path_factory.mktemp("large") / "work", 1)
    with session(root) as opened, opened.database.write() as connection:
        ids = [f"s-{hashlib.sha256(str(n).encode()).hexdigest()[:32]}" for n in range(SAMPLES)]
        connection.executemany(
            "INSERT INTO sample (sample_id, purpose, reserve_position, width, height, added_at)"
            " VALUES (?, 'training', ?, 4, 4, 'now')",
            [(sample, n / SAMPLES) for n, sample in enumerate(ids)],
        )
        connection.executemany(
            "INSERT INTO file (path, sample, size, mtime_ns, added_at) SELECT ?, id, 1, 1, 'now' FROM sample"
            " WHERE sample_id = ?",
            [(f"pool/{n // 1000}/image-{n}.jpg", sample) for n, sample in enumerate(ids)],
        )
        connection.executemany(
            "INSERT INTO vote (sample, class, annotator, file, line, recorded_at)"
            " SELECT id, ?, '', 'old.csv', 1, 'now' FROM sample WHERE sample_id = ?",
            [(n % 2, sample) for n, sample in enumerate(ids[:LABELED])],
        )
        keys = [row["id"] for row in connection.execute("SELECT id FROM sample ORDER BY id LIMIT 20001, 20000")]
        for start in range(0, len(keys), 1000):
            rows = [
                BatchRow(rank, key, None, None, None, "random", "active")
                for rank, key in enumerate(keys[start : start + 1000], 1)
            ]
            issue(
                connection, next_id(connection), rows, b"", options="\n", purpose="training", requested=1000,
                model=None, key=None,
            )  # fmt: skip
    return root


def timed(action: Callable[[], Outcome]) -> Outcome:
    started = time.monotonic()
    outcome = action()
    seconds = time.monotonic() - started
    print(f"{seconds:.2f} s")  # noqa: T201  (pytest -s: what it takes here)
    assert seconds < LIMIT_SECONDS
    return outcome


def test_status(root: Path) -> None:
    status = timed(lambda: ok(root, "status", "--json")).json
    assert status["states"]["training"]["labeled"] == LABELED
    assert status["states"]["training"]["in flight"] == 20_000


def test_cold_start_query(root: Path) -> None:
    assert len(timed(lambda: ok(root, "query", "--new", "--budget", "1000")).rows) == 1000


@pytest.mark.parametrize("column", ["sample_id", "path"])
def test_ingesting_ten_thousand_rows(root: Path, column: str) -> None:
    rows = ok(root, "pool", "list", "--state", "in flight").rows[:10_000]
    text = f"{column},label\n" + "".join(f"{row[column]},cat\n" for row in rows)
    (root / "labels.csv").write_text(text)
    timed(lambda: ok(root, "ingest-labels", "labels.csv"))
    timed(lambda: ok(root, "ingest-labels", "labels.csv"))


def test_paths_that_are_written_otherwise(root: Path) -> None:
    rows = ok(root, "pool", "list", "--state", "unlabeled").rows[:10_000]
    text = "path,label\n" + "".join(f"/data/local-files/?d=mnt/{row['path']},cat\n" for row in rows)
    (root / "labels.csv").write_text(text)
    timed(lambda: ok(root, "ingest-labels", "labels.csv"))


def test_query_on_stored_scores_and_status_with_a_model(root: Path) -> None:
    add_model(root)
    add_scores(root)
    timed(lambda: ok(root, "status"))
    assert len(timed(lambda: ok(root, "query", "--new", "--budget", "1000")).rows) == 1000


def test_batches(root: Path) -> None:
    timed(lambda: ok(root, "batch", "list"))
    timed(lambda: ok(root, "batch", "show", "b-0001"))
    timed(lambda: ok(root, "pool", "list"))
