"""``batch`` and ``status``: what is out, what came back, and what to do next."""

from __future__ import annotations

from pathlib import Path

import pytest
from dalcli_runner import ok, run, write_labels
from workspaces import add_model, add_scores, dump, image, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "work")


def next_step(root: Path) -> str:
    return str(ok(root, "status", "--json").json["next_step"])


def test_show_says_what_became_of_every_row(root: Path) -> None:
    rows = ok(root, "query", "--budget", "4").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows[:1], all_of_them="cat"))
    shown = ok(root, "batch", "show", "b-0001", "--json").json
    assert [(r["rank"], r["sample_id"], r["state"]) for r in shown["rows"]] == [
        (rank, row["sample_id"], "answered" if rank == 1 else "out") for rank, row in enumerate(rows, 1)
    ]
    assert shown["batch"]["outstanding"] == 3
    assert b"1 of 4 answered, 0 released, 3 out" in ok(root, "batch", "show", "b-0001").out


def test_show_csv_prints_the_batch_as_issued_even_when_closed(root: Path) -> None:
    issued = ok(root, "query", "--budget", "4")
    ok(root, "batch", "release", "b-0001")
    assert ok(root, "batch", "show", "b-0001", "--csv").out == issued.out


def test_released_samples_may_be_asked_again_and_late_answers_count(root: Path) -> None:
    rows = ok(root, "query", "--budget", "12").rows
    released = ok(root, "batch", "release", "b-0001")
    assert "12 samples released" in released.err
    before = dump(root)
    again = ok(root, "batch", "release", "b-0001")
    assert again.out == released.out
    assert "up to date" in again.err
    assert dump(root) == before
    ok(root, "ingest-labels", write_labels(root / "late.csv", rows[:2], all_of_them="dog"))
    shown = ok(root, "batch", "show", "b-0001", "--json").json["batch"]
    assert (shown["answered"], shown["released"], shown["outstanding"]) == (2, 10, 0)
    assert {r["sample_id"] for r in ok(root, "query", "--budget", "12").rows} == {r["sample_id"] for r in rows[2:]}


def test_one_thing_is_not_counted_as_several(root: Path) -> None:
    rows = ok(root, "query", "--budget", "3").rows
    assert (
        "1 new label recorded"
        in ok(root, "ingest-labels", write_labels(root / "1.csv", rows[:1], all_of_them="cat")).err
    )
    add_model(root)
    scores = add_scores(root)
    ok(root, "ingest-labels", write_labels(root / "2.csv", rows[1:2], all_of_them="dog"))
    assert "m-0001: 1 label, 3 epochs, converged; 1 label is newer\n" in ok(root, "status").out.decode()
    image(root / "photos" / "more.png", 999)
    ok(root, "pool", "add", "photos")
    assert len(scores) == 12
    assert "scores              1 sample to score\n" in ok(root, "status").out.decode()
    assert "1 sample released\n" in ok(root, "batch", "release", "b-0001").err
    ok(root, "ingest-labels", write_labels(root / "3.csv", rows[2:], all_of_them="dog"))
    assert "; 2 labels are newer\n" in ok(root, "status").out.decode()


def test_one_sample_in_two_batches_answers_both(root: Path) -> None:
    rows = ok(root, "query", "--budget", "12").rows
    ok(root, "batch", "release", "b-0001")
    ok(root, "query", "--budget", "12")
    done = ok(root, "ingest-labels", write_labels(root / "l.csv", rows, all_of_them="cat"), "--json").json
    assert [(b["batch_id"], b["answered"], b["released"], b["open"]) for b in done["batches"]] == [
        ("b-0001", 12, 0, False),
        ("b-0002", 12, 0, False),
    ]


def test_an_unknown_batch_is_bad_input_with_a_suggestion(root: Path) -> None:
    ok(root, "query", "--budget", "1")
    refused = run(root, "batch", "show", "b-001")
    assert refused.code == 3
    assert "did you mean 'b-0001'" in refused.err
    assert run(root, "batch", "release", "x").code == 3


def test_listing_is_for_people_and_for_scripts(root: Path) -> None:
    ok(root, "query", "--budget", "2")
    ok(root, "query", "--new", "--budget", "3")
    assert [b["batch_id"] for b in ok(root, "batch", "list", "--json").json["batches"]] == ["b-0001", "b-0002"]
    lines = ok(root, "batch", "list").out.decode().splitlines()
    assert lines[0].split()[:3] == ["batch", "purpose", "state"]
    assert lines[2].split()[:4] == ["b-0001", "training", "open", "2"]


def test_status_names_the_next_command_all_the_way_round(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    ok(root, "init", "--classes", "cat,dog")
    assert next_step(root) == "dalcli pool add FOLDER"
    for number in range(20):
        image(root / "photos" / f"{number}.png", number)
    ok(root, "pool", "add", "photos")
    assert next_step(root) == "dalcli query --budget N > to_label.csv"
    rows = ok(root, "query", "--budget", "4").rows
    assert next_step(root) == "dalcli ingest-labels FILE   (batch b-0001 is out)"
    ok(root, "ingest-labels", write_labels(root / "1.csv", rows[:2], all_of_them="cat"))
    assert next_step(root) == "dalcli train"
    add_model(root)
    assert next_step(root) == "dalcli ingest-labels FILE   (batch b-0001 is out)"
    ok(root, "ingest-labels", write_labels(root / "2.csv", rows[2:], all_of_them="dog"))
    assert next_step(root) == "dalcli train"
    add_model(root)
    assert ok(root, "status", "--json").json["states"]["evaluation"]["unlabeled"] > 0
    assert next_step(root) == "dalcli query --purpose evaluation --budget N > to_label.csv"
    rows = ok(root, "query", "--purpose", "evaluation", "--budget", "9").rows
    ok(root, "ingest-labels", write_labels(root / "3.csv", rows, all_of_them="cat"))
    assert next_step(root) == "dalcli evaluate"


def test_status_counts_what_there_is(root: Path) -> None:
    rows = ok(root, "query", "--budget", "5").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows[:3], all_of_them="cat"))
    add_model(root)
    status = ok(root, "status", "--json").json
    assert status["states"]["training"] == {
        "unlabeled": 7,
        "in flight": 2,
        "labeled": 3,
        "disputed": 0,
        "skipped": 0,
        "auto-labeled": 0,
        "quarantined": 0,
    }
    assert status["labels_per_class"] == {"cat": 3, "dog": 0}
    assert (status["model"]["version"], status["model"]["labels"]) == ("m-0001", 3)
    assert status["unscored"] == 12
    add_scores(root)
    assert ok(root, "status", "--json").json["unscored"] == 0


def test_status_is_readable_with_many_classes(tmp_path: Path) -> None:
    root = make(tmp_path / "work", 3)
    first, second, third = ok(root, "query", "--budget", "3").rows
    labels = {first["sample_id"]: "cat", second["sample_id"]: "cat", third["sample_id"]: "c0"}
    rows = "".join(f"{sample},{label}\n" for sample, label in labels.items())
    (root / "l.csv").write_text(f"sample_id,label\n{rows}")
    ok(root, "ingest-labels", "l.csv", "--allow-new-classes")
    assert "labels per class    cat 2, dog 0, c0 1\n" in ok(root, "status").out.decode()
    for number in range(1, 98):
        image(root / "more" / f"c{number}" / "x.png", 200 + number)
    names = "".join(f"more/c{number}/x.png,c{number}\n" for number in range(1, 98))
    ok(root, "pool", "add", "more")
    (root / "m.csv").write_text(f"path,label\n{names}")
    ok(root, "ingest-labels", "m.csv", "--allow-new-classes")
    assert "100 classes, from dog 0 to cat 2 (--json has all of them)\n" in ok(root, "status").out.decode()
    assert len(ok(root, "status", "--json").json["labels_per_class"]) == 100


def test_status_changes_nothing(root: Path) -> None:
    before = dump(root)
    first = ok(root, "status")
    assert ok(root, "status").out == first.out
    assert dump(root) == before
