"""Classes renamed and merged through the real command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import ok, run, write_labels
from workspaces import add_model, add_scores, ask, dump, make, session

from dalcli.training.plan import make_plan
from tests.small_pools import SmallPool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ten images; two are cat, two dog, two cow."""
    made = make(tmp_path / "work", 10)
    rows = ok(made, "query", "--budget", "6").rows
    labels = {r["sample_id"]: ("cat", "dog", "cow")[n % 3] for n, r in enumerate(rows)}
    ok(made, "ingest-labels", write_labels(made / "l.csv", rows, **labels), "--allow-new-classes")
    return made


def listed(root: Path) -> list[tuple[str, tuple[str, ...], str | None, int]]:
    found = ok(root, "classes", "list", "--json").json["classes"]
    return [(c["name"], tuple(c["earlier_names"]), c["part_of"], c["labels"]) for c in found]


def test_a_renamed_class_is_called_so_everywhere(root: Path) -> None:
    result = ok(root, "classes", "rename", "dog", "hound", "--json").json
    assert list(result) == ["classes", "events"]
    assert list(result["classes"][0]) == ["position", "name", "earlier_names", "part_of", "labels"]
    assert list(result["events"][0]) == ["kind", "old_name", "new_name", "recorded_at"]
    assert listed(root) == [("cat", (), None, 2), ("hound", ("dog",), None, 2), ("cow", (), None, 2)]
    assert ok(root, "status", "--json").json["labels_per_class"] == {"cat": 2, "hound": 2, "cow": 2}
    assert {r["label"] for r in ok(root, "pool", "list").rows} == {"cat", "hound", "cow", ""}
    again = ok(root, "classes", "rename", "dog", "hound")
    assert "up to date" in again.err
    assert len(ask(root, "SELECT * FROM class_event")) == 1
    assert ok(root, "labels", "log").rows[-1]["event"] == "rename"


def test_files_that_say_the_old_name_are_read_as_before(root: Path) -> None:
    rows = ok(root, "query", "--budget", "3").rows
    ok(root, "classes", "rename", "dog", "hound")
    assert ok(root, "query", "--budget", "3").rows == rows  # what was printed is printed again
    ok(root, "ingest-labels", "l.csv")
    ok(root, "ingest-labels", write_labels(root / "m.csv", rows, all_of_them="dog"))
    assert ok(root, "status", "--json").json["labels_per_class"]["hound"] == 5
    configured = "evaluation: {reserve: 0.0}\nclasses: [cat, dog, cow]\n"
    (root / "dalcli.yaml").write_text(configured)
    ok(root, "status")
    (root / "dalcli.yaml").write_text(configured.replace("dog", "hound"))
    ok(root, "status")
    (root / "dalcli.yaml").write_text(configured.replace("dog", "wolf"))
    assert run(root, "status").code == 3


def test_renaming_asks_for_no_training_and_merging_does(root: Path) -> None:
    add_model(root)
    ok(root, "classes", "rename", "dog", "hound")
    assert ok(root, "status", "--json").json["newer_labels"] == 0
    merged = ok(root, "classes", "merge", "hound", "cat")
    assert "m-0001 was trained to tell them apart" in merged.err
    status = ok(root, "status", "--json").json
    assert status["newer_labels"] == 2
    assert status["labels_per_class"] == {"cat": 4, "cow": 2}
    assert "up to date" in ok(root, "classes", "merge", "hound", "cat").err
    assert listed(root)[1] == ("hound", ("dog",), "cat", 0)


def test_a_merge_ends_disputes_between_the_two(root: Path) -> None:
    sample = next(r["sample_id"] for r in ok(root, "pool", "list").rows if r["label"] == "dog")
    (root / "b.csv").write_text(f"sample_id,label,annotator\n{sample},cat,b\n")
    ok(root, "ingest-labels", "b.csv")
    assert len(ok(root, "labels", "disputed").rows) == 1
    ok(root, "classes", "merge", "dog", "cat")
    assert ok(root, "labels", "disputed").rows == []
    shown = ok(root, "labels", "show", sample, "--json").json
    assert (shown["state"], shown["label"]) == ("labeled", "cat")
    assert [(v["label"], v["counted_label"]) for v in shown["votes"]] == [("dog", "cat"), ("cat", "cat")]


def test_labels_of_a_merged_class_count_as_the_whole(root: Path) -> None:
    ok(root, "classes", "merge", "dog", "cat")
    rows = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "m.csv", rows, all_of_them="dog"))
    assert ok(root, "status", "--json").json["labels_per_class"] == {"cat": 6, "cow": 2}
    assert "known already" in ok(root, "ingest-labels", "l.csv").err
    (root / "n.csv").write_text(f"sample_id,label\n{rows[0]['sample_id']},cat\n")
    assert "known already" in ok(root, "ingest-labels", "n.csv").err


def test_stored_predictions_are_read_as_the_classes_are_now(root: Path) -> None:
    """A stale model may still choose: what it said of both classes belongs to the one that is left."""
    add_model(root)
    add_scores(root)  # of two classes: cat and dog
    ok(root, "classes", "rename", "cat", "kitten")
    rows = ok(root, "query", "--budget", "4", "--strategy", "margin").rows
    assert {r["pseudo_label"] for r in rows} == {"kitten", "dog"}
    ok(root, "batch", "release", "b-0002")
    ok(root, "classes", "merge", "dog", "kitten")
    refused = run(root, "query", "--budget", "4", "--strategy", "confidence")
    assert refused.code == 5
    rows = ok(root, "query", "--budget", "4", "--strategy", "confidence", "--stale-ok").rows
    assert {(r["pseudo_label"], r["confidence"]) for r in rows} == {("kitten", "1.0")}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (("rename", "bird", "x"), "no class 'bird'"),
        (("rename", "dgo", "x"), "did you mean 'dog'"),
        (("rename", "dog", "cat"), "'cat' is a class"),
        (("rename", "dog", " hound"), "spaces around it"),
        (("rename", "dog", ""), "empty"),
        (("merge", "dog", "dog"), "the same class"),
        (("merge", "dog", "bird"), "no class 'bird'"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(root: Path, line: tuple[str, ...], words: str) -> None:
    before = dump(root)
    refused = run(root, "classes", *line)
    assert refused.code == 3
    assert words in refused.err
    assert dump(root) == before


def test_names_that_labels_may_still_use_are_kept(root: Path) -> None:
    ok(root, "classes", "rename", "dog", "hound")
    refused = run(root, "classes", "rename", "cat", "dog")
    assert refused.code == 3
    assert "an earlier name of 'hound'" in refused.err
    assert "is called 'hound' by now" in run(root, "classes", "rename", "dog", "wolf").err
    ok(root, "classes", "rename", "hound", "dog")  # and back
    assert listed(root)[1][0] == "dog"
    ok(root, "classes", "merge", "dog", "cat")
    for line in (("rename", "dog", "x"), ("merge", "cow", "dog"), ("merge", "dog", "cow")):
        assert "has been merged into 'cat'" in run(root, "classes", *line).err
    assert "only one class would be left" in run(root, "classes", "merge", "cow", "cat").err


def test_a_real_model_before_and_after(trained: SmallPool) -> None:
    """Three colours become two: the old version is measured by the new question, and the next one learns it."""
    rows = trained.pool(purpose="evaluation")
    trained.label(rows)
    before = trained.json("evaluate")["report"]
    trained.ok("classes", "rename", "blue", "cold")
    assert trained.json("train")["model"]["version"] == "m-0001"  # a new name is no new training
    trained.ok("classes", "merge", "green", "cold")
    after = trained.json("evaluate")["report"]
    confusion = np.array(before["confusion"])
    joined = confusion.copy()
    joined[2] += joined[1]
    joined[1] = 0
    assert np.array(after["confusion"]).sum(axis=1).tolist() == joined.sum(axis=1).tolist()
    assert after["accuracy"] >= before["accuracy"]  # green for cold is no error any more
    assert after["nll"] <= before["nll"] + 1e-6
    trained.ok("train")
    with_new = trained.json("evaluate")
    assert with_new["version"] == "m-0002"
    predicted = {c["name"]: c["predicted"] for c in with_new["report"]["classes"]}
    assert predicted["green"] == 0
    trained.ok("score")
    chosen = trained.ok("query", "--budget", "3").out
    assert "green" not in {line.split(",")[4] for line in chosen.splitlines()[1:]}


def test_a_new_name_does_not_undo_an_unfinished_training(root: Path) -> None:
    """What is to be trained is recognised by its digest; a merge is another one."""

    def digest() -> str:
        with session(root) as opened:
            return make_plan(opened).digest

    before = digest()
    ok(root, "classes", "rename", "dog", "hound")
    assert digest() == before
    ok(root, "classes", "merge", "hound", "cat")
    assert digest() != before
