"""One reader of label files: what ``ingest-labels`` refuses is no truth for ``diagnose --labels`` either."""

from __future__ import annotations

from pathlib import Path

import pytest
from dalcli_runner import ok, problems, run
from workspaces import dump, ids, make, session

from dalcli.errors import BadInputError
from dalcli.workspace.label_files import true_labels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "work", 3)


def truths(root: Path, text: str) -> dict[str, str]:
    """Labels that a file tells, by the name of the image."""
    (root / "truth.csv").write_text(text)
    with session(root) as opened, opened.database.read() as connection:
        found = true_labels(connection, opened.workspace, root / "truth.csv")
        keys = {row["id"]: row["sample_id"] for row in connection.execute("SELECT id, sample_id FROM sample")}
    names = {sample: name for name, sample in ids(root / "photos").items()}
    return {names[keys[key]]: ("cat", "dog")[label] for key, label in found.items()}


def refused(root: Path, text: str) -> tuple[str, list[str]]:
    with pytest.raises(BadInputError) as caught:
        truths(root, text)
    return str(caught.value), list(caught.value.problems)


def test_labeled_rows_only_and_nothing_is_recorded(root: Path) -> None:
    before = dump(root)
    told = "path,label,skipped\nphotos/0.png,dog,\nphotos/nobody.png,,\nphotos/1.png,cat,1\nphotos/2.png,cat,\n"
    assert truths(root, told) == {"0.png": "dog", "2.png": "cat"}
    assert dump(root) == before


def test_rows_torn_apart_are_refused_by_both(root: Path) -> None:
    found = ids(root / "photos")
    torn = f"sample_id,path,label\n{found['0.png']},photos/1.png,dog\n{found['1.png']},photos/1.png,cat\n"
    message, lines = refused(root, torn)
    assert message.startswith(f"{root / 'truth.csv'}: 1 bad row\n")
    assert len(lines) == 1
    assert lines[0].startswith("line 2: sample_id and path 'photos/1.png' name different images")
    assert problems(run(root, "ingest-labels", "truth.csv")) == lines


def test_annotators_who_disagree_dispute_a_sample_but_tell_no_truth(root: Path) -> None:
    text = "path,label,annotator\nphotos/0.png,dog,ann\nphotos/0.png,cat,bob\nphotos/0.png,dog,cid\n"
    assert refused(root, text)[1] == ["line 3: 'cat' contradicts 'dog' in line 2"]
    ok(root, "ingest-labels", "truth.csv")
    assert truths(root, text.replace(",cat,", ",dog,")) == {"0.png": "dog"}


def test_one_annotator_who_contradicts_himself_is_refused_by_both(root: Path) -> None:
    text = "path,label,annotator\nphotos/0.png,dog,ann\nphotos/1.png,cat,ann\nphotos/0.png,cat,ann\n"
    lines = refused(root, text)[1]
    assert lines == ["line 4: 'cat' contradicts 'dog' in line 2"]
    assert problems(run(root, "ingest-labels", "truth.csv")) == lines


def test_all_bad_rows_come_by_line(root: Path) -> None:
    text = "path,label,cost\nphotos/0.png,catt,\nphotos/7.png,cat,\nphotos/1.png,cat,much\nphotos/2.png,cat,\n"
    message, lines = refused(root, text)
    assert "3 bad rows\ncorrect them, or leave --labels out" in message
    assert [line.split(":")[0] for line in lines] == ["line 2", "line 3", "line 4"]
