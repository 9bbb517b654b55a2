"""Two annotators who disagree, through the real command line: what is shown, logged, compared and exported."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from dalcli_runner import Outcome, message, ok, run
from workspaces import dump, ids, make

HEADER = ["sample_id", "label", "annotator", "seconds", "cost", "labeled_at", "skipped"]


def write(path: Path, *rows: tuple[str, str, str], seconds: float = 2.0, cost: float = 0.5) -> Path:
    """Rows of (sample id, label, annotator); the label '-' is a skip."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for sample, label, annotator in rows:
            skipped = label == "-"
            when = "2030-01-31T12:00:00Z"
            writer.writerow([sample, "" if skipped else label, annotator, seconds, cost, when, int(skipped)])
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images: ann and bob agree on 0 and 1, disagree on 2, bob alone has 3, both skip 4, nobody has 5."""
    made = make(tmp_path / "work", 6)
    s = sample_ids(made)
    write(made / "ann.csv", (s[0], "cat", "ann"), (s[1], "dog", "ann"), (s[2], "cat", "ann"), (s[4], "-", "ann"))
    bobs = ((s[0], "cat", "bob"), (s[1], "dog", "bob"), (s[2], "dog", "bob"), (s[3], "dog", "bob"), (s[4], "-", "bob"))
    write(made / "bob.csv", *bobs, seconds=4, cost=0.25)
    ok(made, "ingest-labels", "ann.csv")
    ok(made, "ingest-labels", "bob.csv")
    return made


def sample_ids(root: Path) -> list[str]:
    found = ids(root / "photos")
    return [found[f"{number}.png"] for number in range(len(found))]


def configure(root: Path, text: str) -> None:
    (root / "dalcli.yaml").write_text(f"evaluation: {{reserve: 0.0}}\n{text}\n")


# Looking ------------------------------------------------------------------------------------------------------------


def test_show_says_who_said_what_and_what_counts(root: Path) -> None:
    s = sample_ids(root)
    shown = ok(root, "labels", "show", s[2], "--json").json
    assert list(shown) == [
        "sample_id", "path", "purpose", "state", "label", "leading", "confidence", "votes", "batches",
        "by_models",
    ]  # fmt: skip
    assert (shown["state"], shown["label"], shown["leading"], shown["confidence"]) == ("disputed", None, "cat", 0.5)
    assert list(shown["votes"][0]) == [
        "sample_id", "path", "purpose", "label", "counted_label", "before", "annotator", "labeled_at", "seconds",
        "cost", "file", "line", "recorded_at", "counts",
    ]  # fmt: skip
    assert [(v["annotator"], v["label"], v["file"], v["line"]) for v in shown["votes"]] == [
        ("ann", "cat", "ann.csv", 4),
        ("bob", "dog", "bob.csv", 4),
    ]
    by_path = ok(root, "labels", "show", "photos/2.png").out.decode()
    assert "disputed" in by_path
    assert "bob.csv:4" in by_path
    assert ok(root, "labels", "show", "5.png", "--json").json["votes"] == []
    assert ok(root, "labels", "show", s[4], "--json").json["state"] == "skipped"


def test_the_log_has_corrections_beside_what_they_replaced(root: Path) -> None:
    s = sample_ids(root)
    write(root / "new.csv", (s[2], "dog", "ann"), (s[4], "cat", "ann"))
    ok(root, "ingest-labels", "new.csv", "--on-conflict", "replace")
    rows = ok(root, "labels", "log").rows
    assert len(rows) == 11
    assert [(r["event"], r["label"], r["before"], r["annotator"]) for r in rows[-2:]] == [
        ("label", "dog", "cat", "ann"),
        ("label", "cat", "skipped", "ann"),
    ]
    assert [r["counts"] for r in rows if r["sample_id"] == s[2]] == ["0", "1", "1"]
    of_bob = ok(root, "labels", "log", "--annotator", "bob").rows
    assert {r["annotator"] for r in of_bob} == {"bob"}
    assert len(of_bob) == 5
    assert len(ok(root, "labels", "log", "--sample", "2.png", "--json").json["votes"]) == 3
    assert ok(root, "labels", "log", "--purpose", "evaluation").rows == []


def test_disputed_samples_are_listed_with_the_votes(root: Path) -> None:
    s = sample_ids(root)
    found = ok(root, "labels", "disputed", "--json").json
    assert found["consensus"] == "unanimous"
    [one] = found["samples"]
    assert (one["sample_id"], one["votes"], one["batch"]) == (s[2], {"cat": ["ann"], "dog": ["bob"]}, None)
    [row] = ok(root, "labels", "disputed").rows
    assert row["votes"] == "cat: ann; dog: bob"


def test_annotators_are_compared(root: Path) -> None:
    found = ok(root, "labels", "annotators", "--json").json
    ann, bob = found["annotators"]
    assert (ann["annotator"], ann["labels"], ann["skipped"], ann["shared"]) == ("ann", 3, 1, 3)
    assert (bob["labels"], bob["skipped"], bob["shared"]) == (4, 1, 3)
    assert ann["agreement"] == pytest.approx(2 / 3)
    assert ann["kappa"] == pytest.approx(0.4)  # p = 2/3, e = (2·1 + 1·2)/9
    assert (ann["with_consensus"], ann["seconds"], ann["per_hour"]) == (1.0, 2.0, 1800)
    assert (bob["cost"], bob["cost_per_label"]) == (pytest.approx(1.25), pytest.approx(1.25 / 4))
    assert found["pairs"] == [
        {"one": "ann", "other": "bob", "shared": 3, "agreement": pytest.approx(2 / 3), "kappa": pytest.approx(0.4)}
    ]
    assert "ann" in ok(root, "labels", "annotators").out.decode()


# Consensus ----------------------------------------------------------------------------------------------------------


def test_another_rule_counts_from_the_next_command_on(root: Path) -> None:
    s = sample_ids(root)
    write(root / "eve.csv", (s[2], "dog", "eve"))
    ok(root, "ingest-labels", "eve.csv")
    assert ok(root, "status", "--json").json["states"]["training"]["disputed"] == 1
    configure(root, "labels: {consensus: majority}")
    told = ok(root, "status", "--json")
    assert told.json["states"]["training"]["disputed"] == 0
    assert "labels.consensus: majority is in force now: 0 disputed, 1 before" in told.err
    assert "in force" not in ok(root, "status").err
    shown = ok(root, "labels", "show", s[2], "--json").json
    assert (shown["state"], shown["label"], shown["confidence"]) == ("labeled", "dog", pytest.approx(2 / 3))
    configure(root, "")
    assert ok(root, "status", "--json").json["states"]["training"]["disputed"] == 1


@pytest.mark.parametrize("text", ["labels: {consensus: plurality}", "labels: {certainty: 0.5}"])
def test_a_rule_that_there_is_not_is_refused(root: Path, text: str) -> None:
    configure(root, text)
    assert run(root, "status").code == 3


# Export -------------------------------------------------------------------------------------------------------------


def test_export_as_csv_has_what_counts(root: Path) -> None:
    s = sample_ids(root)
    exported = ok(root, "labels", "export")
    assert {r["sample_id"]: r["label"] for r in exported.rows} == {s[0]: "cat", s[1]: "dog", s[3]: "dog"}
    assert "2 samples are left out: disputed (labels.consensus: unanimous), skipped or unreadable" in exported.err
    ok(root, "labels", "export", "--output", "out.csv", "--quiet")
    assert (root / "out.csv").read_bytes() == exported.out


def test_exported_votes_say_the_same_in_another_workspace(root: Path, tmp_path: Path) -> None:
    votes = ok(root, "labels", "export", "--votes", "-o", "votes.csv")
    assert votes.out == b""
    other = make(tmp_path / "other", 6)
    ok(other, "ingest-labels", root / "votes.csv")
    keys = ("sample_id", "label", "annotator", "labeled_at", "seconds", "cost")
    said = [sorted(tuple(r[key] for key in keys) for r in ok(place, "labels", "log").rows) for place in (root, other)]
    assert said[0] == said[1]
    assert ok(other, "labels", "export").out == ok(root, "labels", "export").out


def test_names_of_annotators_that_a_spreadsheet_would_run_come_back_as_they_were(root: Path, tmp_path: Path) -> None:
    samples = ok(root, "labels", "export").rows[:3]
    lines = [f'{row["sample_id"]},{row["label"]},"=1+1"' for row in samples]
    (root / "more.csv").write_text("\n".join(["sample_id,label,annotator", *lines]) + "\n")
    ok(root, "ingest-labels", "more.csv")
    ok(root, "labels", "export", "--votes", "-o", "votes.csv")
    assert ",'=1+1," in (root / "votes.csv").read_text()
    assert "known already" in ok(root, "ingest-labels", "votes.csv").err
    names = {each["annotator"] for each in ok(root, "labels", "annotators", "--json").json["annotators"]}
    assert "=1+1" in names
    assert "'=1+1" not in names


@pytest.mark.parametrize("name", ['a,"b"', "=1+1", "café", "NA", "00123", "a;b\tc"])
def test_class_names_come_back_as_they_were(root: Path, name: str) -> None:
    ok(root, "classes", "rename", "cat", name)
    ok(root, "labels", "export", "--votes", "-o", "votes.csv")
    cells = {row["label"] for row in ok(root, "labels", "export").rows}
    assert not any(cell.startswith("=") for cell in cells)  # no spreadsheet runs it
    ok(root, "classes", "rename", name, "cat")
    before = dump(root)
    assert "known already" in ok(root, "ingest-labels", "votes.csv").err  # an earlier name is understood
    assert dump(root) == before
    tasks = json.loads(ok(root, "labels", "export", "--format", "label-studio").out)
    assert {"cat", "dog"} == {
        choice for t in tasks for a in t["annotations"] for r in a["result"] for choice in r["value"]["choices"]
    }


def test_export_as_folders_copies_images_and_all_or_nothing(root: Path) -> None:
    s = sample_ids(root)
    done = ok(root, "labels", "export", "--format", "imagefolder", "--output", "set")
    assert done.out == b""
    assert "3 images copied to set" in done.err
    found = {path.relative_to(root / "set").as_posix(): path.read_bytes() for path in (root / "set").rglob("*.png")}
    assert found == {
        f"cat/{s[0]}.png": (root / "photos/0.png").read_bytes(),
        f"dog/{s[1]}.png": (root / "photos/1.png").read_bytes(),
        f"dog/{s[3]}.png": (root / "photos/3.png").read_bytes(),
    }
    again = run(root, "labels", "export", "--format", "imagefolder", "--output", "set")
    assert again.code == 3
    (root / "photos/3.png").unlink()
    gone = run(root, "labels", "export", "--format", "imagefolder", "--output", "other")
    assert gone.code == 3
    assert "1 labeled image cannot be found; nothing was written" in gone.err
    assert not (root / "other").exists()
    assert not list(root.glob("*.partial"))


def test_a_folder_per_class_makes_a_workspace_with_the_same_labels(root: Path, tmp_path: Path) -> None:
    ok(root, "labels", "export", "--format", "imagefolder", "--output", "set")
    other = tmp_path / "other"
    other.mkdir()
    ok(other, "init", root / "set", "--labels-from-folders")
    mine, theirs = ({r["sample_id"]: r["label"] for r in ok(place, "labels", "export").rows} for place in (root, other))
    assert theirs.items() <= mine.items()
    assert len(theirs) == 3


def test_class_names_that_cannot_be_folders_are_refused(root: Path) -> None:
    for name, reason in (("..", "cannot be the name of a folder"), ("a/b", "cannot be"), ("DOG", "capital letters")):
        ok(root, "classes", "rename", ok(root, "classes", "list", "--json").json["classes"][0]["name"], name)
        refused = run(root, "labels", "export", "--format", "imagefolder", "--output", "set")
        assert refused.code == 3
        assert reason in refused.err
        assert not (root / "set").exists()


def test_export_to_label_studio_has_every_answer(root: Path) -> None:
    s = sample_ids(root)
    tasks = {
        t["data"]["sample_id"]: t for t in json.loads(ok(root, "labels", "export", "--format", "label-studio").out)
    }
    assert set(tasks) == set(s[:5])
    assert tasks[s[2]]["data"] == {"image": "photos/2.png", "sample_id": s[2], "annotators": ["ann", "bob"]}
    first, second = tasks[s[2]]["annotations"]
    assert first["result"] == [
        {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": ["cat"]}}
    ]
    assert (first["was_cancelled"], first["lead_time"], second["lead_time"]) == (False, 2.0, 4.0)
    assert tasks[s[4]]["annotations"] == [{"was_cancelled": True, "result": []}] * 2


# Misuse -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (("labels", "show", "nowhere.png"), 3, "unknown sample"),
        (("labels", "show", "s-" + "0" * 32), 3, "unknown sample"),
        (("labels", "log", "--annotator", "nobody"), 3, "no label is by 'nobody'"),
        (("labels", "log", "--sample", "nowhere.png"), 3, "unknown sample"),
        (("labels", "export", "--format", "imagefolder"), 2, "makes a folder"),
        (("labels", "export", "--format", "imagefolder", "--output", "-"), 2, "makes a folder"),
        (("labels", "export", "--format", "label-studio", "--votes"), 2, "--votes"),
        (("labels", "export", "--format", "xml"), 2, "xml"),
        (("labels", "export", "--output", "nowhere/x.csv"), 3, "no such folder"),
        (("labels", "export", "--format", "imagefolder", "--output", "nowhere/x"), 3, "no such folder"),
        (("labels", "suspects"), 5, "no model"),
        (("query", "--relabel", "0"), 2, "out of range"),
        (("query", "--relabel", "2", "--budget", "2"), 2, "two kinds"),
        (("query", "--relabel", "2", "--strategy", "margin"), 2, "--strategy"),
        (("query", "--suspects", "--budget", "2"), 2, "--suspects"),
        (("query", "--relabel", "2", "--suspects", "--purpose", "evaluation"), 2, "suspects"),
        (("query", "--relabel", "2", "--suspects"), 5, "labels suspects"),
        (("query", "--relabel", "2", "--purpose", "evaluation"), 6, "none is disputed"),
    ],
)
def test_what_cannot_be_done_changes_nothing_and_says_why(
    root: Path, line: tuple[str, ...], code: int, words: str
) -> None:
    before = dump(root)
    refused: Outcome = run(root, *line)
    assert refused.code == code, refused
    assert words in refused.err
    assert len(message(refused)) == 2 or code == 2
    assert dump(root) == before


def test_without_labels_there_is_nothing_to_export(tmp_path: Path) -> None:
    made = make(tmp_path / "work", 2)
    assert run(made, "labels", "export").code == 5
    assert run(made, "labels", "suspects").code == 5
    assert ok(made, "labels", "annotators", "--json").json == {"annotators": [], "pairs": []}
    assert ok(made, "labels", "disputed").rows == []
    assert ok(made, "labels", "log").rows == []
