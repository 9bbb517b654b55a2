"""What registration does to samples and files, case by case (the invariants are in test_pool_invariants.py)."""

from __future__ import annotations

from pathlib import Path

from pools_of_samples import pool, record

from dalcli.state import catalog, files, ledger
from dalcli.state.files import FileRecord, Registration
from dalcli.state.ledger import Vote


def registered(path: Path, *records: FileRecord, reserve: float = 0.0) -> tuple[Registration, dict[str, str]]:
    """What became of the records, and the purpose of every sample."""
    result = Registration()
    with pool(path) as database, database.write() as connection:
        for one in records:  # one by one, as in runs of their own
            files.register(connection, [one], reserve, result)
        return result, dict(connection.execute("SELECT sample_id, purpose FROM sample"))


def test_the_reserve_takes_samples_below_its_fraction(tmp_path: Path) -> None:
    from dataclasses import replace

    low, high = (replace(record(number, purpose=None), reserve_position=u) for number, u in ((1, 0.2), (2, 0.20001)))
    _, purposes = registered(tmp_path, low, high, reserve=0.20001)
    assert purposes == {low.sample_id: "evaluation", high.sample_id: "training"}


def test_counts(tmp_path: Path) -> None:
    result, _ = registered(
        tmp_path,
        record(1),
        record(1),
        record(1, "copy.png"),
        FileRecord("gone.png", None, problem="gone"),
        record(1, "test.png", purpose="evaluation"),
    )
    assert (result.files, result.new_samples, result.duplicates, result.quarantined) == (5, 1, 2, 1)
    assert result.moved_to_evaluation == 1


def test_a_pool_image_that_the_test_set_has_already_is_counted_once(tmp_path: Path) -> None:
    from dataclasses import replace

    test = replace(record(1, "test.png", purpose="evaluation"), reserve_position=0.9)
    copy = replace(record(1, "pool.png", purpose=None), reserve_position=0.9)
    result, purposes = registered(tmp_path, test, copy, copy)
    assert result.moved_to_evaluation == 1
    assert set(purposes.values()) == {"evaluation"}


def test_known_files_are_the_readable_ones(tmp_path: Path) -> None:
    from dataclasses import replace

    with pool(tmp_path, 2) as database, database.write() as connection:
        files.register(connection, [replace(record(3), problem="damaged")], 0.0, Registration())
        catalog.quarantine(connection, {2: "gone"})
        known = files.known_files(connection)
    assert {path: (k.sample, k.purpose, k.size, k.mtime_ns) for path, k in known.items()} == {
        "photos/1.png": (1, "training", 1, 1)
    }


def test_renaming_in_a_circle(tmp_path: Path) -> None:
    with pool(tmp_path, 3) as database, database.write() as connection:
        before = dict(files.below(connection, "photos"))
        circle = [(f"photos/{a}.png", f"photos/{b}.png") for a, b in ((1, 2), (2, 3), (3, 1))]
        files.rename(connection, circle)
        assert dict(files.below(connection, "photos")) == {new: before[old] for old, new in circle}


def test_renaming_onto_a_file_that_is_not_renamed(tmp_path: Path) -> None:
    with pool(tmp_path, 2) as database, database.write() as connection:
        ledger.record(connection, [Vote(sample=2, label=0, annotator="", file="f", line=1)])
        files.rename(connection, [("photos/1.png", "photos/2.png")])
        found = catalog.unreadable_files(connection)
        assert [path for path, _ in files.below(connection, "photos")] == ["photos/2.png"]
    assert [(f.path, f.reason) for f in found] == [("", "photos/2.png holds other bytes now")]


def test_below_is_a_folder_not_a_prefix(tmp_path: Path) -> None:
    with pool(tmp_path) as database, database.write() as connection:
        places = ["a/1.png", "ab/2.png", "a.png", "/a/3.png", "[a]/4.png"]
        files.register(connection, [record(n, place) for n, place in enumerate(places)], 0.0, Registration())
        assert [path for path, _ in files.below(connection, "a")] == ["a/1.png"]
        assert [path for path, _ in files.below(connection, ".")] == ["[a]/4.png", "a.png", "a/1.png", "ab/2.png"]
        assert [path for path, _ in files.below(connection, "/a/3.png")] == ["/a/3.png"]
