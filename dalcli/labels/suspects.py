"""Labels that a model contradicts with confidence, though it has never seen them.

What a model says of a label that it was trained on proves little. For the head of a frozen network each label is held
out in turn (five folds on the cached features: seconds). A network that is trained as a whole would have to be trained
five times over; for it, each label is judged by the newest version that was scored and that has not seen this label,
nor has any version that it started from. The first labels have no such version: they stay unchecked, and are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dalcli.config.hashing import short_hash
from dalcli.crowd.confident import suspects as contradicted
from dalcli.crowd.merging import merged_probabilities
from dalcli.data.identity import digests, id_from_digest
from dalcli.errors import DalcliError, NotReadyError
from dalcli.scores.columns import Group
from dalcli.scores.samples import SampleSet
from dalcli.scores.store import ScoreStore
from dalcli.state import catalog, classes, ledger, suspicions, versions
from dalcli.state.catalog import PoolImage
from dalcli.state.database import Connection
from dalcli.state.lock import compute_lock
from dalcli.state.suspicions import Finding, Suspect
from dalcli.strategies.base import members
from dalcli.workspace.session import Session

ATTEMPTS = 5
CROSS_VALIDATION = "cross-validation of the head"


@dataclass(frozen=True, eq=False)
class Judged:
    """Predictions for labels that had no part in them: keys of samples, (n, K) probabilities, and whose they are."""

    samples: Sequence[int]
    probabilities: NDArray[np.float64]
    by: Sequence[str]


def look(session: Session, wait: float = 0.0) -> Finding:
    """Judge every training label that can be judged and keep the finding; nothing is done twice for the same labels.

    Raises:
        NotReadyError: there are no labels of two classes, or no version has made a prediction that could judge one.
        LockedError: features have to be computed, and another process is computing.
    """
    for _ in range(ATTEMPTS):
        found = _look(session, wait)
        if found is not None:
            return found
    raise DalcliError("labels keep coming in while they are looked at", "try again")


def _look(session: Session, wait: float) -> Finding | None:
    """The finding; None if labels changed meanwhile."""
    with session.database.read() as connection:
        labels = ledger.labels(connection, "training")
        digest = suspicions.labels_digest(connection)
        before = suspicions.newest(connection)
        merged = classes.counted_as(connection)
    if len(set(labels.values())) < 2:
        raise NotReadyError(
            "suspects are found by comparing classes, and fewer than two have labels",
            "label more: dalcli query --budget N",
        )
    made_from = _made_from(session)
    if before is not None and (before.labels_digest, before.made_from) == (digest, made_from):
        session.feedback.note("up to date: looked for before, with the same labels and predictions")
        return before
    judged = _by_head(session, wait) if session.config.model.train == "head" else _by_versions(session, labels)
    with session.database.write() as connection:
        if suspicions.labels_digest(connection) != digest or not labels.keys() >= set(judged.samples):
            return None
        finding = _finding(judged, labels, merged, digest, made_from)
        suspicions.store(connection, finding)
    return finding


def _finding(judged: Judged, labels: Mapping[int, int], merged: Sequence[int], digest: str, made_from: str) -> Finding:
    probabilities = merged_probabilities(judged.probabilities, merged)
    given = np.array([labels[sample] for sample in judged.samples], dtype=np.int64)
    found = contradicted(probabilities, given)
    suspects = tuple(
        Suspect(
            sample=judged.samples[row],
            given=int(given[row]),
            suggested=int(suggested),
            probability=float(probabilities[row, given[row]]),
            instead=float(probabilities[row, suggested]),
            by=judged.by[row],
        )
        for row, suggested in zip(found.rows.tolist(), found.suggested.tolist(), strict=True)
    )
    return Finding(digest, made_from, len(judged.samples), len(labels) - len(judged.samples), suspects)


def _made_from(session: Session) -> str:
    """Which predictions there are to judge by; another text where others would be taken."""
    config = session.config
    with session.database.read() as connection:
        newest = versions.newest(connection)
        if config.model.train == "head":
            penalty = None if newest is None else newest.penalty
            return f"{CROSS_VALIDATION}: {config.training.penalty}, {penalty}, {config.training.class_weights}"
        scored = [
            (version.version, [file.file for file in store.files])
            for version in versions.history(connection)
            if (store := ScoreStore.open(connection, session.workspace, config, version)).files
        ]
    return f"scores of {len(scored)} versions: {short_hash(repr(scored))}"


# Heads ----------------------------------------------------------------------------------------------------------------


def _by_head(session: Session, wait: float) -> Judged:
    from dalcli.labels.held_out import head_predictions  # the only part that needs torch

    with compute_lock(session.workspace.lock_path, "labels suspects", wait):
        samples, probabilities = head_predictions(session)
    return Judged(samples, probabilities, [CROSS_VALIDATION] * len(samples))


# Networks that are trained as a whole ---------------------------------------------------------------------------------


def _by_versions(session: Session, labels: Mapping[int, int]) -> Judged:
    with session.database.read() as connection:
        images = {image.key: image for image in catalog.images(connection, "training") if image.key in labels}
        history = versions.history(connection)
        if not history:
            raise NotReadyError("there is no model yet to contradict a label", "train one: dalcli train")
        size = len(classes.names(connection))
        seen: dict[str | None, frozenset[int]] = {None: frozenset()}
        for version in history:
            own = versions.seen_labels(connection, version).keys()
            seen[version.version] = seen.get(version.parent, frozenset()) | own
        found: dict[int, tuple[str, NDArray[np.float64]]] = {}
        for version in reversed(history):
            left = [i for key, i in images.items() if key not in found and key not in seen[version.version]]
            predicted = _stored(connection, session, version, left)
            found |= {key: (version.version, _widened(row, size)) for key, row in predicted.items()}
    if not found:
        raise NotReadyError(
            "no label can be judged: each was seen by every version that was scored",
            "score each version before the next labels come in; or freeze the network (model.train: head)",
        )
    samples = sorted(found)
    rows = np.stack([found[sample][1] for sample in samples])
    return Judged(samples, rows, [found[sample][0] for sample in samples])


def _stored(
    connection: Connection, session: Session, version: versions.ModelVersion, images: Sequence[PoolImage]
) -> dict[int, Any]:
    """What ``version`` said of ``images`` when it was scored, of those that it has scored."""
    store = ScoreStore.open(connection, session.workspace, session.config, version)
    shards = [shard for shard in store.shards if Group.PREDICTIONS in shard.groups]
    if not images or not shards or not all(store.path(file).exists() for file in store.files):
        return {}
    keys = {image.sample_id: image.key for image in images}
    table = store.table({Group.PREDICTIONS})
    if table is None:
        return {}
    wanted = SampleSet(digests(list(keys)))
    found: dict[int, Any] = {}
    for block in members(table.blocks(("probabilities",)), wanted, complete=False):
        for digest, row in zip(block.digests, block["probabilities"], strict=True):
            found[keys[id_from_digest(bytes(digest))]] = row
    return found


def _widened(row: NDArray[np.float32], classes_now: int) -> NDArray[np.float64]:
    """Classes that came later are impossible to an earlier version."""
    return np.pad(row.astype(np.float64), (0, classes_now - len(row)))
