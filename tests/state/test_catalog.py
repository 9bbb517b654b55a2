"""Looking samples up: by purpose, by id, by file."""

from __future__ import annotations

from pathlib import Path

from pools_of_samples import pool, record

from dalcli.data.identity import sample_id
from dalcli.state import catalog, files
from dalcli.state.files import FileRecord, Registration


def test_readable_ids_are_those_of_the_images_of_a_purpose(tmp_path: Path) -> None:
    with pool(tmp_path, 4) as database, database.write() as connection:
        files.register(connection, [record(5, purpose="evaluation")], 0.0, Registration())
        catalog.quarantine(connection, {2: "damaged"})
        for purpose, count in (("training", 3), ("evaluation", 1)):
            found = catalog.readable_ids(connection, purpose)
            assert sorted(found) == [image.sample_id for image in catalog.images(connection, purpose)]
            assert len(found) == count


def test_every_sample_and_every_file_with_bytes_has_its_key(tmp_path: Path) -> None:
    with pool(tmp_path, 2) as database, database.write() as connection:
        catalog.quarantine(connection, {2: "damaged"})
        others = [record(1, "copies/1.png"), FileRecord("lost.png", None, problem="no such file")]
        files.register(connection, others, 0.0, Registration())
        assert catalog.keys_by_id(connection) == {sample_id(b"1"): 1, sample_id(b"2"): 2}
        assert files.sample_keys(connection) == {"photos/1.png": 1, "photos/2.png": 2, "copies/1.png": 1}
