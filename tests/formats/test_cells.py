import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalcli.formats.cells import BadCellError, amount, flag, moment


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "Yes", "y", "X", " x "])
def test_yes(text: str) -> None:
    assert flag("skipped", text)


@pytest.mark.parametrize("text", ["", " ", "0", "false", "False", "NO", "n"])
def test_no(text: str) -> None:
    assert not flag("skipped", text)


@pytest.mark.parametrize("text", ["2", "-", "maybe", "ja", "1.0"])
def test_neither_yes_nor_no(text: str) -> None:
    with pytest.raises(BadCellError, match=f"skipped '{text}' is neither"):
        flag("skipped", text)


@given(st.floats(min_value=0, allow_infinity=False))
def test_numbers_come_back_exactly(value: float) -> None:
    assert amount("cost", repr(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("  ", None), ("0", 0), (" 1.50 ", 1.5), ("+2", 2), (".5", 0.5), ("3.", 3), ("1e2", 100)],
)
def test_amounts(text: str, value: float | None) -> None:
    assert amount("cost", text) == value


def test_minus_zero_is_zero() -> None:
    assert math.copysign(1, amount("cost", "-0") or 0.0) == 1


@pytest.mark.parametrize(
    "text", ["-1", "nan", "inf", "1e999", "-0.1", "$1", "1 000", "1_000", "1,5", "1,234.5", "0x10", "١", "free"]
)
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(BadCellError, match="is not a number of at least 0"):
        amount("cost", text)


def test_decimal_commas_where_commas_do_not_part_cells() -> None:
    assert amount("cost", "1,5", decimal_comma=True) == 1.5
    assert amount("cost", "1.5", decimal_comma=True) == 1.5
    for text in ("1,234,5", "1.234,5", "1,234.5"):
        with pytest.raises(BadCellError):
            amount("cost", text, decimal_comma=True)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("", None),
        ("2030-01-31", "2030-01-31T00:00:00+00:00"),
        ("2030-01-31T12:34:56Z", "2030-01-31T12:34:56+00:00"),
        ("2030-01-31 12:34", "2030-01-31T12:34:00+00:00"),
        ("2030-01-31T00:30:00+02:00", "2030-01-30T22:30:00+00:00"),
        ("2030-01-31T12:34:56.789Z", "2030-01-31T12:34:56.789000+00:00"),
        ("20300131T123456Z", "2030-01-31T12:34:56+00:00"),
        (" 20300131 ", "2030-01-31T00:00:00+00:00"),
    ],
)
def test_moments(text: str, normal: str | None) -> None:
    assert moment("labeled_at", text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "31.01.2030",
        "01/31/2030",
        "2030-02-30",
        "2030-1-1",
        "1893456000",
        "1712100400",
        "2030-01-31x12:00",
        "12:00",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(BadCellError, match="is not a date and time"):
        moment("labeled_at", text)


zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1970, 1, 3), datetime(2200, 1, 1), timezones=zones)


@given(st.lists(moments, min_size=2, max_size=2))
def test_normalised_moments_are_the_same_moments_and_sort_by_time(pair: list[datetime]) -> None:
    texts = [moment("labeled_at", when.isoformat()) or "" for when in pair]
    assert [datetime.fromisoformat(text) for text in texts] == pair
    assert all(datetime.fromisoformat(text).tzinfo == UTC for text in texts)
    assert (texts[0] < texts[1]) == (pair[0] < pair[1])
