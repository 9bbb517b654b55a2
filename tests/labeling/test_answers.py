"""What is answered in the page is in the ledger: every vote, its withdrawal, the classes that were missed."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from dalcli_runner import ok, run, write_labels
from label_pages import handed_out, serving
from workspaces import add_model, ask, session

from dalcli.labeling.request import LabelRequest
from dalcli.state import labeling, versions

VOTES = "SELECT s.sample_id, c.name, v.annotator, v.file FROM standing_vote AS v JOIN sample AS s ON s.id = v.sample \
LEFT JOIN class AS c ON c.position = v.class ORDER BY v.id"


def states(root: Path) -> dict[str, int]:
    return {k: n for k, n in ok(root, "status", "--json").json["states"]["training"].items() if n}


def test_a_batch_is_labeled_from_its_first_image_to_its_last(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4)
    rows = [row["sample_id"] for row in ok(root, "batch", "show", "b-0001", "--csv").rows]
    with serving(root, LabelRequest(annotator="ann")) as served:
        assert served.get("api/setup").json["annotator"] == "ann"
        ann, seen, reply = served.person("ann"), [], None
        for number in range(4):
            item = ann.looking_at()
            seen.append(item)
            reply = ann.answer(item, label=("cat", "dog")[number % 2], seconds=1.5)
            # Committed before the reply: another process sees it.
            assert ask(root, VOTES)[-1] == (item, ("cat", "dog")[number % 2], "ann", "dalcli label")
        assert seen == rows
        assert reply["items"] == []
        assert (reply["standing"]["done"], reply["standing"]["total"], reply["standing"]["mine"]) == (4, 4, 4)
        assert reply["standing"]["an_hour"] == pytest.approx(3600 / 1.5)
        result = served.result()
    assert (result.labels, result.skipped, result.outstanding, result.annotators) == (4, 0, 0, {"ann": 4})
    assert [(batch.batch_id, batch.open) for batch in result.batches] == [("b-0001", False)]
    assert states(root) == {"labeled": 4, "unlabeled": 8}
    moments = ask(root, "SELECT labeled_at, seconds, line FROM vote")
    assert all(moment and seconds == 1.5 and line == 0 for moment, seconds, line in moments)


def test_the_next_image_is_named_ahead_and_comes(tmp_path: Path) -> None:
    with serving(handed_out(tmp_path / "w")) as served:
        ann = served.person()
        now, ahead = (item["sample"] for item in ann.next()["items"])
        assert ann.answer(now, label="cat")["items"][0]["sample"] == ahead


def test_a_skip_answers_and_is_no_label(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    with serving(root) as served:
        ann = served.person()
        assert ann.answer(ann.looking_at())["standing"]["done"] == 1
        assert served.result().skipped == 1
    assert states(root) == {"skipped": 1, "in flight": 1, "unlabeled": 10}


def test_a_lost_reply_costs_no_second_vote(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w")
    with serving(root) as served:
        ann = served.person()
        item = ann.looking_at()
        first = ann.answer(item, label="cat")
        assert ann.answer(item, label="cat")["vote"] == first["vote"]
        other = ann.looking_at()
        assert ann.answer(other, proposal="fox")["vote"] == ann.answer(other, proposal="fox")["vote"]
        assert len(ask(root, "SELECT * FROM vote")) == 2
        assert len(ask(root, "SELECT * FROM proposal")) == 1


def test_undo_takes_the_vote_back_and_shows_the_image_again(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    with serving(root) as served:
        ann = served.person("ann")
        first = ann.looking_at()
        kept = ann.answer(first, label="cat")["vote"]
        last = ann.looking_at()
        done = ann.answer(last, label="dog")
        assert done["items"] == []
        reply = ann.undo(done["vote"])
        assert [item["sample"] for item in reply["items"]] == [last]
        assert reply["standing"]["done"] == 1
        assert states(root) == {"in flight": 1, "labeled": 1, "unlabeled": 10}
        reply = ann.undo(kept)
        assert [item["sample"] for item in reply["items"]] == [first, last]
        assert states(root) == {"in flight": 2, "unlabeled": 10}
        ann.answer(first, label="dog")
        assert served.result().labels == 1
        assert served.result().taken_back == 2
    # The ledger keeps all three votes and both withdrawals.
    assert [row[1] for row in ask(root, VOTES)] == ["dog"]
    assert len(ask(root, "SELECT * FROM vote")) == 3
    assert len(ask(root, "SELECT * FROM withdrawal")) == 2


def test_what_was_said_before_counts_again_after_an_undo(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    rows = ok(root, "batch", "show", "b-0001", "--csv").rows
    with serving(root) as served:
        ann = served.person("ann")
        item = ann.looking_at()
        ann.answer(item, label="cat")
        vote = ann.answer(item, label="dog")["vote"]  # from a tab that was left open
        assert [row[1] for row in ask(root, "SELECT class, name FROM latest_vote JOIN class ON position = class")] == [
            "dog"
        ]
        ann.undo(vote)
        assert states(root) == {"labeled": 1, "in flight": 1, "unlabeled": 10}
    file = write_labels(root / "again.csv", [row for row in rows if row["sample_id"] == item], all_of_them="cat")
    file.write_text(file.read_text().replace("batch_id,label", "batch_id,label,annotator").replace(",cat", ",cat,ann"))
    assert "known already" in ok(root, "ingest-labels", file).err


@pytest.mark.parametrize("whose", ["somebody else's", "from a file", "taken back", "replaced", "of no batch", "none"])
def test_only_ones_own_answer_that_stands_can_be_taken_back(tmp_path: Path, whose: str) -> None:
    root = handed_out(tmp_path / "w")
    rows = ok(root, "batch", "show", "b-0001", "--csv").rows
    if whose == "from a file":
        ok(root, "ingest-labels", write_labels(root / "l.csv", rows[5:], all_of_them="cat"))
    with serving(root) as served:
        ann, bob = served.person("" if whose == "from a file" else "ann"), served.person("bob")
        vote = 1
        if whose == "somebody else's":
            vote = bob.answer(bob.looking_at(), label="cat")["vote"]
        elif whose in {"taken back", "replaced"}:
            item = ann.looking_at()
            vote = ann.answer(item, label="cat")["vote"]
            _ = ann.undo(vote) if whose == "taken back" else ann.answer(item, label="dog")
        before = ask(root, "SELECT * FROM withdrawal")
        reply = ann.say("undo", vote=999 if whose == "none" else vote)
        assert reply.status == 409
        assert "nothing to take back" in reply.json["error"]
        assert ask(root, "SELECT * FROM withdrawal") == before


def test_a_model_that_saw_a_vote_that_was_taken_back_is_stale(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w")
    with serving(root) as served:
        ann = served.person()
        vote = ann.answer(ann.looking_at(), label="cat")["vote"]
        add_model(root)
        ann.undo(vote)
    with session(root) as opened, opened.database.read() as connection:
        model = versions.newest(connection)
        assert model is not None
        assert versions.newer_labels(connection, model) == 1


def test_withdrawals_are_append_only(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w")
    with serving(root) as served:
        ann = served.person()
        ann.undo(ann.answer(ann.looking_at(), label="cat")["vote"])
    connection = sqlite3.connect(root / ".dalcli" / "state.db")
    for statement in ("DELETE FROM withdrawal", "UPDATE withdrawal SET vote = 2"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_a_missed_class_is_proposed_and_never_added(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4)
    with serving(root) as served:
        ann, bob = served.person("ann"), served.person("bob")
        foxes = [ann.looking_at(), bob.looking_at()]
        ann.answer(foxes[0], proposal=" fox ")
        bob.answer(foxes[1], proposal="fox")
        wrong = ann.answer(ann.looking_at(), proposal="wolf")["vote"]
        ann.undo(wrong)
        refused = ann.say("answer", sample=ann.looking_at(), proposal="Cat")
        assert (refused.status, refused.json["error"]) == (409, "'cat' is a class already: choose it")
        assert served.get("api/setup").json["classes"] == ["cat", "dog"]
        assert [(each.name, each.samples) for each in served.result().proposals] == [("fox", tuple(foxes))]
    assert ok(root, "status", "--json").json["proposed_classes"] == {"fox": 2}
    assert "fox 2" in ok(root, "status").out.decode()
    assert states(root) == {"skipped": 2, "in flight": 2, "unlabeled": 8}
    # Somebody reads them, and takes them in as what they are: labels of a new class.
    listed = ok(root, "label", "--proposals")
    assert [tuple(row.values()) for row in listed.rows] == [(foxes[0], "fox", "ann"), (foxes[1], "fox", "bob")]
    (root / "new.csv").write_bytes(listed.out)
    assert run(root, "ingest-labels", "new.csv").code == 3
    ok(root, "ingest-labels", "new.csv", "--allow-new-classes")
    assert states(root) == {"labeled": 2, "in flight": 2, "unlabeled": 8}
    assert ok(root, "status", "--json").json["proposed_classes"] == {}


@pytest.mark.parametrize("name", ["a\nb", "\u202e", "   "])
def test_a_proposal_is_a_name(tmp_path: Path, name: str) -> None:
    with serving(handed_out(tmp_path / "w")) as served:
        ann = served.person()
        assert ann.say("answer", sample=ann.looking_at(), proposal=name).status in {400, 409}


def test_the_models_guesses_are_counted_where_both_are_known(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4)
    connection = sqlite3.connect(root / ".dalcli" / "state.db")
    connection.execute("UPDATE batch_row SET pseudo_label = 0, confidence = 0.75 WHERE rank < 4")
    connection.commit()
    connection.close()
    with serving(root) as served:
        ann = served.person()
        item = ann.next()["items"][0]
        assert (item["guess"], item["confidence"]) == ("cat", 0.75)
        replies = [
            ann.answer(ann.looking_at(), **what) for what in ({"label": "cat"}, {"label": "dog"}, {}, {"label": "cat"})
        ]
        found = [(reply["standing"]["guesses"]["right"], reply["standing"]["guesses"]["seen"]) for reply in replies]
        assert found == [(1, 1), (1, 2), (1, 2), (1, 2)]
        back = ann.undo(replies[1]["vote"])["standing"]["guesses"]
        assert (back["right"], back["seen"]) == (1, 1)
    with serving(root) as served:  # it is what the ledger says, not what one run remembers
        assert served.result().guesses.seen == 1


def test_evaluation_batches_are_labeled_too(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 1)
    with serving(root) as served:
        ann = served.person()
        ann.answer(ann.looking_at(), label="cat")
        connection = sqlite3.connect(root / ".dalcli" / "state.db")
        connection.execute(
            "UPDATE sample SET purpose = 'evaluation' WHERE id IN (SELECT id FROM sample"
            " WHERE id NOT IN (SELECT sample FROM batch_row) LIMIT 3)"
        )
        connection.commit()
        connection.close()
        ok(root, "query", "--purpose", "evaluation", "--budget", "2")  # while the page is open
        assert ann.next()["items"][0]["batch"] == "b-0002"
        assert ann.next()["standing"] | {"an_hour": None} == {
            "done": 1,
            "total": 3,
            "elsewhere": 0,
            "mine": 1,
            "an_hour": None,
            "guesses": {"seen": 0, "right": 0},
        }


def test_a_batch_that_was_released_meanwhile_is_over_and_a_late_answer_counts(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 3)
    with serving(root) as served:
        ann = served.person()
        item = ann.looking_at()
        ok(root, "batch", "release", "b-0001")
        assert served.get(f"image/{item}").status == 200
        reply = ann.answer(item, label="cat")
        assert reply["items"] == []
        assert (reply["standing"]["done"], reply["standing"]["total"]) == (1, 1)
    assert states(root) == {"labeled": 1, "unlabeled": 11}


def test_labels_that_come_from_a_file_meanwhile_are_not_asked_again(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4)
    rows = ok(root, "batch", "show", "b-0001", "--csv").rows
    with serving(root) as served:
        ann = served.person()
        assert ann.looking_at() == rows[0]["sample_id"]
        ok(root, "ingest-labels", write_labels(root / "l.csv", rows[:3], all_of_them="cat"))
        reply = ann.next()
        assert [item["sample"] for item in reply["items"]] == [rows[3]["sample_id"]]
        assert reply["standing"]["done"] == 3


def test_a_batch_closes_at_its_fraction(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 4, config="query:\n  close_at: 0.5\n")
    with serving(root) as served:
        ann = served.person()
        assert len(ann.answer(ann.looking_at(), label="cat")["items"]) == 2
        assert ann.answer(ann.looking_at(), label="cat")["items"] == []
    assert states(root) == {"labeled": 2, "unlabeled": 10}


def test_disputes_are_shown_with_their_votes_to_those_who_have_not_seen_them(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    rows = ok(root, "batch", "show", "b-0001", "--csv").rows
    for name, labels in (("ann", ("cat", "cat")), ("bob", ("dog", "cat"))):
        lines = [f"{row['sample_id']},{label},{name}" for row, label in zip(rows, labels, strict=True)]
        (root / f"{name}.csv").write_text("\n".join(["sample_id,label,annotator", *lines]) + "\n")
        ok(root, "ingest-labels", f"{name}.csv")
    disputed = rows[0]["sample_id"]
    with serving(root, LabelRequest(relabel=True)) as served:
        ann, bob, cem = (served.person(name) for name in ("ann", "bob", "cem"))
        assert bob.next()["items"] == []  # voted last, so has had the last word
        (item,) = ann.next()["items"]
        assert item["sample"] == disputed
        assert [(vote["annotator"], vote["label"]) for vote in item["said"]] == [("ann", "cat"), ("bob", "dog")]
        assert cem.next()["items"] == []  # ann is looking at it
        ann.answer(disputed, label="cat")  # looked again, and stays with it: a vote of its own
        assert [vote["annotator"] for vote in bob.next()["items"][0]["said"]] == ["bob", "ann"]
        assert bob.answer(disputed, label="cat")["standing"]["done"] == 1
        assert served.get(f"image/{rows[1]['sample_id']}").status == 404  # in the pool, but not disputed
    assert states(root) == {"labeled": 2, "unlabeled": 10}
    assert run(root, "label", "--relabel").code == 6


def test_an_unknown_image_or_class_changes_nothing(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    outside = ask(root, "SELECT sample_id FROM sample WHERE id NOT IN (SELECT sample FROM batch_row)")[0][0]
    with serving(root) as served:
        ann = served.person()
        assert ann.say("answer", sample=outside, label="cat").status == 404
        assert ann.say("answer", sample=ann.looking_at(), label="catt").status == 409
    assert ask(root, "SELECT * FROM vote") == []


def test_a_class_that_comes_in_meanwhile_can_be_chosen(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 3)
    rows = ok(root, "batch", "show", "b-0001", "--csv").rows
    with serving(root) as served:
        ann = served.person()
        before = ann.next()["classes"]
        file = write_labels(root / "l.csv", rows[2:], all_of_them="owl")
        ok(root, "ingest-labels", file, "--allow-new-classes")
        assert ann.next()["classes"] != before
        assert served.get("api/setup").json["classes"] == ["cat", "dog", "owl"]
        ann.answer(ann.looking_at(), label="owl")


def test_standing_votes_of_the_past_are_read_as_before(tmp_path: Path) -> None:
    root = handed_out(tmp_path / "w", 2)
    rows = ok(root, "batch", "show", "b-0001", "--csv").rows
    ok(root, "ingest-labels", write_labels(root / "l.csv", rows, all_of_them="cat"))
    with session(root) as opened, opened.database.read() as connection:
        assert labeling.standing_votes(connection, [1, 2, 3]) == {1, 2}


def test_after_two_undos_the_images_come_in_their_order(tmp_path: Path) -> None:
    with serving(handed_out(tmp_path / "w", 5)) as served:
        ann = served.person()
        shown, votes = [], []
        for _ in range(3):
            shown.append(ann.looking_at())
            votes.append(ann.answer(shown[-1], label="cat")["vote"])
        for vote in reversed(votes):
            ann.undo(vote)
        again = []
        for _ in range(3):
            again.append(ann.looking_at())
            ann.answer(again[-1], label="dog")
        assert again == shown
