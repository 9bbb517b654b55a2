"""Evaluation metrics against scikit-learn, scipy and hand calculation."""

from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, confusion_matrix, log_loss
from sklearn.metrics import precision_recall_fscore_support as per_class_scores

from dalcli.errors import DalcliError
from dalcli.evaluation.calibration import Calibration
from dalcli.evaluation.metrics import Accumulator, summarise


def names(count: int) -> list[str]:
    return [f"class {k}" for k in range(count)]


def example(examples: int, classes: int, seed: int, absent: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels and logits that are right more often than not; ``absent``: the last class has no examples."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, max(1, classes - absent), examples)
    logits = rng.standard_normal((examples, classes)).astype(np.float32)
    logits[np.arange(examples), labels] += 1
    return labels, logits


def as_nan(values: list[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values])


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 999), st.booleans())
def test_agrees_with_scikit_learn(examples: int, classes: int, seed: int, absent: bool) -> None:
    labels, logits = example(examples, classes, seed, absent)
    report = summarise(names(classes), labels, logits, level=0.9)
    predicted, every = logits.argmax(axis=1), list(range(classes))
    probabilities = softmax(logits.astype(np.float64), axis=1)

    np.testing.assert_array_equal(report.confusion, confusion_matrix(labels, predicted, labels=every))
    hits = int((labels == predicted).sum())
    assert (report.examples, report.correct, report.accuracy) == (examples, hits, hits / examples)
    expected = binomtest(hits, examples).proportion_ci(0.9, method="wilson")
    assert report.interval[:2] == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert report.nll == pytest.approx(log_loss(labels, probabilities, labels=every), rel=1e-9)
    brier = brier_score_loss(np.eye(classes)[labels].argmax(axis=1), probabilities, labels=every, scale_by_half=False)
    assert report.brier == pytest.approx(brier, rel=1e-9)

    scores = per_class_scores(labels, predicted, labels=every, zero_division=np.nan)
    for attribute, column in zip(("precision", "recall", "f1", "support"), scores, strict=True):
        np.testing.assert_allclose(as_nan([getattr(entry, attribute) for entry in report.classes]), column, rtol=1e-12)
    assert report.macro.recall == pytest.approx(balanced_accuracy_score_of_present(labels, predicted), rel=1e-12)


def balanced_accuracy_score_of_present(labels: np.ndarray, predicted: np.ndarray) -> float:
    present = np.unique(labels)
    kept = np.where(np.isin(predicted, present), predicted, present[0] - 1)
    return float(np.mean([(kept[labels == k] == k).mean() for k in present]))


def test_averages_agree_with_scikit_learn_where_all_is_defined() -> None:
    labels, logits = example(400, 5, seed=1)
    report = summarise(names(5), labels, logits)
    for kind in ("macro", "weighted"):
        expected = per_class_scores(labels, logits.argmax(axis=1), average=kind)[:3]
        average = getattr(report, kind)
        assert (average.precision, average.recall, average.f1) == pytest.approx(expected, rel=1e-12)
    assert report.macro.recall == pytest.approx(balanced_accuracy_score(labels, logits.argmax(axis=1)), rel=1e-12)


def test_what_is_undefined_is_none_and_left_out_of_averages() -> None:
    # Class 0: two examples, one right. Class 1: one example, never predicted. Class 2: nothing. 3: only predicted.
    labels = np.array([0, 0, 1])
    logits = np.eye(4)[[0, 3, 3]]
    first, missed, unseen, invented = summarise(["a", "b", "c", "d"], labels, logits).classes
    assert (first.precision, first.recall, first.f1) == (1, 0.5, pytest.approx(2 / 3))
    assert (missed.precision, missed.recall, missed.f1) == (None, 0, 0)
    assert (unseen.precision, unseen.recall, unseen.f1) == (None, None, None)
    assert (invented.precision, invented.recall, invented.f1) == (0, None, 0)
    report = summarise(["a", "b", "c", "d"], labels, logits)
    assert vars(report.macro) == {"precision": 0.5, "recall": 0.25, "f1": pytest.approx(2 / 9)}
    assert vars(report.weighted) == {"precision": 1, "recall": pytest.approx(1 / 3), "f1": pytest.approx(4 / 9)}


def test_an_average_over_nothing_is_none() -> None:
    only = summarise(["a", "b"], np.array([0]), np.array([[0.0, 1.0]]))
    assert only.weighted.precision is None
    assert only.macro.precision == 0


@pytest.mark.parametrize("sizes", [[50], [1] * 50, [0, 13, 37, 0]])
def test_blocks_add_up_to_the_whole(sizes: list[int]) -> None:
    labels, logits = example(50, 4, seed=7)
    whole = summarise(names(4), labels, logits).to_dict()
    accumulator = Accumulator(names(4))
    start = 0
    for size in sizes:
        accumulator.update(labels[start : start + size], logits[start : start + size])
        start += size
    blocked = accumulator.report().to_dict()
    assert blocked["confusion"] == whole["confusion"]
    for key in ("accuracy", "nll", "brier", "ece"):
        assert blocked[key] == pytest.approx(whole[key], rel=1e-12)


def test_a_report_does_not_change_when_more_examples_come() -> None:
    labels, logits = example(20, 3, seed=0)
    accumulator = Accumulator(names(3))
    accumulator.update(labels, logits)
    report = accumulator.report()
    before = report.to_dict()
    accumulator.update(labels, logits)
    assert report.to_dict() == before
    assert accumulator.report().examples == 40


@pytest.mark.parametrize("scale", [1e-3, 1, 100, 1e4, 1e30])
def test_likelihood_is_stable_for_any_logits(scale: float) -> None:
    labels, logits = example(30, 4, seed=5)
    logits = (logits * np.float32(scale)).astype(np.float32)
    expected = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(30), labels].mean()
    assert summarise(names(4), labels, logits).nll == pytest.approx(expected, rel=1e-12)


def test_half_precision_logits_are_summed_in_double() -> None:
    labels, logits = example(30, 4, seed=5)
    half = logits.astype(np.float16)
    expected = summarise(names(4), labels, half.astype(np.float64)).nll
    assert summarise(names(4), labels, half).nll == pytest.approx(expected, rel=1e-12)


def test_an_impossible_class_makes_the_likelihood_infinite_and_null_in_json() -> None:
    report = summarise(["a", "b"], np.array([0, 1]), np.array([[0.0, -np.inf], [0.0, -np.inf]]))
    assert report.nll == math.inf
    assert report.to_dict()["nll"] is None
    assert report.brier == 1
    json.dumps(report.to_dict(), allow_nan=False)


def test_probabilities_and_logits_tell_the_same() -> None:
    labels, logits = example(60, 5, seed=2)
    by_probability = Accumulator(names(5))
    by_probability.update_probabilities(labels, softmax(logits, axis=1))
    ours, theirs = by_probability.report(), summarise(names(5), labels, logits)
    np.testing.assert_array_equal(ours.confusion, theirs.confusion)
    for attribute in ("nll", "brier", "ece"):
        assert getattr(ours, attribute) == pytest.approx(getattr(theirs, attribute), rel=1e-5)


def test_a_probability_rounded_to_zero_is_clipped() -> None:
    accumulator = Accumulator(["a", "b"])
    accumulator.update_probabilities(np.array([1]), np.array([[1, 0]], np.float32))
    assert accumulator.report().nll == pytest.approx(87.3365, abs=1e-3)


def reference_ece(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    """Guo et al. (2017), Eq. 3, one bin at a time."""
    total = 0.0
    for i in range(bins):
        low, high = i / bins, (i + 1) / bins
        inside = (confidence > low) & (confidence <= high) if i else confidence <= high
        if inside.any():
            total += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    return total


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans()), min_size=1, max_size=50), st.integers(1, 20))
def test_calibration_error_is_its_definition_even_on_bin_edges(cases: list[tuple[int, bool]], bins: int) -> None:
    confidence = np.array([case[0] / 60 for case in cases])
    correct = np.array([case[1] for case in cases])
    calibration = Calibration(bins)
    calibration.update(confidence, correct)
    assert calibration.error() == pytest.approx(reference_ece(confidence, correct, bins), abs=1e-12)
    table = calibration.bins()
    assert sum(entry.count for entry in table) == len(cases)
    assert [(entry.low, entry.high) for entry in table] == [(i / bins, (i + 1) / bins) for i in range(bins)]
    rebuilt = sum(
        e.count * abs(e.accuracy - e.confidence) for e in table if e.accuracy is not None and e.confidence is not None
    )
    assert rebuilt / len(cases) == pytest.approx(calibration.error(), abs=1e-12)


def test_calibration_error_of_a_report_uses_top_one_confidence() -> None:
    labels, logits = example(300, 4, seed=3)
    probabilities = softmax(logits.astype(np.float64), axis=1)
    expected = reference_ece(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, 10)
    assert summarise(names(4), labels, logits, bins=10).ece == pytest.approx(expected, abs=1e-12)


def test_a_diverged_model_is_named_as_such() -> None:
    for bad in ([math.nan, 0.0], [math.inf, 0.0], [-math.inf, -math.inf]):
        with pytest.raises(DalcliError, match=r"1 of 2 images: it has diverged\n.*learning_rate"):
            summarise(["a", "b"], np.array([0, 1]), np.array([[0.0, 1.0], bad]))
    with pytest.raises(DalcliError, match="diverged"):
        Accumulator(["a", "b"]).update_probabilities(np.array([0]), np.array([[0.5, math.nan]]))


@pytest.mark.parametrize(
    ("labels", "shape"), [([0, 2], (2, 2)), ([-1, 0], (2, 2)), ([0], (2, 2)), ([0, 1], (2, 3)), ([[0], [1]], (2, 2))]
)
def test_labels_and_outputs_that_do_not_fit_are_refused(labels: list[int], shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="label"):
        summarise(["a", "b"], np.array(labels), np.zeros(shape))


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(ValueError, match="no evaluation examples"):
        summarise(["a"], np.zeros(0, int), np.zeros((0, 1)))
    with pytest.raises(ValueError, match="at least one class"):
        Accumulator([])
    with pytest.raises(ValueError, match="bin"):
        Accumulator(["a"], bins=0)


def test_a_thousand_classes_take_memory_for_the_confusion_matrix_only() -> None:
    accumulator = Accumulator(names(1000))
    labels, logits = example(100, 1000, seed=1)
    tracemalloc.start()
    for _ in range(20):
        accumulator.update(labels, logits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 100 * 1000 * 8  # a few copies of one block, and nothing of size K² more
    report = accumulator.report()
    assert report.examples == 2000
    assert sum(entry.support for entry in report.classes) == 2000


def test_json_keys_are_stable() -> None:
    labels, logits = example(30, 2, seed=0)
    document = summarise(["cat", "dog"], labels, logits, bins=2).to_dict()
    assert list(document) == [
        "examples", "correct", "accuracy", "accuracy_interval", "nll", "brier", "ece",
        "macro", "weighted", "classes", "calibration", "confusion",
    ]  # fmt: skip
    assert list(document["accuracy_interval"]) == ["low", "high", "level"]
    assert list(document["macro"]) == list(document["weighted"]) == ["precision", "recall", "f1"]
    assert list(document["classes"][0]) == ["name", "support", "predicted", "correct", "precision", "recall", "f1"]
    assert list(document["calibration"][0]) == ["low", "high", "count", "confidence", "accuracy"]
    assert [entry["name"] for entry in document["classes"]] == ["cat", "dog"]
    assert json.loads(json.dumps(document, allow_nan=False)) == document
