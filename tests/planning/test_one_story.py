"""What ``plan`` says in one place does not contradict what it says in another, or what other commands say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import message, ok, run
from planned_workspaces import add_labels, planned
from workspaces import session

from dalcli.planning.figures import share
from dalcli.state import batches, classes, ledger
from dalcli.state.batches import BatchOptions, BatchRow
from dalcli.state.ledger import Vote

SIZES = [100 * n for n in range(1, 9)]
PRICED = "costs: {currency: EUR, price_per_vote: 0.7, %s}\n"


def plan(root: Path, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = ok(root, "plan", *options, "--json").json
    return document


def unanswered(root: Path, purpose: str) -> list[int]:
    with session(root) as opened, opened.database.read() as connection:
        rows = connection.execute(
            "SELECT id FROM sample WHERE purpose = ? AND id NOT IN (SELECT sample FROM vote) AND width IS NOT NULL"
            " ORDER BY id",
            (purpose,),
        )
        return [row["id"] for row in rows]


def hand_out(root: Path, samples: list[int], purpose: Any = "training") -> str:
    with session(root) as opened, opened.database.write() as connection:
        name = batches.next_id(connection)
        rows = [BatchRow(rank, sample, None, None, None, "margin", "active") for rank, sample in enumerate(samples, 1)]
        options = BatchOptions({}, {})
        batches.issue(
            connection, name, rows, b"", options=options, purpose=purpose, requested=len(rows), model=None, key=None
        )
    return name


def answer(root: Path, samples: list[int], label: int | None) -> None:
    with session(root) as opened, opened.database.write() as connection:
        ledger.record(connection, [Vote(sample, label, "", "more.csv", line) for line, sample in enumerate(samples, 2)])


# Classes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kitten", "C#", "a=b, c"])
def test_forecasts_outlive_the_name_of_their_class(tmp_path: Path, name: str) -> None:
    root = planned(tmp_path / "work", SIZES)
    before = plan(root, "--metric", "recall:cat")
    ok(root, "classes", "rename", "cat", name)
    after = plan(root, "--metric", f"recall:{name}")
    assert after["metric"] == f"recall:{name}"
    assert after["standing"] == before["standing"]
    assert after["band"] == before["band"]
    assert plan(root, "--metric", "recall:cat") == after, "its earlier name still means it"
    history = ok(root, "plan", "history", "--json").json
    assert [each["metric"] for each in history["forecasts"]] == [f"recall:{name}"]
    assert f"recall:{name}" in ok(root, "plan", "history").out.decode()


def test_costs_of_mistakes_may_name_classes_as_they_were_called(tmp_path: Path) -> None:
    costs = "plan: {metric: error, error_costs: {cat: {dog: 5}}}\ncosts: {price_per_vote_by_class: {cat: 2, dog: 4}}\n"
    root = planned(tmp_path / "work", SIZES, config=costs)
    before = plan(root, "--budget", "100")
    ok(root, "classes", "rename", "cat", "kitten")
    assert plan(root, "--budget", "100")["answer"] == before["answer"]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("costs: {price_per_vote_by_class: {catt: 5}}", "unknown class 'catt': did you mean 'cat'?"),
        ("plan: {metric: error, error_costs: {cat: {cat: 5}}}", "plan.error_costs.cat.cat: a right answer costs"),
        ("plan: {metric: recall:cow}", "dalcli.yaml: plan.metric: unknown class 'cow'"),
    ],
)
def test_names_that_mean_nothing_are_refused(tmp_path: Path, config: str, said: str) -> None:
    root = planned(tmp_path / "work", SIZES[:4], config=config)
    refused = run(root, "plan")
    assert refused.code == 3
    assert said in message(refused)[0]


def test_macro_recall_says_whom_it_leaves_out(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES[:5], evaluated=1)  # a dog or a cat, and nothing of the other
    assert "1 class has no evaluation example" in " ".join(plan(root, "--metric", "macro")["notes"])


# Batches ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "costs",
    [
        "penalty_for_missing_target: 20000",
        "penalty_for_missing_target: 20000, price_per_round: 20",
        "penalty_for_missing_target: 20000, price_per_round: 400",
        "value_per_point: 900, price_per_round: 20",
    ],
)
def test_one_batch_size_is_spoken_of(tmp_path: Path, costs: str) -> None:
    root = planned(tmp_path / "work", SIZES, config=PRICED % costs)
    for options in (["--target", "0.78"], ["--target", "0.78", "--money", "900"], []):
        found = plan(root, *options)
        if found["decision"] is None:  # a penalty, and no target
            continue
        size = found["decision"]["batch"]
        if found["verdict"] == "continue":
            assert found["next_batch"]["labels"] == size
            assert found["next_step"] == f"dalcli query --budget {size} > to_label.csv"
        elif "the chance" not in found["reason"]:
            assert f"in batches of {size:,} until" in found["reason"]
        for bought in [*found["budgets"], *([found["answer"]] if found["answer"] else [])]:
            assert bought["rounds"] == -(-bought["labels"] // size)
        shown = ok(root, "plan", *options).out.decode().replace("\n", " ")
        assert f"one batch of {size:,}: " in " ".join(shown.split())


def test_images_that_give_no_label_are_handed_out_and_paid_for(tmp_path: Path) -> None:
    """Every second image was skipped: 100 labels take 200 images, two batches of the usual 100."""
    root = planned(
        tmp_path / "work", SIZES, config=PRICED % "price_per_round: 20, labels_per_day: 100, days_per_round: 1"
    )
    with session(root) as opened, opened.database.read() as connection:
        labeled = list(ledger.labels(connection, "training"))
    free = unanswered(root, "training")
    skipped = free[: len(labeled)]
    hand_out(root, skipped[:-100])
    answer(root, skipped[:-100], None)
    hand_out(root, skipped[-100:])
    answer(root, skipped[-100:], None)
    found = plan(root)
    assert found["standing"]["usable"] == pytest.approx(0.5)
    batch = found["next_batch"]
    assert (batch["images"], batch["labels"], batch["money"]) == (100, 50, pytest.approx(0.7 * 100 + 20))
    assert found["next_step"] == "dalcli query --budget 100 > to_label.csv"
    bought = plan(root, "--budget", "100")["answer"]
    assert (bought["rounds"], bought["money"]) == (2, pytest.approx(0.7 * 200 + 2 * 20))
    assert bought["days"] == pytest.approx(200 / 100 + 2)
    assert "100 images, 50 labels" in ok(root, "plan").out.decode()


@pytest.mark.parametrize(
    ("options", "step"),
    [
        (["--budget", "20"], "dalcli query --budget 20 > to_label.csv"),
        (["--money", "15"], "dalcli query --budget 7 > to_label.csv"),  # 10 for the round, 0.7 each
        (["--budget", "20", "--target", "0.71"], "dalcli query --budget 20 > to_label.csv"),
    ],
)
def test_the_next_batch_keeps_within_what_was_asked(tmp_path: Path, options: list[str], step: str) -> None:
    root = planned(tmp_path / "work", SIZES, config=PRICED % "price_per_round: 10")
    assert plan(root, *options)["next_step"] == step


def test_money_that_buys_no_label_buys_no_batch(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES, config=PRICED % "price_per_round: 10")
    found = run(root, "plan", "--money", "5", "--exit-code", "--json")
    assert found.code == 11
    assert (found.json["next_batch"], found.json["answer"]["labels"]) == (None, 0)
    assert found.json["next_step"].startswith("nothing")


def test_a_batch_that_came_back_as_it_went_out_cost_no_round(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES, config=PRICED % "price_per_round: 10")
    before = plan(root)
    name = hand_out(root, unanswered(root, "training")[:300])
    ok(root, "batch", "release", name)
    after = plan(root)
    assert after["standing"]["spent"] == before["standing"]["spent"]
    assert after["next_batch"] == before["next_batch"]


def test_several_batches_out_are_named_alike_everywhere(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    free = unanswered(root, "training")
    first = hand_out(root, free[:10])
    hand_out(root, free[10:20])
    step = f"dalcli ingest-labels FILE   (batch {first} is out)"
    assert plan(root)["next_step"] == step
    assert ok(root, "status", "--json").json["next_step"] == step


# Standing -----------------------------------------------------------------------------------------------------------


def test_labels_that_nothing_was_trained_on_yet_are_not_the_end(tmp_path: Path) -> None:
    """The pool is empty, and 900 labels are to be trained on: the target may be reached with them."""
    root = planned(tmp_path / "work", SIZES, pool=1700)
    with session(root) as opened, opened.database.write() as connection:
        free = [
            row["id"]
            for row in connection.execute(
                "SELECT id FROM sample WHERE purpose = 'training' AND id NOT IN (SELECT sample FROM vote)"
            )
        ]
        add_labels(connection, free, None, "margin")
    found = run(root, "plan", "--target", "0.68", "--exit-code", "--json")
    assert (found.code, found.json["verdict"]) == (0, "continue")
    assert found.json["next_step"] == "dalcli train && dalcli evaluate"
    assert found.json["to_target"]["chance"] > 0.5
    assert run(root, "plan", "--exit-code").code == 0


def test_labels_lost_to_a_dispute_are_bought_again_first(tmp_path: Path) -> None:
    """800 were measured, 700 are left: 100 more make 800 again."""
    root = planned(tmp_path / "work", SIZES)
    with session(root) as opened, opened.database.write() as connection:
        labels = ledger.labels(connection, "training")
        votes = [
            Vote(sample, 1 - label, "ann", "other.csv", line) for line, (sample, label) in enumerate(labels.items())
        ]
        ledger.record(connection, votes[:100])
    found = plan(root)
    assert found["standing"]["labels_now"] == 700
    today, bought = found["band"][0], plan(root, "--budget", "100")["answer"]["value"]
    assert bought == pytest.approx({name: today[name] for name in bought})


def test_evaluation_labels_that_are_out_are_waited_for(tmp_path: Path) -> None:
    flat = [0.85, 0.90, 0.93, 0.94, 0.95, 0.95, 0.951, 0.952]
    root = planned(tmp_path / "work", SIZES, flat, evaluation=1500, evaluated=400)
    wanted = plan(root, "--target", "0.93")["proof"]["evaluation_now"]
    name = hand_out(root, unanswered(root, "evaluation")[:wanted], "evaluation")
    found = plan(root, "--target", "0.93")
    assert found["verdict"] == "need-evaluation-labels"
    assert f"{wanted:,} are out" in found["reason"]
    assert found["next_step"] == f"dalcli ingest-labels FILE   (evaluation batch {name} is out)"


def test_a_target_next_to_one_is_not_called_one(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    shown = ok(root, "plan", "--target", "0.9999").out.decode()
    assert "99.99%" in shown and "100.0%" not in shown


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "costs.price_per_vote is not set"),
        ("costs: {price_per_round: 20, penalty_for_missing_target: 900}", "costs.price_per_vote is not set"),
        ("costs: {price_per_hour: 20}", "costs.seconds_per_vote is not set"),
        ("costs: {price_per_vote: 1, penalty_for_missing_target: 900}", "no target is set"),
        ("costs: {price_per_vote: 1}", "neither costs.penalty_for_missing_target nor costs.value_per_point"),
    ],
)
def test_the_reason_for_the_usual_batch_names_what_is_missing(tmp_path: Path, config: str, said: str) -> None:
    root = planned(tmp_path / "work", SIZES, config=config)
    assert said in plan(root)["next_batch"]["reason"]


def test_no_evaluation_labels_no_subsets(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES[:2], evaluated=0)
    assert "--subsets" not in ok(root, "plan").out.decode()


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.95, "95.0%"), (0.9996, "99.96%"), (0.9999, "99.99%"), (1.0, "100.0%"), (0.9999999999, "100.0%"), (0.0, "0.0%")],
)
def test_shares_next_to_all_are_told_from_all(value: float, said: str) -> None:
    assert share(value) == said


def test_on_the_way_to_a_proof_all_is_reckoned_in_usual_batches(tmp_path: Path) -> None:
    rising = [0.63, 0.77, 0.87, 0.90, 0.93, 0.962, 0.976]
    costs = PRICED % "price_per_round: 20, penalty_for_missing_target: 20000"
    root = planned(tmp_path / "work", [40 * n for n in range(1, 8)], rising, evaluation=450, config=costs)
    found = plan(root, "--target", "0.95")
    assert found["proof"]["training"] > 0
    assert found["decision"]["batch"] == 40
    assert found["next_batch"]["labels"] == min(40, found["proof"]["training"])
    assert "costs to expect" not in ok(root, "plan", "--target", "0.95").out.decode()


def test_a_target_of_the_configuration_outlives_the_name_of_its_class(tmp_path: Path) -> None:
    """Cron goes by it."""
    config = "plan: {metric: 'recall:cat', target: 0.9999}\n"
    root = planned(tmp_path / "work", SIZES, config=config)
    before = run(root, "plan", "--exit-code", "--json")
    assert (before.code, before.json["target"]) == (11, 0.9999)
    ok(root, "classes", "rename", "cat", "kitten")
    after = run(root, "plan", "--exit-code", "--json")
    assert (after.code, after.json["target"]) == (11, 0.9999)
    cats = {"cat", "kitten"}
    named = [next(c for c in found.json["classes"] if c["name"] in cats) for found in (before, after)]
    assert (named[0].pop("name"), named[1].pop("name")) == ("cat", "kitten")
    assert named[0] == named[1]


def test_a_limit_that_lets_no_label_come_is_infeasible_whatever_is_measured(tmp_path: Path) -> None:
    rising = [0.63, 0.77, 0.87, 0.90, 0.93, 0.962, 0.976]
    costs = PRICED % "price_per_round: 20"
    root = planned(tmp_path / "work", [40 * n for n in range(1, 8)], rising, evaluation=450, config=costs)
    found = run(root, "plan", "--target", "0.95", "--money", "5", "--exit-code", "--json")
    assert found.code == 11
    assert "no label comes; the chance that 95.0% is reached already is" in found.json["reason"]
    assert found.json["next_step"].startswith("nothing")


def test_budgets_begin_with_what_is_out(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES, config=PRICED % "price_per_round: 20")
    hand_out(root, unanswered(root, "training")[:30])
    found = plan(root)
    assert [each["labels"] for each in found["budgets"]][:3] == [30, 60, 90]  # batches like the last one
    assert [each["rounds"] for each in found["budgets"]][:3] == [0, 1, 2]


def test_the_note_on_the_control_arm_knows_whether_there_is_one(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    assert "dalcli query --control 0.1 tells in time" in " ".join(plan(root)["notes"])
    with session(root) as opened, opened.database.write() as connection:
        connection.execute("UPDATE batch_row SET arm = 'control' WHERE rank = 1")
    assert "dalcli evaluate --control tells" in " ".join(plan(root)["notes"])


def test_measurements_from_before_a_merge_are_of_another_question(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    with session(root) as opened, opened.database.write() as connection:
        classes.append(connection, ["puppy"])
        classes.merge(connection, 2, 1)
        connection.execute("UPDATE evaluation SET measured_at = '2000-01-01T00:00:00Z'")
    found = plan(root)
    assert (found["verdict"], found["curve"], found["next_step"]) == ("insufficient-data", [], "dalcli evaluate")
    assert "8 versions were measured before classes were merged" in " ".join(found["basis"]["cautions"])
    with session(root) as opened, opened.database.write() as connection:
        connection.execute("UPDATE evaluation SET measured_at = '9000-01-01T00:00:00Z' WHERE id > 4")
    assert [point["labels"] for point in plan(root)["curve"]] == SIZES[4:]
    assert ok(root, "plan", "history", "--json").code == 0


def test_the_recall_of_a_merged_class_is_not_planned_for(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES, config="plan: {metric: 'recall:puppy'}\n")
    with session(root) as opened, opened.database.write() as connection:
        classes.append(connection, ["puppy"])
        classes.merge(connection, 2, 1)
    refused = run(root, "plan")
    assert refused.code == 3
    assert message(refused) == [
        "error: dalcli.yaml: plan.metric: 'puppy' was merged: it counts as 'dog' now", "plan for recall:dog",
    ]  # fmt: skip
    assert run(root, "plan", "--metric", "recall:puppy").code == 2


def test_a_lucky_measurement_is_explained(tmp_path: Path) -> None:
    values = [0.6, 0.7, 0.75, 0.8, 0.82, 0.83, 0.84, 0.93]
    lucky = plan(planned(tmp_path / "lucky", SIZES, values, evaluation=2000))
    assert lucky["band"][0]["p50"] < 0.93
    assert "better than the curve through all of them" in " ".join(lucky["notes"])
    smooth = plan(planned(tmp_path / "smooth", SIZES))
    assert "the curve through all of them" not in " ".join(smooth["notes"])
