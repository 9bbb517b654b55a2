"""What the answers of ``diagnose`` mean for who pays, in plain words."""

from __future__ import annotations

from collections.abc import Mapping

from dalcli.diagnosis.result import Finding

_UNKNOWN = "It cannot be told yet."
# By words of the question that no other question has: its wording is dalcli/diagnosis/findings.py's.
_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "batch small enough": {
        "yes": "A batch of this size is chosen about as well as image by image: no reason to order less at once.",
        "partly": "A batch of this size is chosen nearly as well as image by image; a smaller one is safer.",
        "no": "The images of such a batch overlap in what they teach: smaller batches, or a strategy that spreads "
        "them, buy more for the same money.",
    },
    "training converged": {
        "yes": "The model has learned what its labels can teach it: its scores can be relied on.",
        "partly": "The model fits its labels, not to the last: scores are slightly less certain.",
        "no": "Training stopped before it was done: the scores, and so the choice of images, suffer.",
    },
    "drifted from the pool": {
        "yes": "The labeled images differ from the pool, as chosen ones do. That is no fault; but only the evaluation "
        "labels, which are drawn at random, tell how good the model is.",
        "partly": "The labeled images may differ from the pool; the evaluation labels, drawn at random, do not.",
        "no": "The labeled images are like the rest of the pool.",
    },
    "rank batches alike": {
        "yes": "What the strategy goes by and what generalisation should depend on agree here.",
        "partly": "What the strategy goes by and what generalisation should depend on agree in part.",
        "no": "What the strategy goes by and what generalisation should depend on do not agree here: compare with "
        "another strategy (dalcli simulate).",
    },
}


def meaning(finding: Finding) -> str:
    """A sentence or two; for a question that is not known here, nothing."""
    for words, answers in _MEANINGS.items():
        if words in finding.question:
            return answers.get(finding.answer, _UNKNOWN)
    return ""
