"""Strategies put together in the configuration are those that the code puts together."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from pools import ids, model_table, request
from pydantic import ValidationError

from dalcli.config.querying import ComposeConfig, QueryConfig
from dalcli.strategies.balanced import Balanced
from dalcli.strategies.base import Strategy
from dalcli.strategies.composed import composed
from dalcli.strategies.diverse import Measured
from dalcli.strategies.dynamical import Dynamical
from dalcli.strategies.margin import Margin
from dalcli.strategies.power import Power
from dalcli.strategies.registry import STRATEGIES, create
from dalcli.strategies.selection import TopValues


def compose(gamma: float = 2.0, **parts: object) -> Strategy:
    return composed(QueryConfig(gamma=gamma, compose=ComposeConfig.model_validate(parts)))


def test_the_default_composition_is_dynamical() -> None:
    assert compose() == create("dynamical", QueryConfig())
    assert compose(gamma=0.5) == TopValues(Dynamical(0.5))


DIVERSE_MARGIN = {
    "score": "margin",
    "selection": "lcmd",
    "space": "last-layer",
    "candidates": 5,
    "apart_from_labeled": True,
}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("margin", {"score": "margin"}),
        ("entropy", {"score": "entropy"}),
        ("confidence", {"score": "confidence"}),
        ("power-dynamical", {"power": 1}),
        ("power-margin", {"score": "margin", "power": 1}),
        ("balanced-dynamical", {"class_balance": True}),
        ("balanced-margin", {"score": "margin", "class_balance": True}),
        ("diverse-dynamical", {"selection": "kmeans++", "space": "last-layer", "weight": 1, "relative": True}),
        ("diverse-margin", DIVERSE_MARGIN),
        ("badge", {"selection": "kmeans++", "space": "last-layer", "candidates": None}),
        ("coreset", {"selection": "k-center", "candidates": None, "apart_from_labeled": True}),
        ("gradient-kmeans", {"selection": "kmeans++", "space": "sketch", "candidates": None}),
        ("lcmd", {"selection": "lcmd", "space": "sketch", "candidates": None, "apart_from_labeled": True}),
    ],
)
def test_named_strategies_are_compositions(name: str, parts: dict[str, object]) -> None:
    assert compose(**parts) == create(name, QueryConfig())
    assert name in STRATEGIES


def test_cluster_margin_is_a_composition() -> None:
    table = model_table(300)
    named, own = create("cluster-margin", QueryConfig()), compose(score="margin", selection="clusters")
    assert ids(named.select(request(table, 9)).digests) == ids(own.select(request(table, 9)).digests)


def test_wrappers_nest() -> None:
    assert compose(score="margin", power=2, class_balance=True) == Balanced(Power(Margin(), 2.0))


def test_every_composition_chooses_a_batch() -> None:
    table = model_table(80, sketch=4)
    choices = {key: get_args(ComposeConfig.model_fields[key].annotation) for key in ("score", "selection", "space")}
    seen = 0
    for score, selection, space in itertools.product(*choices.values()):
        if (selection, space) == ("clusters", "last-layer"):
            continue
        for extra in ({}, {"power": 0.5}, {"class_balance": True}, {"candidates": None}):
            chosen = compose(score=score, selection=selection, space=space, **extra).select(request(table, 7))
            assert len(set(ids(chosen.digests))) == 7
            seen += 1
    assert seen == 5 * (5 * 4 - 1) * 4


def test_a_uniform_score_prefers_nobody() -> None:
    table = model_table(50)
    assert compose(score="uniform") == TopValues(Measured())
    firsts = [ids(compose(score="uniform").select(request(table, 5, seed=seed)).digests)[0] for seed in range(60)]
    assert len(set(firsts)) > 20


@pytest.mark.parametrize(
    "parts",
    [
        {"score": "marginn"},
        {"power": -1},
        {"candidates": 0.5},
        {"weight": 1},
        {"relative": True, "selection": "lcmd"},
        {"selection": "clusters", "space": "last-layer"},
        {"unknown": 1},
    ],
)
def test_parts_that_make_no_sense_are_refused(parts: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ComposeConfig.model_validate(parts)
