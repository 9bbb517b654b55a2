"""The labels that count, written for other programs: a table, a folder per class, or tasks of Label Studio.

One function a format; each is given what :func:`export` has read in one transaction.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dalcli.config.words import counted
from dalcli.data.table import csv_text
from dalcli.errors import BadInputError, NotReadyError
from dalcli.formats.cells import guarded
from dalcli.state import auto_labels, history
from dalcli.state.atomic import new_folder
from dalcli.state.auto_labels import AutoVote
from dalcli.state.catalog import Purpose
from dalcli.state.database import Connection
from dalcli.state.history import LoggedVote, Standing
from dalcli.state.workspace import Workspace

FORBIDDEN = frozenset('/\\\0<>:"|?*')
"""What no name of a folder may have on one system or another."""


@dataclass(frozen=True)
class Labels:
    """What is exported: samples with their label, and what each annotator says of any sample."""

    labeled: Sequence[Standing]
    votes: Sequence[LoggedVote]
    by_models: Sequence[AutoVote] | None = None
    """Labels of ``predict --auto`` on samples that no person has labeled; None: they were not asked for."""


def read(connection: Connection, purpose: Purpose | None = None, auto: bool = False) -> Labels:
    """What counts now; ``auto``: labels by models, too.

    Raises:
        NotReadyError: there is no label.
    """
    found = Labels(
        history.standings(connection, "labeled", purpose),
        history.latest_votes(connection, purpose),
        ([] if purpose == "evaluation" else auto_labels.counting(connection)) if auto else None,
    )
    if not found.votes and not found.by_models:
        raise NotReadyError("there are no labels to export", "record some: dalcli ingest-labels FILE")
    return found


LABEL_COLUMNS = ("sample_id", "path", "label", "purpose", "confidence")
VOTE_COLUMNS = ("sample_id", "path", "label", "annotator", "labeled_at", "seconds", "cost", "skipped")


def as_csv(labels: Labels) -> bytes:
    """One line a labeled sample; disputed and skipped ones are left out. With labels by models: who gave it, ``by``."""
    rows: Iterable[tuple[object, ...]] = (
        (s.sample_id, guarded(s.path), guarded(s.label or ""), s.purpose, s.confidence) for s in labels.labeled
    )
    if labels.by_models is None:
        return csv_text(LABEL_COLUMNS, rows).encode(errors="backslashreplace")
    whole = [(*row, "people") for row in rows]
    whole += [
        (m.sample_id, guarded(m.path), guarded(m.label), "training", m.confidence, m.annotator)
        for m in labels.by_models
    ]
    whole.sort(key=lambda row: str(row[0]))
    return csv_text((*LABEL_COLUMNS, "by"), whole).encode(errors="backslashreplace")


def votes_as_csv(labels: Labels) -> bytes:
    """One line an annotator and sample, as ``ingest-labels`` reads them: in another workspace they say the same."""
    rows = (
        (
            v.sample_id,
            guarded(v.path),
            guarded(v.counted_label or ""),
            guarded(v.annotator),
            v.labeled_at,
            v.seconds,
            v.cost,
            1 if v.label is None else None,
        )
        for v in labels.votes
    )
    return csv_text(VOTE_COLUMNS, rows).encode(errors="backslashreplace")


def as_label_studio(labels: Labels) -> bytes:
    """Tasks to import as JSON: an annotation for every annotator's answer, skips included, disputed samples too.

    Users of Label Studio are its own: who gave an answer is in the task's data, under ``annotators``, in their order.
    """
    by_sample: dict[str, list[LoggedVote]] = {}
    for vote in labels.votes:
        by_sample.setdefault(vote.sample_id, []).append(vote)
    tasks: list[dict[str, object]] = [
        {
            "data": {
                "image": votes[0].path,
                "sample_id": sample_id,
                "annotators": [vote.annotator for vote in votes],
            },
            "annotations": [_annotation(vote) for vote in votes],
        }
        for sample_id, votes in by_sample.items()
    ]
    tasks += [_predicted(label) for label in labels.by_models or ()]
    return (json.dumps(tasks, ensure_ascii=False, indent=1) + "\n").encode(errors="backslashreplace")


def _predicted(label: AutoVote) -> dict[str, object]:
    """A label by a model is a prediction there: shown to whoever annotates, never an annotation."""
    choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [label.label]}}
    said = {"model_version": label.annotator, "score": label.confidence, "result": [choice]}
    return {"data": {"image": label.path, "sample_id": label.sample_id}, "annotations": [], "predictions": [said]}


def _annotation(vote: LoggedVote) -> dict[str, object]:
    if vote.counted_label is None:
        return {"was_cancelled": True, "result": []}
    choice = {
        "from_name": "label",
        "to_name": "image",
        "type": "choices",
        "value": {"choices": [vote.counted_label]},
    }
    timed = {} if vote.seconds is None else {"lead_time": vote.seconds}
    return {"was_cancelled": False, "result": [choice], **timed}


def to_folders(workspace: Workspace, labels: Labels, folder: Path) -> int:
    """Copy every labeled image to ``folder/class/sample_id.suffix``; returns how many. Images are never changed.

    The whole folder appears, or nothing.

    Raises:
        BadInputError: the folder has something in it, a class cannot be the name of a folder, or images are missing.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadInputError(f"{folder}: is there already, and not an empty folder", "name one that is not there yet")
    if not folder.absolute().parent.is_dir():
        raise BadInputError(f"{folder.parent}: no such folder", "create it, or name another place")
    chosen = [(sample.sample_id, sample.path, sample.label or "") for sample in labels.labeled]
    chosen += [(given.sample_id, given.path, given.label) for given in labels.by_models or ()]
    _check_names(label for _, _, label in chosen)
    paths = [workspace.absolute_path(path) for _, path, _ in chosen]
    gone = [str(path) for path in paths if not path.is_file()]
    if gone:
        raise BadInputError(
            f"{counted(len(gone), 'labeled image')} cannot be found; nothing was written",
            "say where they went with `dalcli pool relocate`, or bring them back",
            gone[:20],
        )
    with new_folder(folder) as partial:
        for (sample_id, stored, label), path in zip(chosen, paths, strict=True):
            place = partial / label
            place.mkdir(exist_ok=True)
            shutil.copyfile(path, place / f"{sample_id}{PurePosixPath(stored).suffix.lower()}")
    return len(paths)


def _check_names(names: Iterable[str]) -> None:
    distinct = set(names)
    folded = {name.casefold() for name in distinct}
    bad = sorted(name for name in distinct if FORBIDDEN & set(name) or name.strip(". ") != name)
    if bad:
        raise BadInputError(
            f"class '{bad[0]}' cannot be the name of a folder",
            "rename it with `dalcli classes rename`, or export with --format csv",
        )
    if len(folded) < len(distinct):
        raise BadInputError(
            "two classes differ in capital letters only, which many file systems do not tell apart",
            "rename one of them with `dalcli classes rename`, or export with --format csv",
        )
