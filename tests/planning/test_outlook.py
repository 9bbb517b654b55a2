"""What is asked of a forecast, against two-point futures that can be worked out by hand; proofs and drawings."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.cli.chart import ASCII, UNICODE, chart, marks
from dalcli.config.planning import CostsConfig, PlanConfig
from dalcli.evaluation.intervals import sequential_lower
from dalcli.forecasting.curves import Floats
from dalcli.forecasting.forecast import Forecast
from dalcli.planning.metrics import Measured, Metric, parse
from dalcli.planning.money import Tariff
from dalcli.planning.outlook import Outlook
from dalcli.planning.proving import proof

SIZES = np.array([100, 200, 400], dtype=np.int64)


def two_futures(good: int, poor: int) -> Forecast:
    """``good`` of the draws reach 90% with 200 labels, ``poor`` stay at 70% for ever."""
    return futures(np.array([[0.7, 0.9, 0.9]] * good + [[0.7, 0.7, 0.7]] * poor))


def futures(draws: Floats) -> Forecast:
    """These, shown as they are."""
    return Forecast(SIZES, draws, draws, draws[:, 0], draws[:, -1], (), {}, np.zeros(3), np.zeros(3))


def outlook(
    forecast: Forecast, target: float | None = 0.9, left: int = 300, under_way: int = 0, **costs: float
) -> Outlook:
    config = CostsConfig(price_per_vote=1.0, **costs)
    return Outlook(
        forecast=forecast,
        metric=Metric("accuracy", "accuracy", ("cat", "dog")),
        target=target,
        owned=100,
        left=left,
        batch=100,
        under_way=under_way,
        usable=1.0,
        tariff=Tariff("EUR", 1.0, config.price_per_round, ""),
        costs=config,
        today=date(2026, 1, 1),
    )


def test_stopping_and_going_on_cost_what_two_futures_say() -> None:
    """Three of four futures need 100 labels; in the fourth all 300 are bought for nothing."""
    decision = outlook(two_futures(3, 1), penalty_for_missing_target=1000, price_per_round=10).decision()
    assert decision is not None
    assert decision.stop == 1000
    by_size = {option.labels: option for option in decision.options}
    assert by_size[100].order == pytest.approx(100 + 10 + 0.25 * 1000)
    assert by_size[100].to_the_end == pytest.approx(0.75 * 110 + 0.25 * (3 * 110 + 1000))
    # Whoever gives up at 200 labels saves 220 in the fourth future.
    assert by_size[100].go_on == pytest.approx(0.75 * 110 + 0.25 * (110 + 1000))
    assert by_size[100].give_up_at == 200
    # Batches of 25 pay four rounds for the same.
    assert by_size[25].go_on == pytest.approx(0.75 * 140 + 0.25 * (140 + 1000))
    assert decision.best == 100


def test_stopping_is_best_where_labels_cost_more_than_missing() -> None:
    decision = outlook(two_futures(3, 1), penalty_for_missing_target=50).decision()
    assert decision is not None
    assert (decision.stop, decision.best) == (50, 0)


def test_points_are_worth_something_without_a_target() -> None:
    decision = outlook(two_futures(1, 1), target=None, value_per_point=20, price_per_round=10).decision()
    assert decision is not None
    # Half of the time 20 points more: worth 200, for 100 labels and a round.
    order = {option.labels: option.order for option in decision.options}
    assert decision.stop == 0
    assert order[100] == pytest.approx(100 + 10 - 200)
    assert decision.best == 100 and order[200] > order[100]


def test_points_count_on_the_way_to_a_target() -> None:
    plain = outlook(two_futures(1, 1), penalty_for_missing_target=1000).decision()
    worth = outlook(two_futures(1, 1), penalty_for_missing_target=1000, value_per_point=2).decision()
    assert plain is not None and worth is not None
    saved = [(a.go_on or 0) - (b.go_on or 0) for a, b in zip(plain.options, worth.options, strict=True)]
    assert saved[2] == pytest.approx(2 * 20 * 0.5)


def test_the_round_of_a_batch_that_is_out_is_not_paid_again() -> None:
    """Sixty labels are out: 100 more take them and a new batch, 60 more take no new one, 160 one, 161 two."""
    asked = outlook(two_futures(3, 1), under_way=60, price_per_round=10, labels_per_day=20, days_per_round=3)
    bought = [asked.purchase(more) for more in (0, 60, 100, 160, 161)]
    assert [each.rounds for each in bought] == [0, 0, 1, 1, 2]
    assert [each.money for each in bought] == [0, 60, 110, 170, 181]
    # Its days are still to come: training, and handing out the next one.
    assert [each.days for each in bought] == pytest.approx([0, 3 + 3, 5 + 6, 8 + 6, 161 / 20 + 9])
    to = asked.to_target()
    assert to is not None and to.money.p50 == 110


def test_a_decision_knows_what_is_out() -> None:
    decision = outlook(two_futures(3, 1), under_way=60, penalty_for_missing_target=1000, price_per_round=10).decision()
    assert decision is not None
    by_size = {option.labels: option for option in decision.options}
    assert decision.stop == 1000, "with 160 labels the good futures are at 82%"
    assert by_size[100].order == pytest.approx(100 + 10 + 0.25 * 1000)
    # The 60 come in either way. Then 40 would do, and a batch is bought whole; the poor future buys the other 240.
    assert by_size[100].to_the_end == pytest.approx(0.75 * 110 + 0.25 * (240 + 30 + 1000))
    assert max(by_size) == 240


def test_nothing_to_decide_without_prices_or_worth() -> None:
    assert outlook(two_futures(1, 1)).decision() is None


def test_what_the_target_takes_in_two_futures() -> None:
    to = outlook(two_futures(6, 4)).to_target()
    assert to is not None
    assert (to.chance, to.labels.p10, to.labels.p50, to.labels.p90) == (0.6, 100, 100, None)
    small = outlook(two_futures(6, 4), left=99).to_target()
    assert small is not None and (small.chance, small.labels.p10) == (0.0, None)


def test_a_cost_per_answer_is_turned_round() -> None:
    """Of a cost, p10 is the lucky end as it is the low one."""
    metric = parse("error", (("cat",), ("dog",)), PlanConfig(error_costs={"cat": {"dog": 4.0}}), "--metric")
    assert metric.highest == 4
    assert metric.value(metric.shown(0.3)) == pytest.approx(0.3)
    confusion = [[6, 2], [1, 1]]
    measured = metric.measure({"examples": 10, "confusion": confusion})
    assert measured is not None and metric.shown(measured.value) == pytest.approx((2 * 4 + 1 * 1) / 10)


def test_macro_recall_is_as_sure_as_its_rarest_class_lets_it_be() -> None:
    metric = parse("macro", (("cat",), ("dog",)), PlanConfig(), "--metric")
    classes = [{"name": "cat", "support": 1000, "correct": 800}, {"name": "dog", "support": 10, "correct": 8}]
    measured = metric.measure({"examples": 1010, "classes": classes})
    assert measured is not None and measured.value == pytest.approx(0.8)
    flawless = metric.measure({"examples": 1010, "classes": [classes[0], classes[1] | {"correct": 10}]})
    assert flawless is not None and flawless.trials < 200, "ten of ten right is not to be sure"
    # Var = (p(1−p)/1000 + p(1−p)/10) / 4: as of some 40 examples, not of 1,010.
    assert 25 <= measured.trials <= 45


def test_training_first_is_the_cheaper_proof_just_above_the_target() -> None:
    # At 90.5% a proof of 90% takes tens of thousands of labels; at 96%, which 100 more labels bring, a few hundred.
    draws = np.array([[0.905, 0.96, 0.97]])
    sure = futures(draws)
    measured = Measured(0.905, 200, 200)
    metric = Metric("accuracy", "accuracy", ("cat", "dog"))
    found = proof(metric, measured, 0.9, 0.95, outlook(sure), 0, 10**6)
    assert found.evaluation_now is not None and found.training is not None and found.evaluation is not None
    assert not found.proven and found.evaluation_now > 10_000
    assert 0 < found.training <= 300 and found.evaluation < 500
    total = 200 + found.evaluation
    value = float(sure.at(100 + found.training, [0.5])[0])
    assert sequential_lower(value * total, total, 0.95) >= 0.9 - 1e-6
    alone = proof(metric, measured, 0.9, 0.95, None, 0, 10**6)
    assert alone.evaluation == found.evaluation_now


def test_evaluation_labels_that_there_are_not_prove_nothing() -> None:
    """A round is dear here, so that evaluation labels are the cheaper proof, as long as the reserve has them."""
    draws = np.array([[0.93, 0.98, 0.99]])
    sure = futures(draws)
    metric, measured = Metric("accuracy", "accuracy", ("cat", "dog")), Measured(0.93, 200, 200)
    dear = outlook(sure, price_per_round=5000)
    plenty = proof(metric, measured, 0.9, 0.95, dear, 0, 10**6)
    assert (plenty.training, plenty.evaluation) == (0, plenty.evaluation_now)
    # What is out comes in anyway: it costs nothing more.
    out = proof(metric, measured, 0.9, 0.95, outlook(sure), plenty.evaluation or 0, 10**6)
    assert (out.training, out.evaluation, out.money) == (0, plenty.evaluation, 0)
    none_left = proof(metric, measured, 0.9, 0.95, dear, 0, 0)
    assert none_left.training is not None and none_left.training > 0 and none_left.evaluation == 0


def test_proven_is_what_the_sequence_says() -> None:
    metric = Metric("accuracy", "accuracy", ("cat", "dog"))
    lower = sequential_lower(380, 400, 0.95)
    assert proof(metric, Measured(0.95, 400, 400), lower - 1e-6, 0.95, None, 0, 0).proven
    assert not proof(metric, Measured(0.95, 400, 400), lower + 1e-6, 0.95, None, 0, 0).proven


# Drawing ------------------------------------------------------------------------------------------------------------


def test_ascii_where_nothing_else_can_be_written() -> None:
    assert (marks("utf-8"), marks("latin-1"), marks(None), marks("nonsense")) == (UNICODE, ASCII, ASCII, ASCII)
    drawn = chart([(10, 0.5), (20, 0.6)], [(20, 0.5, 0.6, 0.7), (40, 0.6, 0.7, 0.8)], 0.9, "{:.1f}".format, 60, ASCII)
    assert drawn.isascii() and drawn.count("o") == 2


@settings(max_examples=60)
@given(
    points=st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 1)), max_size=12),
    band=st.lists(st.tuples(st.integers(1, 10**7), st.floats(0, 1)), max_size=6),
    target=st.none() | st.floats(0, 1),
    width=st.integers(40, 120),
)
def test_any_drawing_fits(
    points: list[tuple[int, float]], band: list[tuple[int, float]], target: float | None, width: int
) -> None:
    rising = [(float(x), y, y, y) for x, y in sorted(band)]
    ordered = [(float(x), y) for x, y in sorted(points)]
    drawn = chart(ordered, rising, target, "{:.2f}".format, width, UNICODE, (0, 1))
    assert all(len(line) <= width for line in drawn.splitlines())
    assert bool(drawn) == bool(points or band)
