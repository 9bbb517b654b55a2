"""Models trained on random parts of the labels: a second learning curve, where too few versions were measured for one.

Parts are nested: one order of the labels for each seed, of which the first labels make a part. Every fit is stored as
it ends, so that a killed run continues. Imports torch only to fit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from dalcli.config.hashing import fingerprint, generator
from dalcli.config.words import counted
from dalcli.errors import NotReadyError
from dalcli.forecasting.curves import Point
from dalcli.planning.metrics import Metric
from dalcli.planning.situation import Situation
from dalcli.state import catalog, classes, forecasts, ledger, versions
from dalcli.state.forecasts import SubsetFit
from dalcli.state.versions import ModelVersion
from dalcli.workspace.session import Session

SEEDS = 5
SIZES = 6
"""The largest of them is all labels, which is one fit, whatever the seed."""
_SMALLEST_PART = 1 / 16
_LEAST_OF_A_CLASS = 2
FORMAT = 1
"""Of what is stored: another number, and all is fitted again."""

Wanted = tuple[int, int]
"""Size and seed of a fit."""


@dataclass(frozen=True)
class Parts:
    """What is to be fitted, and what was fitted before."""

    model: ModelVersion
    inputs: str
    wanted: tuple[Wanted, ...]
    known: tuple[SubsetFit, ...]

    @property
    def missing(self) -> tuple[Wanted, ...]:
        """Fits still to be made."""
        done = {(fit.size, fit.seed) for fit in self.known}
        return tuple(each for each in self.wanted if each not in done)


def sizes(labels: int, classes: int) -> tuple[int, ...]:
    """Sizes of the parts, evenly spaced in the logarithm; fewer where labels are few."""
    smallest = max(round(labels * _SMALLEST_PART), _LEAST_OF_A_CLASS * classes, 4)
    if smallest >= labels:
        return (labels,) if labels else ()
    return tuple(int(size) for size in np.unique(np.rint(np.geomspace(smallest, labels, SIZES)).astype(np.int64)))


def plan_parts(session: Session, situation: Situation) -> Parts | None:
    """What the parts of the newest version's labels are; None where there is no version or no evaluation label."""
    model = situation.model
    if model is None:
        return None
    with session.database.read() as connection:
        examples = ledger.labels(connection, "evaluation")
        if not examples:
            return None
        inputs = fingerprint(
            FORMAT,
            model.version,
            model.fingerprint,
            model.labels_digest,
            ledger.digest(examples, classes.meanings(connection)),
            session.config.seed,
        )
        known = tuple(forecasts.fits(connection, inputs))
    found = sizes(model.labels, len(situation.classes))
    wanted = tuple((size, seed) for size in found for seed in range(SEEDS) if size < model.labels or seed == 0)
    return Parts(model, inputs, wanted, known)


def points(fits: Sequence[SubsetFit], metric: Metric) -> tuple[Point, ...]:
    """The fits as points of a curve."""
    measured = [(fit, metric.measure(fit.report)) for fit in fits]
    return tuple(Point(fit.size, each.value, each.trials) for fit, each in measured if each is not None)


def fit_missing(session: Session, parts: Parts) -> tuple[SubsetFit, ...]:
    """Make the fits that are missing, and store each as it ends; all fits.

    Raises:
        NotReadyError: most of the labels or all evaluation images cannot be read any more.
        DalcliError: the model's files are damaged.
    """
    missing = parts.missing
    if not missing:
        return parts.known
    whole = parts.model.penalty is None
    time_left = f", {_duration(parts)}" if whole else ""
    session.feedback.note(
        f"training {counted(len(missing), 'model')} on random parts of {parts.model.labels} labels{time_left}; "
        "a killed run continues"
    )
    made = _fit(session, parts, missing, whole)
    return (*parts.known, *made)


def _fit(session: Session, parts: Parts, missing: Sequence[Wanted], whole: bool) -> list[SubsetFit]:
    from dalcli.crowd.merging import padded_logits
    from dalcli.evaluation.metrics import summarise
    from dalcli.gain.learners import learner
    from dalcli.runtime.device import reproducible, resolve_device
    from dalcli.workspace.images import PoolImages
    from dalcli.workspace.loading import load_version

    config, model = session.config, parts.model
    with session.database.read() as connection:
        labels, examples = versions.seen_labels_today(connection, model), ledger.labels(connection, "evaluation")
        names = classes.names(connection)
        training = [image for image in catalog.images(connection, "training") if image.key in labels]
        evaluation = [image for image in catalog.images(connection, "evaluation") if image.key in examples]
    device = resolve_device(config.device if whole else "cpu")
    loaded = load_version(session, model, device)
    seen = loaded.meta.spec.seen
    made = []
    with (
        reproducible(device, config.threads),
        PoolImages.open(session, training, seen, keep=whole) as images,
        PoolImages.open(session, evaluation, seen, keep=whole) as others,
    ):
        found = learner(session, model, loaded, (images, labels), (others, examples))
        if len(found.labeled) < model.labels:
            raise NotReadyError(
                f"{counted(model.labels - len(found.labeled), 'labeled image')} can no longer be read: the parts would "
                "not be of the labels that the model saw",
                "run: dalcli train && dalcli evaluate",
            )
        with session.feedback.task("fitting", len(missing), "models") as task:
            for size, seed in missing:
                started = time.monotonic()
                rows = np.sort(generator(config.seed, "subsets", parts.inputs, seed).permutation(model.labels)[:size])
                logits = found.logits(rows, f"part {size} {seed}")
                report = summarise(
                    names, found.truth, padded_logits(logits, len(names)), config.evaluation.confidence
                ).to_dict()
                made.append(SubsetFit(size, seed, report, time.monotonic() - started))
                with session.database.write() as connection:
                    forecasts.store_fit(connection, parts.inputs, made[-1])
                task.advance()
    return made


def _duration(parts: Parts) -> str:
    """From what fits have taken so far, or the last training of all of the model: in proportion to labels."""
    labels = sum(size for size, _ in parts.missing)
    if parts.known:
        each = sum(fit.seconds for fit in parts.known) / sum(fit.size for fit in parts.known)
    else:
        assert parts.model.finished_at is not None
        took = datetime.fromisoformat(parts.model.finished_at) - datetime.fromisoformat(parts.model.started_at)
        each = max(took.total_seconds(), 1) / max(parts.model.labels, 1)
    minutes = each * labels / 60
    return "about a minute" if minutes < 1.5 else f"about {math.ceil(minutes)} minutes"
