"""What becomes of disputes under each rule."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dalcli.crowd.consensus import RULES, Opinion, Rule, Said, opinions

anything_said = st.lists(
    st.builds(Said, st.integers(1, 6), st.sampled_from("abcd"), st.integers(0, 2)),
    max_size=20,
    unique_by=lambda said: (said.sample, said.annotator),
)
any_rule = st.sampled_from(RULES)


def by_sample(said: list[Said]) -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for each in said:
        found[each.sample].append(each.label)
    return found


@settings(max_examples=60)
@given(rule=any_rule, said=anything_said, data=st.data())
def test_the_order_of_votes_does_not_matter(rule: Rule, said: list[Said], data: st.DataObject) -> None:
    assert opinions(rule, 0.9, said) == opinions(rule, 0.9, data.draw(st.permutations(said)))


@settings(max_examples=60)
@given(rule=any_rule, said=anything_said)
def test_every_rule_says_what_all_say_and_nothing_that_nobody_says(rule: Rule, said: list[Said]) -> None:
    labels = by_sample(said)
    found = opinions(rule, 0.9, said)
    assert [each.sample for each in found] == sorted(sample for sample, own in labels.items() if len(own) > 1)
    for each in found:
        own = labels[each.sample]
        assert each.leading in own
        assert 0 < each.confidence <= 1
        if len(set(own)) == 1:
            assert each.settled
        elif rule == "unanimous":
            assert not each.settled
        elif rule == "majority":
            assert each.settled == (Counter(own).most_common(1)[0][1] * 2 > len(own))
        else:
            assert not each.settled or each.confidence >= 0.9


@settings(max_examples=30)
@given(said=anything_said, names=st.permutations("abcd"))
def test_annotators_names_do_not_matter(said: list[Said], names: list[str]) -> None:
    renamed = [Said(s.sample, dict(zip("abcd", names, strict=True))[s.annotator], s.label) for s in said]
    for one, other in zip(opinions("dawid-skene", 0.9, said), opinions("dawid-skene", 0.9, renamed), strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_majority_is_more_than_half() -> None:
    said = [Said(1, name, label) for name, label in zip("abcd", (2, 2, 0, 1), strict=True)]
    assert opinions("majority", 0.9, said) == [Opinion(1, 2, 0.5, False)]
    said = [Said(1, name, label) for name, label in zip("abc", (2, 2, 0), strict=True)]
    assert opinions("majority", 0.9, said) == [Opinion(1, 2, 2 / 3, True)]


def test_nobody_can_tell_which_of_two_errs() -> None:
    said = [Said(n, name, n % 2) for n in range(40) for name in "ab"]
    said += [Said(99, "a", 0), Said(99, "b", 1)]
    assert not opinions("dawid-skene", 0.9, said)[-1].settled


def test_dawid_skene_settles_what_a_majority_cannot() -> None:
    """Careful a against careless b, whose carelessness shows on samples that c and d have seen, too."""
    said = []
    for n in range(60):
        truth, careless = n % 2, n % 3 == 0
        said += [Said(n, name, truth) for name in "acd"] + [Said(n, "b", 1 - truth if careless else truth)]
    said += [Said(99, "a", 0), Said(99, "b", 1)]
    assert not opinions("majority", 0.9, said)[-1].settled
    found = opinions("dawid-skene", 0.9, said)[-1]
    assert found.settled
    assert found.leading == 0
    assert not opinions("dawid-skene", 0.999999, said)[-1].settled
