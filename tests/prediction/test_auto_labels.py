"""``predict --auto``: what is promised, recorded, shown, kept out of everything people decide, and taken back."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from dalcli_runner import message, ok, problems, run
from promised_workspaces import Promised, measure, promised, train
from workspaces import ask, dump, session

from dalcli.state import auto_labels, catalog, ledger, versions

AUTO = ("predict", "--auto", "--max-error", "0.02")
ACCEPTED = 737
"""With the law and the seed of ``promised_workspaces``."""


@pytest.fixture
def made(tmp_path: Path) -> Promised:
    return promised(tmp_path / "work")


def exported(root: Path) -> dict[str, dict[str, str]]:
    """Labels by models, by sample id."""
    rows = csv.DictReader(io.StringIO(ok(root, "labels", "export", "--auto").out.decode()))
    return {row["sample_id"]: row for row in rows if row["by"] != "people"}


def test_what_is_accepted_is_what_the_model_is_sure_of(made: Promised) -> None:
    result = ok(made.root, *AUTO, "--json").json
    (part,) = result["parts"]
    taken = exported(made.root)
    states = {row["sample_id"]: row["state"] for row in ok(made.root, "pool", "list", "--json").json["entries"]}
    assert result["accepted"] == part["accepted"] == len(taken) == ACCEPTED
    assert {name for name, state in states.items() if state == "auto-labeled"} == taken.keys()
    assert all(made.sure[name] >= part["threshold"] - 1e-6 for name in taken)
    left = [name for name, state in states.items() if state == "unlabeled"]
    assert all(made.sure[name] < part["threshold"] for name in left)
    assert all(row["label"] == ("cat", "dog")[made.said[name]] for name, row in taken.items())
    assert {row["by"] for row in taken.values()} == {"auto:m-0001"}
    wrong = np.mean([made.said[name] != made.truth[name] for name in taken])
    assert wrong <= part["bound"] <= 0.02
    assert result["recorded"] and result["annotator"] == "auto:m-0001"


def test_again_does_nothing_and_says_the_same(made: Promised) -> None:
    first = ok(made.root, *AUTO)
    before = dump(made.root)
    again = ok(made.root, *AUTO)
    assert again.out == first.out
    assert "up to date" in again.err
    assert dump(made.root) == before


def test_different_tries_are_counted_and_told_of_also_where_nothing_is_accepted(made: Promised) -> None:
    said = "different tries were made"
    assert said not in ok(made.root, *AUTO).err
    assert said not in ok(made.root, *AUTO).err  # the same one again is not another
    refused = run(made.root, "predict", "--auto", "--max-error", "0.0001")
    assert refused.code == 5 and f"2 {said} by now" in refused.err and "90% sure" in refused.err
    assert f"3 {said} by now" in ok(made.root, "predict", "--auto", "--max-error", "0.03").err
    assert f"3 {said} by now" in ok(made.root, *AUTO).err
    assert said not in ok(made.root, "predict", "--auto", "--max-error", "0.03", "--tries", "5").err


def test_a_dry_run_records_nothing(made: Promised) -> None:
    before = dump(made.root)
    shown = ok(made.root, *AUTO, "--dry-run")
    assert "would be accepted" in shown.out.decode()
    assert dump(made.root) == before


def test_people_are_not_touched(made: Promised) -> None:
    with session(made.root) as opened, opened.database.read() as connection:
        labels = ledger.labels(connection, "training"), ledger.labels(connection, "evaluation")
        votes = connection.execute("SELECT count(*) FROM vote").fetchone()[0]
    ok(made.root, *AUTO)
    with session(made.root) as opened, opened.database.read() as connection:
        model = versions.newest(connection)
        assert model is not None and versions.newer_labels(connection, model) == 0
        assert (ledger.labels(connection, "training"), ledger.labels(connection, "evaluation")) == labels
        assert connection.execute("SELECT count(*) FROM vote").fetchone()[0] == votes
        assert connection.execute("SELECT count(*) FROM consensus").fetchone()[0] == 0
    plain = ok(made.root, "labels", "export")
    assert "auto:" not in plain.out.decode()
    assert f"{ACCEPTED} labels by a model are left out" in plain.err


def test_a_person_wins(made: Promised) -> None:
    ok(made.root, *AUTO)
    name = next(iter(exported(made.root)))
    ok(made.root, "ingest-labels", "-", stdin=made.answers([name], wrong=True).encode())
    shown = ok(made.root, "labels", "show", name, "--json").json
    assert (shown["state"], shown["label"]) == ("labeled", ("cat", "dog")[1 - made.truth[name]])
    assert [label["counts"] for label in shown["by_models"]] == [False]
    assert name not in exported(made.root)


def test_query_leaves_them_alone_unless_it_is_to_check_them(made: Promised) -> None:
    ok(made.root, *AUTO)
    taken = exported(made.root)
    free = ok(made.root, "query", "--budget", "1000", "--strategy", "random").rows
    assert len(free) == 1500 - 20 - ACCEPTED - len(ask(made.root, "SELECT 1 FROM sample WHERE purpose = 'evaluation'"))
    assert not {row["sample_id"] for row in free} & taken.keys()
    drawn = ok(made.root, "query", "--auto-labeled", "--new", "--budget", "30").rows
    assert len(drawn) == 30 and {row["sample_id"] for row in drawn} <= taken.keys()
    ok(made.root, "predict", "--withdraw")
    back = ok(made.root, "query", "--budget", "1000", "--strategy", "margin", "--new").rows
    assert {row["sample_id"] for row in back} == taken.keys() - {row["sample_id"] for row in drawn}
    assert run(made.root, "query", "--auto-labeled", "--new", "--budget", "3").code == 6


def test_withdrawn_as_a_whole_and_still_in_the_ledger(made: Promised) -> None:
    ok(made.root, *AUTO)
    ok(made.root, "predict", "--withdraw")
    assert exported(made.root) == {}
    log = list(csv.DictReader(io.StringIO(ok(made.root, "labels", "log", "--annotator", "auto:m-0001").out.decode())))
    assert [row["event"] for row in log].count("auto-label") == ACCEPTED
    (gone,) = [row for row in log if row["event"] == "auto-withdrawal"]
    assert "--withdraw" in gone["label"]
    assert run(made.root, "predict", "--check").code == 5
    assert ok(made.root, "status", "--json").json["auto_labels"] == []


def test_a_later_version_replaces_them(made: Promised) -> None:
    ok(made.root, *AUTO)
    with session(made.root) as opened, opened.database.write() as connection:
        train(opened, connection, made)
    ok(made.root, *AUTO)
    with session(made.root) as opened, opened.database.read() as connection:
        first, second = auto_labels.runs(connection)
    assert (first.standing, first.reason) == (0, "replaced by a later run of auto:m-0002")
    assert (second.annotator, second.standing) == ("auto:m-0002", ACCEPTED)


def test_evaluation_labels_that_come_later_can_break_the_promise(tmp_path: Path) -> None:
    made = promised(tmp_path / "work", pool=2500, labeled=0.7)
    taken = ok(made.root, *AUTO, "--json").json["accepted"]
    assert taken
    rest = [row["sample_id"] for row in ok(made.root, "query", "--purpose", "evaluation", "--budget", "2000").rows]
    surest = sorted(rest, key=lambda name: -made.sure[name])[:60]
    answers = made.answers(surest, wrong=True) + made.answers([n for n in rest if n not in surest]).split("\n", 1)[1]
    ok(made.root, "ingest-labels", "-", stdin=answers.encode())
    with session(made.root) as opened, opened.database.write() as connection:
        model = versions.newest(connection)
        assert model is not None
        measure(opened, connection, made, model)
    checked = ok(made.root, "predict", "--check", "--json")
    (run_,) = checked.json["runs"]
    assert "60 of" in run_["withdrawn"] and "were promised" in run_["withdrawn"]
    assert exported(made.root) == {}
    assert "are withdrawn" in checked.err


def test_evaluation_labels_that_come_later_can_confirm_it(tmp_path: Path) -> None:
    made = promised(tmp_path / "work", pool=2500, labeled=0.7)
    ok(made.root, *AUTO)
    rest = [row["sample_id"] for row in ok(made.root, "query", "--purpose", "evaluation", "--budget", "2000").rows]
    ok(made.root, "ingest-labels", "-", stdin=made.answers(rest).encode())
    with session(made.root) as opened, opened.database.write() as connection:
        model = versions.newest(connection)
        assert model is not None
        measure(opened, connection, made, model)
    (run_,) = ok(made.root, "predict", "--check", "--json").json["runs"]
    assert run_["withdrawn"] is None and run_["bound"] <= 0.02


@pytest.mark.parametrize(("wrong", "falls"), [(0, False), (1, False), (12, True)])
def test_people_who_check_them_can_break_the_promise(made: Promised, wrong: int, falls: bool) -> None:
    ok(made.root, *AUTO)
    ids = [row["sample_id"] for row in ok(made.root, "query", "--auto-labeled", "--budget", "60").rows]
    answers = made.answers(ids[:wrong], wrong=True) + made.answers(ids[wrong:]).split("\n", 1)[1]
    told = ok(made.root, "ingest-labels", "-", stdin=answers.encode())
    assert ("withdrawn" in told.err) == falls
    assert bool(exported(made.root)) != falls


def checked_by_people(made: Promised, wrong: int, right: int) -> str:
    """``query --auto-labeled``, answered: what was told."""
    ids = [r["sample_id"] for r in ok(made.root, "query", "--auto-labeled", "--budget", str(wrong + right)).rows]
    answers = made.answers(ids[:wrong], wrong=True) + made.answers(ids[wrong:]).split("\n", 1)[1]
    return ok(made.root, "ingest-labels", "-", stdin=answers.encode()).err


def test_a_promise_that_people_broke_is_not_made_again(made: Promised) -> None:
    ok(made.root, *AUTO)
    assert "withdrawn" in checked_by_people(made, 12, 0)
    refused = run(made.root, *AUTO)
    assert refused.code == 5
    assert "m-0001 cannot promise that any more: 12 of 12 that people checked are wrong" in refused.err
    assert "dalcli train" in refused.err
    plan = ok(made.root, "plan", "--finish", "--max-error", "0.02", "--json")
    assert [way["how"] for way in plan.json["ways"]] == ["by hand"]
    assert "m-0001 may not label" in plan.err
    with session(made.root) as opened, opened.database.write() as connection:
        train(opened, connection, made)  # another version is judged for itself
    assert ok(made.root, *AUTO, "--json").json["annotator"] == "auto:m-0002"


def test_checks_outlive_a_run_that_is_recorded_again(made: Promised) -> None:
    ok(made.root, *AUTO)
    assert "withdrawn" not in checked_by_people(made, 1, 9)
    assert ok(made.root, *AUTO, "--json").json["recorded"]
    (run_,) = ok(made.root, "predict", "--check", "--json").json["runs"]
    assert (run_["checked_by_people"], run_["wrong"], run_["withdrawn"]) == (10, 1, None)
    assert "withdrawn" in checked_by_people(made, 5, 0)
    runs = ok(made.root, "report", "--json").json["by_model"]
    known = [(each["checked"], each["wrong"]) for each in runs]
    assert known[1] == (15, 6)
    assert known[0] in {(10, 1), (15, 6)}  # what was known when it ended; moments are kept by the second
    ok(made.root, "predict", "--auto", "--max-error", "0.9")  # to which stricter runs' checks count as well
    (run_,) = ok(made.root, "predict", "--check", "--json").json["runs"]
    assert (run_["checked_by_people"], run_["wrong"]) == (15, 6)


def test_labels_that_nobody_drew_at_random_prove_nothing(made: Promised) -> None:
    ok(made.root, *AUTO)
    ids = list(exported(made.root))[:12]
    told = ok(made.root, "ingest-labels", "-", stdin=made.answers(ids, wrong=True).encode())
    assert "withdrawn" not in told.err
    assert len(exported(made.root)) == ACCEPTED - 12


def test_each_class_for_itself(made: Promised) -> None:
    whole = ok(made.root, *AUTO, "--dry-run", "--json").json
    result = ok(made.root, "predict", "--auto", "--max-error", "0.05", "--per-class", "--json").json
    assert [part["name"] for part in result["parts"]] == ["cat", "dog"]
    assert result["level"] == pytest.approx(0.975) and whole["level"] == pytest.approx(0.95)
    for part in result["parts"]:
        taken = [row for row in exported(made.root).values() if row["label"] == part["name"]]
        assert len(taken) == part["accepted"] > 0
        assert part["bound"] <= 0.05


def test_planned_tries_and_a_named_version_are_tested_more_strictly(made: Promised) -> None:
    with session(made.root) as opened, opened.database.write() as connection:
        train(opened, connection, made)
    assert ok(made.root, *AUTO, "--dry-run", "--tries", "5", "--json").json["level"] == pytest.approx(0.99)
    named = ok(made.root, *AUTO, "--dry-run", "--model", "m-0001", "--json").json
    assert named["level"] == pytest.approx(0.975)  # of two that were measured


def test_a_target_nobody_can_promise(tmp_path: Path) -> None:
    made = promised(tmp_path / "work", pool=600, reserve=0.5, labeled=0.13)
    before = ask(made.root, "SELECT count(*) FROM auto_run")
    outcome = run(made.root, "predict", "--auto", "--max-error", "0.01")
    assert outcome.code == 5
    first, remedy = message(outcome)
    labels = len(ask(made.root, "SELECT 1 FROM answer a JOIN sample s ON s.id = a.sample AND s.purpose = 'evaluation'"))
    assert f"no threshold has that guarantee (1%) with {labels} evaluation labels:" in first
    assert "more are needed" in first
    assert remedy
    assert ask(made.root, "SELECT count(*) FROM auto_run") == before


def test_a_test_set_is_no_random_part_of_the_pool(made: Promised) -> None:
    with session(made.root) as opened, opened.database.write() as connection:
        connection.execute("UPDATE sample SET reserve_position = 0.9 WHERE id = (SELECT max(sample) FROM vote)")
        images = catalog.images(connection, "evaluation")
        connection.execute("UPDATE sample SET reserve_position = 0.9 WHERE id = ?", (images[0].key,))
    outcome = run(made.root, *AUTO)
    assert outcome.code == 5 and "were named as a test set" in outcome.err
    assert ok(made.root, *AUTO, "--trust-test-set").code == 0


def test_labels_out_of_the_reserves_order_are_no_random_part_either(tmp_path: Path) -> None:
    made = promised(tmp_path / "work", labeled=0.5)
    with session(made.root) as opened, opened.database.read() as connection:
        last = auto_labels.reserve(connection)[-1].sample
        name = next(name for name, key in catalog.keys_by_id(connection).items() if key == last)
    ok(made.root, "ingest-labels", "-", stdin=made.answers([name]).encode())
    with session(made.root) as opened, opened.database.write() as connection:
        model = versions.newest(connection)
        assert model is not None
        measure(opened, connection, made, model)
    outcome = run(made.root, *AUTO)
    assert outcome.code == 5
    assert "come before others that have one" in outcome.err and "--purpose evaluation" in outcome.err


def test_a_version_trained_on_them_does_not_label(made: Promised) -> None:
    ok(made.root, *AUTO)
    with session(made.root) as opened, opened.database.write() as connection:
        train(opened, connection, made)
        (sample,) = list(auto_labels.labels(connection))[:1]
        connection.execute("INSERT INTO model_label VALUES (2, ?, 0)", (sample,))
    outcome = run(made.root, *AUTO)
    assert outcome.code == 5 and "trained on labels by a model" in outcome.err


def test_no_person_has_a_models_name(made: Promised) -> None:
    name = next(iter(made.truth))
    rows = f"sample_id,label,annotator\n{name},cat,AUTO:m-0001\n"
    outcome = run(made.root, "ingest-labels", "-", stdin=rows.encode())
    assert outcome.code == 3 and "a model's name" in problems(outcome)[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--auto",), "--max-error 0.01"),
        (("--auto", "--max-error", "1.5"), "between 0 and 1"),
        (("--auto", "--max-error", "0.1", "--confidence", "1"), "from 0.5"),
        (("--auto", "--max-error", "0.1", "--tries", "0"), "tries"),
        (("--auto", "--max-error", "0.1", "--top", "2"), "prints no predictions"),
        (("--auto", "--check", "--max-error", "0.1"), "two things"),
        (("--max-error", "0.1"), "--auto"),
        (("--top", "0"), "1 class or more"),
        (("--format", "xml"), "csv"),
        (("--check", "--model", "m-0001"), "leave it out"),
    ],
)
def test_misuse(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    outcome = run(tmp_path, "predict", *arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_the_way_to_the_end(made: Promised) -> None:
    (made.root / "dalcli.yaml").write_text("evaluation:\n  reserve: 0.4\ncosts:\n  price_per_vote: 0.5\n")
    plan = ok(made.root, "plan", "--finish", "--max-error", "0.02", "--json").json
    accepted = ok(made.root, *AUTO, "--dry-run", "--json").json["accepted"]
    by_hand, by_model = plan["ways"][:2]
    assert by_hand["by_hand"] == plan["images"] and by_hand["money"] == plan["images"] / 2
    assert by_model["by_model"] == accepted and by_model["by_hand"] == plan["images"] - accepted
    assert plan["ways"][plan["best"]] == by_model
    assert plan["next_step"].startswith("dalcli predict --auto")
    short = ok(made.root, "plan", "--finish", "--max-error", "0.02", "--money", "10", "--json").json
    assert [way["left"] for way in short["ways"][:2]] == [plan["images"] - 20, plan["images"] - accepted - 20]
    ok(made.root, *AUTO)
    done = ok(made.root, "plan", "--finish", "--max-error", "0.02", "--json").json
    assert done["standing"] == accepted and done["next_step"].startswith("dalcli query --budget")
    assert "by the model now" in ok(made.root, "plan", "--finish", "--max-error", "0.02").out.decode()


def test_rounds_on_the_way_to_the_end_cost_what_they_cost(made: Promised) -> None:
    (made.root / "dalcli.yaml").write_text(
        "evaluation:\n  reserve: 0.4\nquery: {budget: 100}\n"
        "costs:\n  price_per_vote: 0.5\n  price_per_round: 40\n  currency: EUR\n"
    )
    asked = ("plan", "--finish", "--max-error", "0.02")
    plan = ok(made.root, *asked, "--json").json
    for way in plan["ways"]:
        labels = way["evaluation_labels"] + way["by_hand"]
        assert way["rounds"] == -(-labels // 100)
        assert way["money"] == pytest.approx(labels / 2 + 40 * way["rounds"])
    shown = ok(made.root, *asked).out.decode()
    assert "0.50 EUR a label, and 40.00 EUR a round of 100 labels" in shown and "rounds" in shown


def test_the_way_to_the_end_through_more_evaluation_labels(tmp_path: Path) -> None:
    made = promised(tmp_path / "work", pool=4000, reserve=0.3, labeled=0.05)
    plan = ok(made.root, "plan", "--finish", "--max-error", "0.02", "--json").json
    assert [way["how"] for way in plan["ways"][:2]] == ["by hand", "after more evaluation labels"]
    best = plan["ways"][plan["best"]]
    assert best["evaluation_labels"] and best["evaluation_labels"] + best["by_hand"] < plan["images"]
    assert f"--budget {best['evaluation_labels']}" in plan["next_step"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--finish",), 2),
        (("--max-error", "0.1"), 2),
        (("--finish", "--max-error", "2"), 2),
        (("--finish", "--max-error", "0.1", "--target", "0.9"), 2),
        (("--finish", "--max-error", "0.1", "--money", "-1"), 2),
        (("--finish", "--max-error", "0.1", "--money", "5"), 3),
    ],
)
def test_misuse_of_plan_finish(made: Promised, arguments: tuple[str, ...], code: int) -> None:
    assert run(made.root, "plan", *arguments).code == code
