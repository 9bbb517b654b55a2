"""The score table on disk: what is written comes back, in any slice, and damage is noticed and explained."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dalcli.errors import DalcliError, NotReadyError
from dalcli.scores.table import ScoreTable, ShardFile, ShardMetadata, write_shard

METADATA = ShardMetadata(model_version="m-3", micro_batch=32)


def columns(rows: int, seed: int = 0, classes: int = 4, features: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "digest": rng.integers(0, 256, (rows, 16), dtype=np.uint8),
        "grad_sq_norm": rng.random(rows),
        "grad_inner": rng.standard_normal(rows),
        "probabilities": rng.dirichlet(np.ones(classes), rows).astype(np.float32),
        "features": rng.standard_normal((rows, features)).astype(np.float32),
    }


def shards(folder: Path, sizes: list[int]) -> tuple[list[Path], dict[str, np.ndarray]]:
    parts = [columns(size, seed) for seed, size in enumerate(sizes)]
    paths = [folder / f"shard-{number:05d}.safetensors" for number in range(len(sizes))]
    for path, part in zip(paths, parts, strict=True):
        write_shard(path, part, METADATA)
    return paths, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    return shards(tmp_path, [7])[0][0]


def test_a_shard_returns_every_column_and_its_metadata(tmp_path: Path) -> None:
    written = columns(7) | {"sketch": np.ones((7, 5), np.float16)}
    path = tmp_path / "shard-0.safetensors"
    write_shard(path, written, METADATA)
    shard = ShardFile(path)
    assert len(shard) == 7
    assert shard.header.metadata == METADATA
    for name, array in shard.read(tuple(written)).items():
        np.testing.assert_array_equal(array, written[name])
        assert array.dtype == written[name].dtype
    np.testing.assert_array_equal(load_file(path)["grad_inner"], written["grad_inner"])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("rows", [[], [0], [6], [2, 3, 4], [5, 1, 1, 6], list(range(7)), [6, 5, 4]])
def test_a_row_selection_equals_indexing_the_whole(shard: Path, rows: list[int]) -> None:
    picked = ShardFile(shard).read(("features", "grad_inner"), np.array(rows, int))
    for name, array in picked.items():
        np.testing.assert_array_equal(array, columns(7)[name][rows])


@pytest.mark.parametrize("rows", [[7], [-1], [0, 9]])
def test_rows_outside_the_shard_are_refused(shard: Path, rows: list[int]) -> None:
    with pytest.raises(IndexError, match=r"0\.\.6"):
        ShardFile(shard).read(("features",), np.array(rows))


def test_views_and_fortran_order_are_stored_by_value(tmp_path: Path) -> None:
    part = columns(6)
    part["features"] = np.asfortranarray(part["features"])
    part["grad_inner"] = np.repeat(part["grad_inner"], 2)[::2]
    write_shard(tmp_path / "s", part, METADATA)
    read = ShardFile(tmp_path / "s").read(("features", "grad_inner"))
    np.testing.assert_array_equal(read["features"], columns(6)["features"])
    np.testing.assert_array_equal(read["grad_inner"], columns(6)["grad_inner"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"grad_inner": None}, "missing: .*grad_inner"),
        ({"colour": np.zeros(7)}, "unknown: .*colour"),
        ({"grad_sq_norm": np.zeros(7, np.float32)}, "grad_sq_norm"),
        ({"grad_inner": np.zeros(7, ">f8")}, "grad_inner"),
        ({"probabilities": np.zeros((6, 4), np.float32)}, "probabilities"),
        ({"probabilities": np.zeros((7, 0), np.float32)}, "probabilities"),
        ({"mc_probabilities": np.zeros((7, 5, 3), np.float16)}, "mc_probabilities"),
        ({"mc_probabilities": np.zeros((7, 5, 4), np.float32)}, "mc_probabilities"),
        ({"features": np.zeros(7, np.float32)}, "features"),
        ({"digest": np.zeros((7, 15), np.uint8)}, "digest"),
        ({"digest": np.zeros((7, 16), np.uint8)}, "twice"),
    ],
)
def test_a_malformed_shard_is_never_written(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    part = {name: array for name, array in (columns(7) | change).items() if array is not None}
    with pytest.raises(ValueError, match=complaint):
        write_shard(tmp_path / "s", part, METADATA)
    assert not list(tmp_path.iterdir())


def test_an_empty_shard_is_legal(tmp_path: Path) -> None:
    write_shard(tmp_path / "s", columns(0), METADATA)
    assert list(ScoreTable([tmp_path / "s"]).blocks(("features",))) == []
    assert ShardFile(tmp_path / "s").read(("features",))["features"].shape == (0, 3)


@pytest.mark.parametrize("max_bytes", [1, 100, 1 << 20])
def test_blocks_stream_all_rows_in_order_whatever_their_size(tmp_path: Path, max_bytes: int) -> None:
    paths, whole = shards(tmp_path, [5, 1, 8])
    blocks = list(ScoreTable(paths).blocks(("features", "grad_inner"), max_bytes))
    np.testing.assert_array_equal(np.concatenate([block.digests for block in blocks]), whole["digest"])
    np.testing.assert_array_equal(np.concatenate([block["features"] for block in blocks]), whole["features"])
    row_bytes = 16 + 3 * 4 + 8
    assert all(len(block) <= max(1, max_bytes // row_bytes) for block in blocks)
    assert len(ScoreTable(paths)) == 14


def test_lookup_answers_in_the_order_asked(tmp_path: Path) -> None:
    paths, whole = shards(tmp_path, [5, 9, 8])
    rows = np.array([21, 0, 7, 7, 13])
    found = ScoreTable(paths).lookup(whole["digest"][rows], ("probabilities", "grad_inner"))
    np.testing.assert_array_equal(found["probabilities"], whole["probabilities"][rows])
    np.testing.assert_array_equal(found["grad_inner"], whole["grad_inner"][rows])
    nothing = ScoreTable(paths).lookup(np.empty((0, 16), np.uint8), ("probabilities",))
    assert nothing["probabilities"].shape == (0, 4)


def test_lookup_tells_digests_apart_that_differ_only_in_trailing_zeros(tmp_path: Path) -> None:
    part = columns(3)
    part["digest"] = np.zeros((3, 16), np.uint8)
    part["digest"][1, 0] = part["digest"][2, 15] = 1
    write_shard(tmp_path / "s", part, METADATA)
    found = ScoreTable([tmp_path / "s"]).lookup(part["digest"][[2, 0, 1]], ("grad_inner",))
    np.testing.assert_array_equal(found["grad_inner"], part["grad_inner"][[2, 0, 1]])


def test_lookup_of_an_unscored_sample_names_it_and_the_command(tmp_path: Path) -> None:
    paths, whole = shards(tmp_path, [5])
    stranger = np.full((1, 16), 0xAB, np.uint8)
    with pytest.raises(NotReadyError, match=f"1 of 3 .*s-{'ab' * 16}\n.*dalcli score"):
        ScoreTable(paths).lookup(np.concatenate([whole["digest"][:2], stranger]), ("grad_inner",))


def test_lookup_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    count = 12
    for number in range(count):
        write_shard(tmp_path / f"{number}", columns(2000, seed=number, features=200), METADATA)
    table = ScoreTable([tmp_path / f"{number}" for number in range(count)])
    wanted = columns(2000, seed=count - 1, features=200)["digest"][:50]
    tracemalloc.start()
    table.lookup(wanted, ("features",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2000 * 200 * 4 / 2  # half of one shard's features


def expect_unusable(path: Path, reason: str) -> None:
    with pytest.raises(DalcliError, match=reason) as caught:
        list(ScoreTable([path]).blocks(("grad_inner", "features")))
    assert str(path) in caught.value.message
    assert caught.value.remedy is not None
    assert "dalcli score" in caught.value.remedy


@pytest.mark.parametrize("length", [0, 5, 8, 100, -1])
def test_a_truncated_shard_is_reported(shard: Path, length: int) -> None:
    shard.write_bytes(shard.read_bytes()[:length])
    expect_unusable(shard, "cannot use this score file")


def test_a_missing_shard_is_reported(tmp_path: Path) -> None:
    expect_unusable(tmp_path / "shard-0.safetensors", "missing")


def test_a_folder_in_place_of_a_shard_is_reported(tmp_path: Path) -> None:
    expect_unusable(tmp_path, "cannot use this score file")


def test_a_flipped_bit_is_reported_before_the_last_row_is_handed_out(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    value = columns(7)["grad_inner"][3].tobytes()
    content[content.index(value)] ^= 1
    shard.write_bytes(content)
    rows = 0
    with pytest.raises(DalcliError, match="'grad_inner' has changed"):
        for block in ScoreTable([shard]).blocks(("grad_inner",), max_bytes=24):
            rows += len(block)
    assert rows == 6
    with pytest.raises(DalcliError, match="'grad_inner' has changed"):
        ShardFile(shard).read(("grad_inner",))
    ShardFile(shard).read(("features",))


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (None, "format version None"),
        ({"dalcli": '{"format_version": 2}'}, "format version 2"),
        ({"dalcli": "{"}, "bad header"),
        ({"dalcli": "3"}, "bad header"),
        ({"dalcli": '{"format_version": 1}'}, "bad header"),
        ({"dalcli": '{"format_version": 1, "model_version": "a", "micro_batch": "x", "checksums": {}}'}, "bad header"),
        ({"dalcli": '{"format_version": 1, "model_version": "a", "micro_batch": 1, "checksums": []}'}, "bad header"),
    ],
)
def test_a_foreign_header_is_reported(tmp_path: Path, metadata: dict[str, str] | None, reason: str) -> None:
    save_file(columns(3), tmp_path / "s", metadata=metadata)
    expect_unusable(tmp_path / "s", reason)


def test_a_file_with_foreign_arrays_is_reported(tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3)}, tmp_path / "s", metadata={"dalcli": '{"format_version": 1}'})
    expect_unusable(tmp_path / "s", "columns missing")


def test_shards_of_two_versions_do_not_mix(tmp_path: Path) -> None:
    (path,), _ = shards(tmp_path, [3])
    write_shard(tmp_path / "other", columns(3, seed=9), ShardMetadata("m-4", 32))
    write_shard(tmp_path / "wider", columns(3, seed=9, classes=5), METADATA)
    for stranger in ("other", "wider"):
        with pytest.raises(DalcliError, match=f"{stranger}: .*{path.name}"):
            list(ScoreTable([path, tmp_path / stranger]).blocks(("grad_inner",)))


def test_a_column_that_was_not_scored_is_reported(shard: Path) -> None:
    with pytest.raises(DalcliError, match="no column 'sketch'"):
        list(ScoreTable([shard]).blocks(("sketch",)))


def test_a_misspelt_column_is_a_programming_error(shard: Path) -> None:
    with pytest.raises(ValueError, match="'feature'"):
        ShardFile(shard).read(("feature",))


def test_errors_of_the_consumer_pass_through_a_stream(shard: Path) -> None:
    with pytest.raises(OSError, match="mine"):
        for _ in ScoreTable([shard]).blocks(("grad_inner",)):
            raise OSError("mine")


def test_a_table_has_at_least_one_shard() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ScoreTable([])


def test_reading_and_selecting_never_import_torch() -> None:
    program = (
        "import sys, dalcli.scores.table, dalcli.strategies.registry, dalcli.evaluation.metrics;"
        "assert not {'torch', 'scipy', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
