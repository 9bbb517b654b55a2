"""Which version a command means, whether it is fresh, and whether its files are there."""

from __future__ import annotations

from pathlib import Path

import pytest
from dalcli_runner import ok, write_labels
from workspaces import add_model, make, session

from dalcli.errors import NotReadyError, UsageError
from dalcli.workspace.versions import META_NAME, WEIGHTS_NAME, are_there, named_version, remove_leftovers, require_fresh


def test_the_newest_is_meant_unless_another_is_named(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 3)
    with session(root) as opened, opened.database.read() as connection, pytest.raises(NotReadyError, match="no model"):
        named_version(connection, None)
    add_model(root)
    add_model(root)
    with session(root) as opened, opened.database.read() as connection:
        assert named_version(connection, None).version == "m-0002"
        assert named_version(connection, "m-0001").version == "m-0001"
        with pytest.raises(UsageError, match=r"no version 'm-001': did you mean 'm-0001'\?\nknown: m-0001, m-0002"):
            named_version(connection, "m-001")


@pytest.mark.parametrize(("labels", "said"), [(1, "1 label is newer than model m-0001"), (2, "2 labels are newer")])
def test_a_model_that_has_not_seen_labels_is_refused(tmp_path: Path, labels: int, said: str) -> None:
    root = make(tmp_path / "work", 3)
    rows = ok(root, "query", "--budget", "2").rows
    add_model(root)
    with session(root) as opened, opened.database.read() as connection:
        require_fresh(connection, named_version(connection, None), "query")
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows[:labels], all_of_them="cat"))
    with (
        session(root) as opened,
        opened.database.read() as connection,
        pytest.raises(NotReadyError, match=f"{said}(.|\n)*dalcli train(.|\n)*--stale-ok to query with the old model"),
    ):
        require_fresh(connection, named_version(connection, None), "query")


def test_files_are_there_when_both_are_and_leftovers_go(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_NAME).touch()
    assert not are_there(tmp_path)
    (tmp_path / META_NAME).touch()
    assert are_there(tmp_path)
    (tmp_path / f".{META_NAME}.0123.tmp").touch()
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [META_NAME, WEIGHTS_NAME]
