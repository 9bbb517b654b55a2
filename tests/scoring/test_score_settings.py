"""What a score table was made with, and what it therefore can be used for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalcli.scores.settings import TableSettings

PLAIN = TableSettings("0123456789abcdef")


@given(
    st.integers(0, 65536),
    st.integers(0, 2**63 - 1),
    st.floats(0, 1, exclude_min=True),
    st.one_of(st.just(math.inf), st.floats(0, 1e9)),
    st.integers(0, 1000),
)
def test_the_text_says_it_all(sketch: int, seed: int, prescreen: float, gamma: float, samples: int) -> None:
    settings = TableSettings(
        PLAIN.pixels,
        sketch,
        seed if sketch else 0,
        prescreen,
        gamma if prescreen < 1 else 0.0,
        samples,
        seed if samples else 0,
    )
    assert TableSettings.parse(settings.text()) == settings


def test_tables_made_before_there_were_options_are_plain() -> None:
    assert PLAIN.text() == PLAIN.pixels
    assert TableSettings.parse(PLAIN.pixels) == PLAIN


@pytest.mark.parametrize("text", ["", "a b", "a sketch=x:1", "a sketch=5:1 more", "a prescreen=0.2"])
def test_what_cannot_be_read_serves_nobody(text: str) -> None:
    assert not TableSettings.parse(text).serves(PLAIN)


SKETCHED = replace(PLAIN, sketch=64, seed=7)
SCREENED = replace(PLAIN, prescreen=0.3, gamma=2.0)
DROPPED = replace(PLAIN, mc_samples=20, mc_seed=5)


@pytest.mark.parametrize(
    ("made", "wanted", "serves"),
    [
        (PLAIN, PLAIN, True),
        (SKETCHED, PLAIN, True),
        (PLAIN, SKETCHED, False),
        (SKETCHED, replace(SKETCHED, seed=8), True),
        (SKETCHED, replace(SKETCHED, sketch=65), False),
        (PLAIN, SCREENED, True),
        (SCREENED, PLAIN, False),
        (SCREENED, replace(SCREENED, prescreen=0.2), True),
        (SCREENED, replace(SCREENED, prescreen=0.4), False),
        (SCREENED, replace(SCREENED, gamma=math.inf), True),
        (replace(SCREENED, sketch=64), SKETCHED, False),
        (replace(SKETCHED, pixels="other"), SKETCHED, False),
        (DROPPED, PLAIN, True),
        (PLAIN, DROPPED, False),
        (DROPPED, replace(DROPPED, mc_samples=10, mc_seed=6), True),
        (DROPPED, replace(DROPPED, mc_samples=21), False),
        (replace(DROPPED, sketch=64), replace(SCREENED, sketch=64, mc_samples=2), True),
    ],
)
def test_more_than_is_wanted_serves(made: TableSettings, wanted: TableSettings, serves: bool) -> None:
    assert made.serves(wanted) == serves
    explained = made.pixels == wanted.pixels and not serves
    assert (made.shortcoming(wanted) is not None) == explained
