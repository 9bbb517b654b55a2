"""Every figure of a report is the figure of the command that it comes from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from dalcli_runner import ok
from planned_workspaces import planned
from promised_workspaces import promised
from report_pages import SECTIONS, Element, document, page
from workspaces import session

from dalcli.planning.trajectory import CurvePoint
from dalcli.report.saved import saved
from dalcli.state import evaluations
from dalcli.state.versions import newest

COSTS = """
plan: {target: 0.79}
costs: {currency: EUR, price_per_vote: 0.25, price_per_round: 12.5, labels_per_day: 50}
"""
SIZES = [100, 180, 300, 450, 640, 900, 1200, 1600]


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planned(tmp_path_factory.mktemp("numbers") / "work", SIZES, config=COSTS)


@pytest.fixture(scope="module")
def found(root: Path) -> Element:
    return page(root)


def section(found: Element, name: str) -> Element:
    return found.one("section", id=name)


def test_the_document_holds_what_the_commands_print(root: Path) -> None:
    made = document(root)
    assert made["plan"] == ok(root, "plan", "--json").json
    assert made["history"] == ok(root, "plan", "history", "--json").json
    assert made["annotators"] == ok(root, "labels", "annotators", "--json").json
    status = ok(root, "status", "--json").json
    for key, value in made["loop"].items():
        assert value == status[key], key
    assert made["control_gain"] == status["control_gain"]
    listed = ok(root, "batch", "list", "--json").json["batches"]
    assert [each["batch"] for each in made["rounds"]] == listed
    assert made["made"]["versions"][-1] == status["model"]


def test_money_of_all_rounds_is_what_was_spent(root: Path) -> None:
    made = document(root)
    rounds, spent = made["rounds"], made["plan"]["standing"]["spent"]
    assert sum(each["money"] for each in rounds) == pytest.approx(spent["money"])
    assert sum(each["votes"] for each in rounds) == spent["votes"]
    # By hand: so many images at 0.25, and 12.5 a round.
    before = [0, *SIZES]
    for each, size, earlier in zip(rounds, SIZES, before, strict=False):
        assert each["money"] == pytest.approx(0.25 * (size - earlier) + 12.5)


def test_money_with_costs_in_the_ledger_and_several_looks(tmp_path: Path) -> None:
    root = planned(tmp_path / "work", [40, 80], cost=0.5, config="costs: {price_per_vote: 2}")
    samples = ok(root, "pool", "list", "--state", "labeled").rows[:10]
    again = tmp_path / "again.csv"
    lines = [f"{row['sample_id']},{row['label']},bob" for row in samples]
    again.write_text("\n".join(["sample_id,label,annotator", *lines]) + "\n")
    ok(root, "ingest-labels", again)
    rounds, spent = document(root)["rounds"], ok(root, "plan", "--json").json["standing"]["spent"]
    assert sum(each["money"] for each in rounds) == pytest.approx(spent["money"])
    assert sum(each["votes"] for each in rounds) == spent["votes"]


def test_the_page_shows_those_figures(root: Path, found: Element) -> None:
    plan = ok(root, "plan", "--json").json
    standing = plan["standing"]
    shown = {d.one("dt").text: d.one("dd", class_="value").text for d in found.one("dl", id="figures").all("div")}
    assert shown["Accuracy now"] == percent(standing["value"])
    assert shown["Labels"] == f"{standing['labels_now']:,}"
    assert shown["Spent"] == f"{standing['spent']['money']:,.2f} EUR"
    assert plan["reason"][1:] in found.one("div", id="verdict").text
    assert plan["next_step"].split()[0] in found.one("div", id="verdict").text

    curve = section(found, "learning-curve").table("Measured models")
    expected = [
        [
            p["version"],
            f"{p['labels']:,}",
            percent(p["value"]),
            f"{percent(p['low'])} to {percent(p['high'])}",
            f"{p['evaluated']:,}",
        ]
        for p in plan["curve"]
    ]
    assert curve == expected
    bought = section(found, "what-next").table("What more labels buy")
    assert [row[0] for row in bought] == [f"{p['labels']:,}" for p in plan["budgets"]]
    assert [row[1] for row in bought] == [percent(p["value"]["p50"]) for p in plan["budgets"]]
    takes = section(found, "what-next").table("What 79.0% takes")
    to = plan["to_target"]
    assert takes[0][1:] == ["beyond the pool" if n is None else f"{n:,.0f}" for n in to["labels"].values()]


def test_classes_and_confusion_are_those_of_the_evaluation(root: Path, found: Element) -> None:
    with session(root) as opened, opened.database.read() as connection:
        model = newest(connection)
        assert model is not None
        measured = evaluations.newest_of(connection, model.version)
    assert measured is not None
    report: Any = measured.report
    below = {each["name"]: each["below"] for each in ok(root, "plan", "--json").json["classes"]}
    rows = {row[0]: row for row in section(found, "classes").table("Classes")}
    labels = ok(root, "status", "--json").json["labels_per_class"]
    for entry in report["classes"]:
        row = rows[entry["name"]]
        assert row[1:4] == [f"{labels[entry['name']]:,}", str(entry["support"]), percent(entry["recall"])]
        assert row[5] == percent(entry["precision"])
        gap = below.get(entry["name"])
        assert row[6] == ("–" if gap is None else f"−{100 * gap:.1f} points")
    matrix = section(found, "confusion").table("Evaluation images")
    assert [[int(cell or 0) for cell in row[1:]] for row in matrix] == report["confusion"]


def test_past_forecasts_are_held_against_what_came(root: Path) -> None:
    from planned_workspaces import add_round, law

    copy = planned(root.parent / "growing", SIZES[:5], config=COSTS)
    ok(copy, "plan")
    add_round(copy, 900, law(900))
    made = page(copy)
    history = ok(copy, "plan", "history", "--json").json
    (outcome,) = [o for f in history["forecasts"] for o in f["outcomes"]]
    (row,) = section(made, "forecasts").table("Forecasts and what came")
    assert row[3] == percent(outcome["measured"])
    assert row[4] == ("yes" if outcome["inside"] else "no")
    assert row[2].startswith(percent(outcome["p50"]))
    charts = section(made, "learning-curve").all("polyline", class_="past")
    assert len(charts) == 2  # one forecast, in the wide and in the narrow chart


def test_the_curve_is_drawn_where_the_figures_are(root: Path, found: Element) -> None:
    """Read back from the picture: the grid's lines give the scale, the circles then the accuracies."""
    chart = section(found, "learning-curve").all("svg", class_="wide")[0]
    texts = [t for t in chart.all("text", class_="scale") if t.text.endswith("%")]
    scale = [(float(t.attributes["y"] or 0) - 4, float(t.text.rstrip("%")) / 100) for t in texts]
    (y0, v0), (y1, v1) = scale[0], scale[-1]
    points = ok(root, "plan", "--json").json["curve"]
    circles = chart.all("circle")
    assert len(circles) == len(points)
    for circle, point in zip(circles, points, strict=True):
        value = v0 + (float(circle.attributes["cy"] or 0) - y0) * (v1 - v0) / (y1 - y0)
        assert value == pytest.approx(point["value"], abs=0.002)


def curve(*pairs: tuple[int, float]) -> list[CurvePoint]:
    nothing: Any = None
    return [CurvePoint(f"m-{n}", n, value, 0, 1, 100, "", "head", nothing) for n, value in pairs]


def gain(value: float, low: float, high: float, compared: int = 80, common: int = 20) -> dict[str, Any]:
    interval = {"low": low, "high": high, "level": 0.95}
    return {"gain": value, "gain_interval": interval, "compared": compared, "common_labels": common}


def test_labels_saved_by_hand() -> None:
    """From 0.5 at 50 labels to 0.7 at 150: at 100 labels 0.6, and 0.002 a label."""
    made = saved(gain(0.04, 0.02, 0.06), curve((50, 0.5), (150, 0.7)), 2.0)
    assert made is not None
    assert (made.labels, made.saved, made.as_good_at) == (100, 20, 80)
    assert (made.saved_low, made.saved_high, made.money, made.at_least) == (10, 30, 40.0, False)


def test_labels_saved_where_the_curve_begins_higher_or_nothing_was_gained() -> None:
    made = saved(gain(0.2, -0.1, 0.3), curve((50, 0.5), (150, 0.7)), None)
    assert made is not None
    assert (made.saved, made.saved_low, made.saved_high, made.money, made.at_least) == (50, 0, 50, None, True)
    assert saved(None, curve((50, 0.5), (150, 0.7)), None) is None
    assert saved({"gain": None}, curve((50, 0.5), (150, 0.7)), None) is None
    assert saved(gain(0.1, 0, 0.2), curve((150, 0.5), (200, 0.7)), None) is None  # the curve does not reach so far back
    assert saved(gain(0.1, 0, 0.2), curve((50, 0.5)), None) is None


def test_a_dip_of_the_curve_saves_nothing_twice() -> None:
    made = saved(gain(0.05, 0.05, 0.05), curve((50, 0.5), (80, 0.62), (100, 0.6), (150, 0.7)), None)
    assert made is not None
    assert made.saved == pytest.approx(100 - (50 + 30 * 0.07 / 0.12), abs=0.5)


def test_every_part_is_there_with_any_number_of_rounds(tmp_path: Path) -> None:
    for rounds in (0, 1, 5, 12):
        sizes = [60 * (n + 1) for n in range(rounds)]
        made = page(planned(tmp_path / str(rounds), sizes, config=COSTS))
        assert [each.attributes["id"] for each in made.all("section")] == SECTIONS
        for each in made.all("section"):
            body = [c for c in each.children if isinstance(c, Element) and c.tag != "h2"]
            assert body, each.attributes
            assert all(c.text or c.tag in {"figure", "ul"} for c in body), each.attributes
        assert len(made.all("circle", class_="point")) >= 2 * rounds
        links = [a.attributes["href"] for a in made.one("nav").all("a")]
        assert links == [f"#{name}" for name in SECTIONS]
        assert not re.search(r"\b(None|nan|inf|True|False)\b", made.one("main").text)


def test_labels_by_the_model_with_their_promise_checks_and_end(tmp_path: Path) -> None:
    made = promised(tmp_path / "work")
    ok(made.root, "predict", "--auto", "--max-error", "0.02")
    (recorded,) = ok(made.root, "status", "--json").json["auto_labels"]
    assert document(made.root)["as_of"] == recorded["recorded_at"]
    ids = [row["sample_id"] for row in ok(made.root, "query", "--auto-labeled", "--budget", "20").rows]
    answers = made.answers(ids[:1], wrong=True) + made.answers(ids[1:]).split("\n", 1)[1]
    ok(made.root, "ingest-labels", "-", stdin=answers.encode())
    (status,) = ok(made.root, "status", "--json").json["auto_labels"]
    (stands,) = document(made.root)["by_model"]
    assert stands == {"run": status, "checked": 20, "wrong": 1}
    read = page(made.root)
    found = section(read, "labels-by-model")
    assert f"{status['standing']:,} images without a person's label count as labeled by m-0001" in found.text
    assert "at most 2% of its labels are wrong, 95% sure" in found.text
    ((by, _, labels, counting, *_, checked, wrong, kept),) = found.table("Runs of the model")
    assert (by, labels, counting) == ("auto:m-0001", f"{status['labels']:,}", f"{status['standing']:,}")
    assert (checked, wrong, kept) == ("20", "1", "yes")
    assert f"{status['standing']:,} more by a model" in read.text
    ok(made.root, "predict", "--withdraw")
    read = page(made.root)
    ((*_, counting, _, _, _, _, kept),) = section(read, "labels-by-model").table("Runs of the model")
    assert counting == "0" and kept.startswith("no: ")
    assert "all of them were taken back" in section(read, "labels-by-model").text
    assert "more by a model" not in read.text
