"""Prices, spending and working days, against numbers worked out by hand or day by day."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.config.planning import WEEKDAYS, CostsConfig
from dalcli.planning.days import Pace, date_after, working_days_until
from dalcli.planning.money import Tariff, spent, tariff
from dalcli.state.spending import VoteGroup


def group(annotator: str = "", label: str | None = "cat", votes: int = 10, **numbers: float) -> VoteGroup:
    known = {"unpriced": votes, "cost": 0.0, "timed": 0, "seconds": 0.0} | numbers
    unpriced, timed = int(known["unpriced"]), int(known["timed"])
    return VoteGroup("training", annotator, label, votes, votes, unpriced, known["cost"], timed, known["seconds"])


def test_a_price_of_votes() -> None:
    costs = CostsConfig(price_per_vote=0.1, votes_per_sample=3, price_per_round=5, currency="EUR")
    found = tariff(costs, [], usable=0.75)
    assert found.per_label == pytest.approx(0.1 * 3 / 0.75)
    assert found.money(100, 2) == pytest.approx(40 + 10)
    assert found.money(float("inf"), 0) is None


def test_annotators_and_classes_of_their_own() -> None:
    costs = CostsConfig(
        price_per_vote=0.1, price_per_vote_by_annotator={"expert": 1.0}, price_per_vote_by_class={"dog": 0.3}
    )
    votes = [group("expert", "dog", 10), group("", "dog", 30), group("", "cat", 60)]
    # The expert's own price wins over the class's; the next votes are mixed as these were.
    assert tariff(costs, votes, 1.0).per_label == pytest.approx((10 * 1.0 + 30 * 0.3 + 60 * 0.1) / 100)
    assert spent(costs, votes, 0).money == pytest.approx(10 * 1.0 + 30 * 0.3 + 60 * 0.1)


def test_the_ledger_where_nothing_is_configured() -> None:
    votes = [group(votes=4, unpriced=2, cost=3.0), group("b", votes=2, unpriced=2)]
    assert tariff(CostsConfig(), votes, 1.0).per_label == pytest.approx(1.5)
    # Two votes cost 3; the four of which the ledger says nothing are taken to cost what those did.
    assert spent(CostsConfig(), votes, 0).money == pytest.approx(3 + 4 * 1.5)
    assert spent(CostsConfig(), [group()], 0).money is None
    assert tariff(CostsConfig(), [group()], 1.0).per_label is None


def test_costs_in_the_ledger_count_before_prices() -> None:
    costs = CostsConfig(price_per_vote=0.1, price_per_round=2)
    votes = [group(votes=4, unpriced=1, cost=3.0)]
    assert spent(costs, votes, 3).money == pytest.approx(3.0 + 0.1 + 3 * 2)


def test_hours() -> None:
    votes = [group(votes=10, timed=5, seconds=60.0)]
    assert tariff(CostsConfig(price_per_hour=30), votes, 1.0).per_label == pytest.approx(30 * 12 / 3600)
    assert tariff(CostsConfig(price_per_hour=30, seconds_per_vote=6), votes, 1.0).per_label == pytest.approx(0.05)
    assert tariff(CostsConfig(price_per_hour=30), [], 1.0).per_label is None


@settings(max_examples=60)
@given(
    money=st.integers(0, 5000),
    label=st.integers(0, 7),
    rounds=st.integers(0, 50),
    batch=st.integers(1, 40),
    out=st.integers(0, 60),
)
def test_affordable_labels_are_paid_for_and_one_more_is_not(
    money: int, label: int, rounds: int, batch: int, out: int
) -> None:
    found = Tariff("", float(label), float(rounds), "")

    def price(labels: int) -> int:
        return label * labels + rounds * -(-max(labels - out, 0) // batch)

    affordable = found.affordable(float(money), batch, out)
    if label == rounds == 0:
        assert affordable >= 10**9
    elif label == 0 and affordable:  # the last round is as good as full
        assert price(affordable) <= money < price(affordable + batch)
    else:
        assert price(affordable) <= money < price(affordable + 1)


@settings(max_examples=60)
@given(
    days=st.integers(0, 400),
    pace=st.integers(1, 50),
    besides=st.sampled_from([0.0, 0.5, 2.0]),
    batch=st.integers(1, 40),
    out=st.integers(0, 60),
)
def test_labels_are_in_within_the_days_and_one_more_is_not(
    days: int, pace: int, besides: float, batch: int, out: int
) -> None:
    found = Pace(pace, besides)
    labels = found.labels(days, batch, out)
    assert found.days(labels, batch, out) <= days + 1e-6 < found.days(labels + 1, batch, out) + 2e-6


@settings(max_examples=60)
@given(
    today=st.dates(date(2024, 1, 1), date(2026, 1, 1)),
    days=st.integers(0, 60),
    working=st.sets(st.sampled_from(WEEKDAYS), min_size=1),
)
def test_days_are_those_that_counting_finds(today: date, days: int, working: set[str]) -> None:
    chosen = tuple(day for day in WEEKDAYS if day in working)
    last = today + timedelta(days=days)
    counted = sum(WEEKDAYS[(today + timedelta(days=n)).weekday()] in working for n in range(1, days + 1))
    assert working_days_until(today, last, chosen) == counted
    found = date_after(today, days, chosen)
    assert found is not None and working_days_until(today, found, chosen) == days
    assert days == 0 or WEEKDAYS[found.weekday()] in working


def test_no_date_beyond_the_calendar() -> None:
    assert date_after(date(2026, 1, 1), 1e9, ("mon",)) is None
