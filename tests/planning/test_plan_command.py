"""``dalcli plan`` end to end, on workspaces whose rounds were made through the state room."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import message, ok, run
from planned_workspaces import add_round, another_look, law, planned
from workspaces import dump

from dalcli.planning.days import working_days_until

COSTS = """
costs:
  currency: EUR
  price_per_vote: 0.5
  price_per_round: 20
  labels_per_day: 100
  days_per_round: 1
  working_days: [mon, tue, wed, thu, fri, sat, sun]
  penalty_for_missing_target: 100000
"""
SIZES = [100 * n for n in range(1, 9)]
KEYS = [
    "question", "metric", "metric_label", "less_is_better", "target", "verdict", "reason", "next_step", "standing",
    "curve", "basis", "band", "ceiling", "to_target", "answer", "budgets", "next_batch", "decision", "proof", "classes",
    "gain_over_random", "track_record", "notes",
]  # fmt: skip
RANGE = ["p10", "p50", "p90"]


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight rounds on a power law, with prices."""
    return planned(tmp_path_factory.mktemp("growing") / "work", SIZES, config=COSTS)


def plan(root: Path, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = ok(root, "plan", *options, "--json").json
    return document


def rising(values: dict[str, Any]) -> bool:
    return values["p10"] <= values["p50"] <= values["p90"]


# Questions ----------------------------------------------------------------------------------------------------------


def test_what_a_target_takes(growing: Path) -> None:
    found = plan(growing, "--target", "0.75")
    assert list(found) == KEYS
    assert (found["question"], found["target"], found["verdict"]) == ("target", 0.75, "continue")
    to = found["to_target"]
    assert list(to) == ["target", "batch", "chance", "labels", "money", "days", "date"]
    assert 0.5 < to["chance"] <= 1
    labels = [to["labels"][name] for name in RANGE if to["labels"][name] is not None]
    # The law itself reaches 75% with some 1,780 labels: 980 more.
    assert to["labels"]["p10"] <= 980 <= (to["labels"]["p90"] or 10**9)
    batch = found["decision"]["batch"]
    for name, count in zip(RANGE, labels, strict=False):
        rounds = -(-count // batch)
        assert to["money"][name] == pytest.approx(0.5 * count + 20 * rounds)
        assert to["days"][name] == pytest.approx(count / 100 + rounds)
        assert to["date"][name] == (date.today() + timedelta(days=-(-count // 100) + rounds)).isoformat()


def test_what_a_budget_buys(growing: Path) -> None:
    found = plan(growing, "--budget", "800", "--target", "0.75")
    answer = found["answer"]
    assert list(answer) == ["labels", "value", "reach", "rounds", "money", "days", "date"]
    rounds = -(-800 // found["decision"]["batch"])  # all is reckoned in the batches that are proposed
    assert (answer["labels"], answer["rounds"], answer["money"]) == (800, rounds, 0.5 * 800 + 20 * rounds)
    assert rising(answer["value"])
    assert answer["value"]["p10"] < law(1600) < answer["value"]["p90"]
    assert found["question"] == "budget"
    more = plan(growing, "--budget", "1600", "--target", "0.75")["answer"]
    assert all(more["value"][name] >= answer["value"][name] for name in RANGE), "more money never buys less"
    assert more["reach"] >= answer["reach"]


def test_what_money_buys(growing: Path) -> None:
    # A round of 100 labels costs 70: five of them, and the 30 left buy 20 labels of a sixth.
    answer = plan(growing, "--money", "380")["answer"]
    assert (answer["labels"], answer["rounds"], answer["money"]) == (520, 6, 380)
    assert answer["value"] == plan(growing, "--budget", "520")["answer"]["value"]


def test_what_comes_in_by_a_deadline(growing: Path) -> None:
    # A round of 100 labels takes a day for the labels and one besides.
    last = date.today() + timedelta(days=7)
    answer = plan(growing, "--deadline", last.isoformat())["answer"]
    assert (answer["labels"], answer["date"]) == (300, (date.today() + timedelta(days=6)).isoformat())
    assert working_days_until(date.today(), last, ("sat", "sun")) == 2


def test_where_we_stand(growing: Path) -> None:
    found = plan(growing)
    assert (found["question"], found["target"], found["verdict"]) == ("standing", None, "continue")
    standing = found["standing"]
    assert (standing["version"], standing["labels"], standing["labels_now"]) == ("m-0008", 800, 800)
    assert standing["interval_low"] < standing["value"] < standing["interval_high"]
    assert standing["proven"] < standing["interval_low"], "valid however often one looks: wider than for one look"
    # The 400 evaluation labels were in no batch, and have no cost: they came with the images.
    assert standing["spent"] == {"votes": 800, "rounds": 8, "money": 0.5 * 800 + 8 * 20, "currency": "EUR"}
    assert found["next_batch"]["labels"] == 100
    assert found["next_step"] == "dalcli query --budget 100 > to_label.csv"
    assert [point["labels"] for point in found["curve"]] == SIZES
    assert [point["strategy"] for point in found["curve"]] == ["random"] + ["margin"] * 7
    assert found["basis"]["kind"] == "active" and found["basis"]["points"] == 8
    assert found["to_target"] is None and found["proof"] is None
    band = found["band"]
    assert band[0]["labels"] == 800
    assert band[-1]["labels"] == standing["labels_now"] + standing["left"]
    for name in RANGE:
        values = [point[name] for point in band]
        assert values == sorted(values)


@pytest.mark.parametrize(
    ("metric", "target"), [("macro", "0.75"), ("recall:cat", "0.75"), ("error", "0.25"), ("accuracy", "0.75")]
)
def test_every_metric(growing: Path, metric: str, target: str) -> None:
    """Cats and dogs are alike here, and every mistake costs 1: all say the same, in their own units."""
    found = plan(growing, "--metric", metric, "--target", target)
    value = found["standing"]["value"]
    assert (1 - value if metric == "error" else value) == pytest.approx(law(800), abs=0.01)
    assert rising(found["budgets"][0]["value"]) and rising(found["ceiling"])
    assert found["to_target"]["labels"]["p10"] is not None
    assert found["proof"]["proven"] is False
    shown = ok(growing, "plan", "--metric", metric, "--target", target).out.decode()
    assert {"macro": "macro recall", "recall:cat": "recall of cat", "error": "cost per answer"}.get(
        metric, "accuracy"
    ) in shown


def test_mistakes_that_cost_differently(tmp_path: Path) -> None:
    config = "plan:\n  metric: error\n  target: 0.5\n  error_costs:\n    cat: {dog: 10}\n"
    root = planned(tmp_path / "work", SIZES[:5], [0.6, 0.65, 0.7, 0.75, 0.8], config=config)
    found = plan(root)
    # A fifth of the answers is wrong, half of these about cats: 0.1 · 10 + 0.1 · 1.
    assert found["standing"]["value"] == pytest.approx(1.1, abs=0.02)
    assert found["target"] == 0.5 and found["less_is_better"]


# What is printed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_drawing_fits(growing: Path, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = ok(growing, "plan", "--target", "0.75").out.decode().splitlines()
    drawing = [line for line in lines if any(mark in line for mark in "┤│└●┄")]
    assert len(drawing) >= 12
    assert max(map(len, drawing)) <= columns
    assert sum(line.count("●") for line in drawing) == len(SIZES) + 1, "every point, and one in the legend"
    assert any("75.0% ┤" in line and "┄" in line for line in drawing)


def test_a_second_run_says_the_same_and_changes_nothing(growing: Path) -> None:
    first = ok(growing, "plan", "--target", "0.75")
    kept = dump(growing)
    assert ok(growing, "plan", "--target", "0.75").out == first.out
    ok(growing, "plan", "--budget", "100")
    assert dump(growing) == kept


# Verdicts -----------------------------------------------------------------------------------------------------------


def verdict(root: Path, *options: str) -> tuple[int, str]:
    outcome = run(root, "plan", *options, "--exit-code", "--json")
    return outcome.code, outcome.json["verdict"]


def test_continue(growing: Path) -> None:
    assert verdict(growing, "--target", "0.75") == (0, "continue")


def test_target_reached(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES, [0.8, 0.88, 0.92, 0.94, 0.95, 0.96, 0.97, 0.99])
    assert verdict(root, "--target", "0.95") == (10, "target-reached")
    found = plan(root, "--target", "0.95")
    assert found["proof"] == {
        "proven": True, "exact": True, "evaluation_now": 0, "training": 0, "evaluation": 0, "money": None,
    }  # fmt: skip
    assert found["next_step"].startswith("nothing")


def test_infeasible_in_a_pool_that_is_too_small(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES, pool=1000)
    assert verdict(root, "--target", "0.95") == (11, "infeasible")
    assert plan(root, "--target", "0.95")["to_target"]["labels"] == dict.fromkeys(RANGE)


def test_infeasible_within_a_budget_only(growing: Path) -> None:
    assert verdict(growing, "--target", "0.78", "--budget", "20") == (11, "infeasible")
    assert verdict(growing, "--target", "0.78", "--budget", "4000") == (0, "continue")


def test_infeasible_where_stopping_is_cheaper(tmp_path: Path) -> None:
    dear = COSTS.replace("100000", "1")
    root = planned(tmp_path / "work", SIZES, config=dear)
    assert verdict(root, "--target", "0.75") == (11, "infeasible")
    found = plan(root, "--target", "0.75")
    assert found["decision"]["best"] == 0
    assert all(option["go_on"] >= found["decision"]["stop"] for option in found["decision"]["options"])


def test_need_evaluation_labels_to_measure(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES[:5], evaluated=0)
    assert verdict(root) == (12, "need-evaluation-labels")
    assert plan(root)["next_step"] == "dalcli query --purpose evaluation --budget 100 > to_label.csv"


def test_need_evaluation_labels_to_prove(tmp_path: Path) -> None:
    """Well above the target, on too few examples: labeling more of them is the cheaper proof."""
    root = planned(tmp_path / "work", SIZES, [0.94] * 8, evaluated=60, config=COSTS)
    assert verdict(root, "--target", "0.85") == (12, "need-evaluation-labels")
    proof = plan(root, "--target", "0.85")["proof"]
    assert (proof["proven"], proof["training"]) == (False, 0)
    assert 0 < proof["evaluation"] == proof["evaluation_now"] < 340


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_insufficient_data(tmp_path: Path, rounds: int) -> None:
    root = planned(tmp_path / "work", SIZES[:rounds], config=COSTS)
    assert verdict(root) == (13, "insufficient-data")
    found = plan(root)
    assert "come back after" in found["basis"]["refused"]
    assert found["band"] == [] and found["budgets"] == [] and found["ceiling"] is None
    assert ok(root, "plan").out.decode().splitlines()[0].split()[:2] == ["verdict", "insufficient-data:"]


def test_versions_with_other_settings_are_not_of_this_curve(tmp_path: Path) -> None:
    from planned_workspaces import add_version, measure
    from workspaces import session

    root = planned(tmp_path / "work", SIZES)
    with session(root) as opened, opened.database.write() as connection:
        add_version(connection, "another network")
        measure(opened, connection, 0.9)
    found = plan(root)
    assert [point["version"] for point in found["curve"]] == ["m-0009"]
    assert found["verdict"] == "insufficient-data"
    assert found["basis"]["cautions"][0].startswith("8 versions were trained with other settings")


# History ------------------------------------------------------------------------------------------------------------


def test_history_holds_forecasts_against_what_came(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES[:5])
    foretold = plan(root)
    assert foretold["track_record"]["forecasts"] == 0
    for size in (600, 750, 2500):  # the last is beyond four times the labels of the first forecast
        add_round(root, size, law(size))
        plan(root)
    found = ok(root, "plan", "history", "--json").json
    assert list(found) == ["forecasts", "metrics"]
    first = found["forecasts"][0]
    assert list(first) == ["version", "metric", "kind", "points", "labels", "made_at", "quantiles", "outcomes"]
    assert [each["version"] for each in found["forecasts"]] == ["m-0005", "m-0006", "m-0007", "m-0008"]
    assert [outcome["labels"] for outcome in first["outcomes"]] == [600, 750]
    kept = {each["labels"]: each for each in first["quantiles"]}
    assert list(kept) == [500, 550, 625, 750, 1000, 1250, 1500, 2000]
    assert [first["outcomes"][1][name] for name in RANGE] == pytest.approx([kept[750][name] for name in RANGE])
    assert kept[550]["p50"] < first["outcomes"][0]["p50"] < kept[625]["p50"]
    for outcome in first["outcomes"]:
        assert outcome["error"] == pytest.approx(outcome["measured"] - outcome["p50"])
        assert outcome["inside"] == (outcome["p10"] <= outcome["measured"] <= outcome["p90"])
    every = [outcome for each in found["forecasts"] for outcome in each["outcomes"]]
    record = found["metrics"][0]["record"]
    assert (record["forecasts"], record["scored"], record["outcomes"]) == (4, 3, len(every))
    assert record["coverage"] == pytest.approx(sum(outcome["inside"] for outcome in every) / len(every))
    shown = ok(root, "plan", "history").out.decode()
    assert "m-0005 (500)" in shown and "within p10 and p90" in shown
    assert plan(root)["track_record"]["outcomes"] == len(every)


def test_who_asked_when_changes_no_forecast(tmp_path: Path) -> None:
    """The same rounds, with forecasts on the way that were too low, and without: what they teach is in the rounds."""
    roots = [planned(tmp_path / name, SIZES[:6], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]) for name in ("told", "silent")]
    for position, value in enumerate((0.6, 0.7, 0.8, 0.9)):
        for root in roots:
            if root.name == "told":
                plan(root)
            add_round(root, 700 + 100 * position, value)
    told, silent = (plan(root)["budgets"][1]["value"] for root in roots)
    assert told == silent


def test_no_history_yet(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES[:1])
    plan(root)
    assert ok(root, "plan", "history", "--json").json == {"forecasts": [], "metrics": []}
    assert "no forecast yet" in ok(root, "plan", "history").out.decode()
    assert ok(root, "plan", "-C", str(root), "--json", "history").json == {"forecasts": [], "metrics": []}


# Misuse -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--metric", "f1"], 2, "--metric: unknown metric 'f1'"),
        (["--metric", "recall:bird"], 2, "--metric: unknown class 'bird'"),
        (["--target", "95"], 2, "--target 95 is out of range: 95% is 0.95"),
        (["--target", "1.5"], 2, "--target 1.5 is out of range"),
        (["--target", "0"], 2, "--target 0 is out of range"),
        (["--target", "nan"], 2, "--target nan is out of range"),
        (["--metric", "error", "--target", "2"], 2, "--target 2 is out of range for cost per answer"),
        (["--budget", "5", "--money", "5"], 2, "--budget and --money are two questions"),
        (["--budget", "0"], 2, "--budget 0 is out of range"),
        (["--money", "-1"], 2, "--money -1 is out of range"),
        (["--deadline", "2020-01-01"], 2, "--deadline 2020-01-01 has passed"),
        (["--deadline", "tomorrow"], 2, "--deadline tomorrow: not a date"),
        (["--money", "5"], 3, "costs.price_per_vote is not set"),
        (["--deadline", "9999-12-31"], 3, "costs.labels_per_day is not set"),
        (["--target", "0.9", "history"], 2, "plan history answers no question"),
    ],
)
def test_misuse(misused: Path, options: list[str], code: int, said: str) -> None:
    before = dump(misused)
    failed = run(misused, "plan", *options)
    assert failed.code == code
    assert said in message(failed)[0]
    assert len(message(failed)) == 2, "what to do comes after what happened"
    assert dump(misused) == before


@pytest.fixture(scope="module")
def misused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned(tmp_path_factory.mktemp("misused") / "work", SIZES[:5])


@pytest.mark.parametrize("question", [["--target", "0.9"], ["--budget", "10"]])
def test_a_question_without_any_measurement(tmp_path: Path, question: list[str]) -> None:
    root = planned(tmp_path / "work", SIZES[:2], evaluated=0)
    failed = run(root, "plan", *question)
    assert failed.code == 5
    assert message(failed) == [
        "error: nothing to plan from: there are no evaluation labels, so nothing can be measured",
        "run: dalcli query --purpose evaluation --budget 100 > to_label.csv",
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("costs:\n  price_per_label: 1\n", "costs.price_per_label: unknown key: did you mean 'price_per_vote'?"),
        ("costs:\n  working_days: [monday]\n", "costs.working_days.0: "),
        ("costs:\n  working_days: [mon, mon]\n", "the same day is named twice"),
        ("costs:\n  seconds_per_vote: 3\n", "price_per_hour only"),
        ("plan:\n  targets: 0.9\n", "plan.targets: unknown key: did you mean 'target'?"),
    ],
)
def test_wrong_configuration(tmp_path: Path, config: str, said: str) -> None:
    root = planned(tmp_path / "work", [])
    (root / "dalcli.yaml").write_text(config)
    failed = run(root, "plan")
    assert failed.code == 3 and said in failed.err


@pytest.mark.parametrize("config", ["plan:\n  target: 95\n", "plan:\n  metric: recall:bird\n"])
def test_configuration_that_does_not_fit_the_workspace(tmp_path: Path, config: str) -> None:
    root = planned(tmp_path / "work", [], config=config)
    failed = run(root, "plan")
    assert failed.code == 3 and "dalcli.yaml: plan." in failed.err


def test_the_ledger_says_what_votes_cost(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES[:5], cost=0.25)
    found = plan(root, "--money", "100")
    assert found["answer"]["labels"] == 400
    assert found["standing"]["spent"]["money"] == pytest.approx(0.25 * 900)


def test_a_class_without_evaluation_labels(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES[:5], evaluated=1)  # an odd or even key: a cat, and no dog
    other = next(
        each for each in ("cat", "dog") if run(root, "plan", "--metric", f"recall:{each}", "--budget", "9").code
    )
    assert verdict(root, "--metric", f"recall:{other}") == (12, "need-evaluation-labels")
    assert run(root, "plan", "--metric", f"recall:{other}", "--budget", "9").code == 5


def test_above_the_target_and_a_better_model_is_the_cheaper_proof(tmp_path: Path) -> None:
    """Stopping would cost nothing in any future, and yet the target is not proven: that is no reason to stop."""
    rising = [0.63, 0.77, 0.87, 0.90, 0.93, 0.962, 0.976]
    root = planned(tmp_path / "work", [40 * n for n in range(1, 8)], rising, evaluation=450, pool=1347, config=COSTS)
    assert verdict(root, "--target", "0.95") == (0, "continue")
    found = plan(root, "--target", "0.95")
    assert "the cheapest proof is a better model" in found["reason"]
    assert found["proof"]["training"] > 0
    wanted = min(40, found["proof"]["training"])
    assert found["next_batch"]["labels"] == wanted
    assert found["next_step"] == f"dalcli query --budget {wanted} > to_label.csv"


def test_a_target_that_is_likely_reached_is_not_given_up_for_its_price(tmp_path: Path) -> None:
    """One low measurement: most futures are at the target already, and so stopping costs less than any label."""
    values = [0.90, 0.93, 0.945, 0.9525, 0.955, 0.9575, 0.96, 0.9475]
    cheap = "costs:\n  price_per_vote: 0.5\n  penalty_for_missing_target: 1\n"
    root = planned(tmp_path / "work", SIZES, values, config=cheap)
    found = plan(root, "--target", "0.948")
    assert found["standing"]["value"] < 0.948 < found["band"][0]["p50"]
    assert (found["decision"]["best"], found["verdict"]) == (0, "continue")


def test_another_look_at_labels_changes_no_plan(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", SIZES)
    before = ok(root, "plan", "--json").json
    another_look(root, 7)
    after = ok(root, "plan", "--json").json
    assert after["standing"].pop("spent") is not None
    assert before["standing"].pop("spent") is not None
    for key in ("curve", "basis", "next_batch", "next_step", "standing", "band"):
        assert after[key] == before[key]
