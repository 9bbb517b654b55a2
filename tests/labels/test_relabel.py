"""Another look at disputed samples: a batch like any other, whose answers may confirm or correct."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from dalcli_runner import message, ok, run, write_labels
from workspaces import add_model, add_scores, ask, dump, ids, make

COLUMNS = ["sample_id", "path", "rank", "score", "pseudo_label", "confidence", "strategy", "arm", "batch_id", "label"]


def sample_ids(root: Path) -> list[str]:
    found = ids(root / "photos")
    return [found[f"{number}.png"] for number in range(len(found))]


def answers(path: Path, annotator: str, labels: dict[str, str], **columns: str) -> Path:
    rows = [{"sample_id": s, "label": label, "annotator": annotator, **columns} for s, label in labels.items()]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twelve images; a, b and c disagree 2:1 on 0 and 1, a and b 1:1 on 2 and 3; 4 and 5 are cat and dog."""
    made = make(tmp_path / "work", 12)
    s = sample_ids(made)
    known = {s[4]: "cat", s[5]: "dog"}
    for name, said in {
        "a": {s[0]: "cat", s[1]: "dog", s[2]: "cat", s[3]: "cat", **known},
        "b": {s[0]: "cat", s[1]: "cat", s[2]: "dog", s[3]: "dog"},
        "c": {s[0]: "dog", s[1]: "dog"},
    }.items():
        ok(made, "ingest-labels", answers(made / f"{name}.csv", name, said))
    return made


def test_the_least_settled_come_first_and_the_batch_is_printed_again(root: Path) -> None:
    s = sample_ids(root)
    first = ok(root, "query", "--relabel", "3")
    rows = first.rows
    assert list(rows[0]) == COLUMNS
    assert {r["sample_id"] for r in rows[:2]} == {s[2], s[3]}
    assert rows[2]["sample_id"] == min(s[0], s[1])
    assert [float(r["score"]) for r in rows] == [
        pytest.approx(math.log(2)), pytest.approx(math.log(2)), pytest.approx(math.log(3) - 2 / 3 * math.log(2))
    ]  # fmt: skip
    assert {(r["strategy"], r["arm"], r["batch_id"], r["label"]) for r in rows} == {("relabel", "active", "b-0001", "")}
    assert "labels.consensus is unanimous" in first.err
    again = ok(root, "query", "--relabel", "3")
    assert again.out == first.out
    assert "b-0001 is open: 0 of 3 answered" in again.err
    other = run(root, "query", "--relabel", "2")
    assert other.code == 5
    assert "batch release b-0001" in other.err
    [left] = ok(root, "query", "--relabel", "9", "--new").rows  # what is out is not handed out twice
    assert left["sample_id"] == max(s[0], s[1])
    none = run(root, "query", "--relabel", "9", "--new")
    assert none.code == 6
    assert "all 4 disputed ones are out already" in none.err


def test_it_stands_in_nobodys_way(root: Path) -> None:
    ok(root, "query", "--relabel", "3")
    assert len(ok(root, "query", "--budget", "2").rows) == 2
    assert len(ok(root, "query", "--relabel", "3").rows) == 3
    listed = ok(root, "batch", "list", "--json").json["batches"]
    assert [(b["batch_id"], b["relabel"]) for b in listed] == [("b-0001", True), ("b-0002", False)]
    ok(root, "batch", "release", "b-0001")
    assert [b["batch_id"] for b in ok(root, "status", "--json").json["open_batches"]] == ["b-0002"]
    assert ok(root, "query", "--relabel", "3").rows[0]["batch_id"] == "b-0003"


def test_keys_name_one_batch(root: Path) -> None:
    first = ok(root, "query", "--relabel", "1", "--new", "--key", "monday")
    assert ok(root, "query", "--relabel", "1", "--new", "--key", "monday").out == first.out
    assert run(root, "query", "--relabel", "2", "--new", "--key", "monday").code == 2
    assert run(root, "query", "--budget", "1", "--new", "--key", "monday").code == 2


def test_who_is_asked_again_may_confirm_or_correct_and_once(root: Path) -> None:
    s = sample_ids(root)
    ok(root, "query", "--relabel", "9")
    confirmed = answers(root / "again_a.csv", "a", {s[2]: "cat", s[3]: "cat"}, batch_id="b-0001")
    told = ok(root, "ingest-labels", confirmed)
    assert "2 earlier labels confirmed" in told.err
    assert ok(root, "batch", "show", "b-0001", "--json").json["batch"]["answered"] == 2
    ok(root, "ingest-labels", answers(root / "again_b.csv", "b", {s[2]: "cat", s[3]: "dog"}, batch_id="b-0001"))
    assert ok(root, "labels", "show", s[2], "--json").json["label"] == "cat"
    assert ok(root, "labels", "show", s[3], "--json").json["state"] == "disputed"
    votes = ok(root, "labels", "show", s[2], "--json").json["votes"]
    assert [(v["annotator"], v["label"], v["before"], v["counts"]) for v in votes] == [
        ("a", "cat", None, False),
        ("b", "dog", None, False),
        ("a", "cat", "cat", True),
        ("b", "cat", "dog", True),
    ]
    before = dump(root)
    for file in ("again_a.csv", "again_b.csv", "a.csv"):
        assert "known already" in ok(root, "ingest-labels", file).err  # a second run adds nothing
    assert dump(root) == before
    changed_mind = answers(root / "third.csv", "b", {s[2]: "dog"}, batch_id="b-0001")
    refused = run(root, "ingest-labels", changed_mind)  # the batch has been answered: that is a conflict as ever
    assert refused.code == 3
    assert dump(root) == before


def test_an_old_file_that_is_read_again_answers_nothing(root: Path) -> None:
    s = sample_ids(root)
    first = ok(root, "query", "--budget", "2").rows
    ok(root, "ingest-labels", write_labels(root / "first.csv", first, all_of_them="cat"))
    ok(root, "query", "--relabel", "9")
    before = dump(root)
    for file in ("a.csv", "b.csv", "c.csv", "first.csv"):
        ok(root, "ingest-labels", file)
    assert dump(root) == before
    contradicting = answers(root / "x.csv", "b", {s[2]: "cat"})  # names no batch: it may be older than b's answer
    assert run(root, "ingest-labels", contradicting).code == 3
    confirming = answers(root / "y.csv", "b", {s[2]: "dog"}, labeled_at="2030-01-31")
    assert "1 earlier label confirmed" in ok(root, "ingest-labels", confirming).err
    assert ok(root, "batch", "show", "b-0002", "--json").json["batch"]["answered"] == 1


def test_a_sheet_without_names_is_a_further_opinion_and_can_be_taken_back(root: Path) -> None:
    s = sample_ids(root)
    rows = [r for r in ok(root, "query", "--relabel", "9").rows if r["sample_id"] in {s[2], s[3]}]
    told = ok(root, "ingest-labels", write_labels(root / "filled.csv", rows, all_of_them="cat"))
    assert "2 answers to another look without an annotator" in told.err
    assert "annotator" not in ok(root, "ingest-labels", "filled.csv").err
    [votes] = [d["votes"] for d in ok(root, "labels", "disputed", "--json").json["samples"] if d["sample_id"] == s[2]]
    assert votes == {"cat": ["", "a"], "dog": ["b"]}
    (root / "back.csv").write_text(f"sample_id,label,skipped\n{s[2]},,1\n")
    ok(root, "ingest-labels", "back.csv", "--on-conflict", "replace")
    [votes] = [d["votes"] for d in ok(root, "labels", "disputed", "--json").json["samples"] if d["sample_id"] == s[2]]
    assert votes == {"cat": ["a"], "dog": ["b"]}


def test_a_third_opinion_settles_it_by_majority(root: Path) -> None:
    (root / "dalcli.yaml").write_text("evaluation: {reserve: 0.0}\nlabels: {consensus: majority}\n")
    s = sample_ids(root)
    first = ok(root, "query", "--relabel", "9")
    assert {r["sample_id"] for r in first.rows} == {s[2], s[3]}
    assert "unanimous" not in first.err
    sheet = write_labels(root / "filled.csv", [{**r, "annotator": "judge"} for r in first.rows], all_of_them="dog")
    ok(root, "ingest-labels", sheet)
    states = ok(root, "status", "--json").json["states"]["training"]
    assert (states["disputed"], states["labeled"]) == (0, 6)
    assert run(root, "query", "--relabel", "9").code == 6


def test_what_the_model_says_counts_as_an_opinion(root: Path) -> None:
    s = sample_ids(root)
    add_model(root)
    add_scores(root)
    p_cat = dict(zip(sorted(s), [0.1 + 0.8 * n / 11 for n in range(12)], strict=True))
    expected = {}
    for sample, cats, dogs in ((s[0], 2, 1), (s[1], 1, 2), (s[2], 1, 1), (s[3], 1, 1)):
        cat, dog = cats * p_cat[sample], dogs * (1 - p_cat[sample])
        q = cat / (cat + dog)
        expected[sample] = -q * math.log(q) - (1 - q) * math.log(1 - q)
    rows = ok(root, "query", "--relabel", "9").rows
    assert [r["sample_id"] for r in rows] == sorted(expected, key=lambda sample: -expected[sample])
    for row in rows:
        assert float(row["score"]) == pytest.approx(expected[row["sample_id"]], rel=1e-5)
        assert row["pseudo_label"] == ("cat" if p_cat[row["sample_id"]] > 0.5 else "dog")


def test_a_model_that_was_trained_on_a_label_has_no_opinion_on_it(root: Path) -> None:
    s = sample_ids(root)
    add_model(root)  # on 4 and 5
    add_scores(root)
    ok(root, "ingest-labels", answers(root / "b4.csv", "b", {s[4]: "dog"}))
    scores = {r["sample_id"]: float(r["score"]) for r in ok(root, "query", "--relabel", "9").rows}
    assert scores[s[4]] == pytest.approx(math.log(2), abs=1e-12)
    assert scores[s[2]] < math.log(2)


def test_disputed_evaluation_samples_are_asked_again_too(tmp_path: Path) -> None:
    made = make(tmp_path / "work", 12, reserve=0.6)
    rows = ok(made, "query", "--purpose", "evaluation", "--budget", "2").rows
    for name, label in (("a", "cat"), ("b", "dog")):
        write_labels(made / f"{name}.csv", [{**r, "annotator": name} for r in rows], all_of_them=label)
        ok(made, "ingest-labels", f"{name}.csv")
    again = ok(made, "query", "--purpose", "evaluation", "--relabel", "5").rows
    assert {r["sample_id"] for r in again} == {r["sample_id"] for r in rows}
    assert {r["arm"] for r in again} == {"evaluation"}
    assert run(made, "query", "--relabel", "5").code == 6


def test_no_model_learns_from_a_dispute(root: Path) -> None:
    s = sample_ids(root)
    add_model(root)
    seen = {row[0] for row in ask(root, "SELECT s.sample_id FROM model_label AS l JOIN sample AS s ON s.id = l.sample")}
    assert seen == {s[4], s[5]}
    refused = run(root, "query", "--relabel", "1", "--gamma", "1")
    assert refused.code == 2
    assert len(message(refused)) == 2
