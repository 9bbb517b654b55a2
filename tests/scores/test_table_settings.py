"""What a score table was made with, and what it therefore can be used for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dalcli.scores.columns import Group
from dalcli.scores.settings import DropoutSettings, GradientSettings, TableSettings

PIXELS = "0123456789abcdef"


def made(
    sketch: int = 0, seed: int = 0, prescreen: float = 1.0, gamma: float = 0.0, samples: int = 0, masks: int = 0
) -> TableSettings:
    """A table with gradients, and with dropout samples if there are to be any."""
    gradients = GradientSettings(sketch=sketch, sketch_seed=seed, prescreen=prescreen, gamma=gamma)
    dropout = DropoutSettings(samples=samples, seed=masks) if samples else None
    return TableSettings(pixels=PIXELS, gradients=gradients, dropout=dropout)


PLAIN = made()
PREDICTED = TableSettings(pixels=PIXELS)


@given(
    st.integers(0, 65536),
    st.integers(0, 2**63 - 1),
    st.floats(0, 1, exclude_min=True),
    st.one_of(st.just(math.inf), st.floats(0, 1e9)),
    st.integers(0, 1000),
)
def test_the_text_says_it_all(sketch: int, seed: int, prescreen: float, gamma: float, samples: int) -> None:
    settings = made(sketch, seed, prescreen, gamma, samples, seed)
    assert TableSettings.parse(settings.text()) == settings
    assert TableSettings.parse(PREDICTED.text()) == PREDICTED


@pytest.mark.parametrize("text", ["", "0123456789abcdef", "{}", '{"pixels": "a", "sketch": 5}', '{"pixels": "a"'])
def test_what_cannot_be_read_serves_nobody(text: str) -> None:
    assert TableSettings.parse(text) is None


def test_what_is_settled_once_for_gradients_depends_on_gradients_alone() -> None:
    assert made(sketch=64).gradient_key == made(sketch=64, samples=5).gradient_key
    assert made(sketch=64).gradient_key != made(sketch=65).gradient_key


SKETCHED = {"sketch": 64, "seed": 7}
SCREENED = {"prescreen": 0.3, "gamma": 2.0}
DROPPED = {"samples": 20, "masks": 5}


@pytest.mark.parametrize(
    ("before", "wanted", "again"),
    [
        ({}, {}, ""),
        (SKETCHED, {}, ""),
        ({}, SKETCHED, "gradients"),
        (SKETCHED, SKETCHED | {"seed": 8}, ""),
        (SKETCHED, SKETCHED | {"sketch": 65}, "gradients"),
        ({}, SCREENED, ""),
        (SCREENED, {}, "gradients"),
        (SCREENED, SCREENED | {"prescreen": 0.2}, ""),
        (SCREENED, SCREENED | {"prescreen": 0.4}, "gradients"),
        (SCREENED, SCREENED | {"gamma": math.inf}, ""),
        (SCREENED | {"sketch": 64}, SKETCHED, "gradients"),
        (DROPPED, {}, ""),
        ({}, DROPPED, ""),  # nothing has to be made again: it is added
        (DROPPED, DROPPED | {"samples": 10, "masks": 6}, ""),
        (DROPPED, DROPPED | {"samples": 21}, "dropout"),
        (DROPPED | {"sketch": 64}, SCREENED | {"sketch": 64, "samples": 2}, ""),
        (DROPPED | SCREENED, {"samples": 21}, "dropout gradients"),
    ],
)
def test_only_what_does_not_serve_is_made_again(before: dict[str, float], wanted: dict[str, float], again: str) -> None:
    first, then = made(**before), made(**wanted)  # type: ignore[arg-type]  # pydantic checks them
    assert " ".join(sorted(first.shortcomings(then))) == again
    assert all(first.shortcomings(then).values())
    extended = first.extended(then)
    assert extended.gradients == (then.gradients if "gradients" in again else first.gradients)
    expected = then.dropout if first.dropout is None or "dropout" in again else first.dropout
    assert extended.dropout == expected


def test_a_table_gains_groups_and_loses_none() -> None:
    wanted = made(**DROPPED)  # type: ignore[arg-type]
    assert PREDICTED.groups == {Group.PREDICTIONS}
    assert PREDICTED.shortcomings(wanted) == {}
    assert PREDICTED.extended(wanted) == wanted
    assert wanted.extended(PREDICTED) == wanted
    assert wanted.groups == set(Group)
