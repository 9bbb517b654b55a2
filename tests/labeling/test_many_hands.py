"""The page and the ledger of many hands: consensus, second looks, classes that are renamed and merged."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from dalcli_runner import ok
from label_pages import handed_out, serving

from dalcli.labeling.request import LabelRequest


def two_votes(root: Path, ann: str, bob: str) -> str:
    """The one image of a batch, and what two people say about it."""
    sample = ok(root, "batch", "show", "b-0001", "--csv").rows[0]["sample_id"]
    (root / "l.csv").write_text(f"sample_id,label,annotator\n{sample},{ann},ann\n{sample},{bob},bob\n")
    ok(root, "ingest-labels", "l.csv")
    return sample


def shown(root: Path, sample: str) -> Any:
    return ok(root, "labels", "show", sample, "--json").json


def counts(root: Path) -> list[tuple[str, str, str]]:
    return [(row["annotator"], row["label"], row["counts"]) for row in ok(root, "labels", "log").rows]


def states(root: Path) -> dict[str, int]:
    return {k: n for k, n in ok(root, "status", "--json").json["states"]["training"].items() if n}


def test_a_third_opinion_settles_by_majority_and_its_undo_unsettles(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 1, config="labels:\n  consensus: majority\n")
    sample = two_votes(root, "cat", "dog")
    assert states(root)["disputed"] == 1
    with serving(root, LabelRequest(relabel=True, annotator="cem")) as served:
        cem = served.person("cem")
        vote = cem.answer(cem.looking_at(), label="dog")["vote"]
        assert states(root)["labeled"] == 1
        cem.undo(vote)
        assert states(root)["disputed"] == 1
        assert cem.looking_at() == sample
    assert counts(root) == [("ann", "cat", "1"), ("bob", "dog", "1"), ("cem", "dog", "0")]


def test_a_second_look_that_confirms_answers_its_batch(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 1)
    sample = two_votes(root, "cat", "dog")
    ok(root, "query", "--relabel", "1")
    with serving(root) as served:
        ann = served.person("ann")
        item = ann.next()["items"][0]
        assert (item["sample"], item["batch"], item["said"]) == (sample, "b-0002", [])  # nobody's vote leads
        reply = ann.answer(sample, label="cat")
        assert (reply["items"], reply["standing"]["done"]) == ([], 1)
    assert not any(batch["open"] for batch in ok(root, "batch", "list", "--json").json["batches"])
    assert counts(root) == [("ann", "cat", "0"), ("bob", "dog", "1"), ("ann", "cat", "1")]


def test_merged_classes_are_not_offered_and_their_names_mean_what_they_count_as(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 3)
    rows = ok(root, "batch", "show", "b-0001", "--csv").rows
    (root / "l.csv").write_text(f"sample_id,label\n{rows[2]['sample_id']},kitten\n")
    ok(root, "ingest-labels", "l.csv", "--allow-new-classes")
    connection = sqlite3.connect(root / ".dalcli" / "state.db")
    connection.execute("UPDATE batch_row SET pseudo_label = 2, confidence = 0.5")  # the model guesses kitten
    connection.commit()
    connection.close()
    with serving(root) as served:
        ann = served.person()
        before = ann.next()["classes"]
        assert served.get("api/setup").json["classes"] == ["cat", "dog", "kitten"]
        ok(root, "classes", "merge", "kitten", "cat")
        ok(root, "classes", "rename", "dog", "hound")
        item = ann.next()["items"][0]
        assert item["guess"] == "cat"
        assert ann.next()["classes"] != before
        assert served.get("api/setup").json["classes"] == ["cat", "hound"]
        reply = ann.answer(item["sample"], label="kitten")  # a page that has not heard of it yet
        assert reply["standing"]["guesses"] == {"seen": 2, "right": 2}
        ann.answer(ann.looking_at(), label="dog")
        refused = ann.say("answer", sample=item["sample"], proposal="Kitten")
        assert refused.json["error"] == "'cat' is a class already: choose it"
    assert {name: n for name, n in ok(root, "status", "--json").json["labels_per_class"].items() if n} == {
        "cat": 2, "hound": 1,
    }  # fmt: skip
