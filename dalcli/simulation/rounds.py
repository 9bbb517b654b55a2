"""One base or cell of a simulation: a real workspace, driven through the real commands.

Every command of a round is done at most once, however often a killed round is begun again; what a round gave is
kept in ``record.json`` beside the workspace's own files.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dalcli.commands import evaluate, ingest_labels, init, query, score, train
from dalcli.feedback import Feedback
from dalcli.simulation import records
from dalcli.simulation.data import ANSWERS_NAME, POOL_NAME, TEST_NAME
from dalcli.simulation.output import RECORD_NAME
from dalcli.simulation.records import CellRecord, RoundRecord, Seconds
from dalcli.state import atomic, batches
from dalcli.state.workspace import CONFIG_NAME, STATE_NAME
from dalcli.workspace.session import Session, open_session

_SHARED_FOLDERS = ("models", "scores")  # their files are never written to once they are complete
Told = Callable[[RoundRecord], None]


@dataclass(frozen=True)
class Labeler:
    """Answers queries from what the data set knows."""

    classes: tuple[str, ...]
    answers: dict[str, str]
    truth: dict[str, int]

    @classmethod
    def of(cls, draw: Path, classes: tuple[str, ...]) -> Labeler:
        """The answers that were drawn for one seed."""
        position = {name: index for index, name in enumerate(classes)}
        with (draw / ANSWERS_NAME).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return cls(
            classes,
            {row["sample_id"]: row["answer"] for row in rows},
            {row["sample_id"]: position[row["truth"]] for row in rows},
        )

    def label(self, batch: bytes) -> tuple[bytes, tuple[int, ...]]:
        """A label file for a batch, and how many images of each true class are in it."""
        ids = [row["sample_id"] for row in csv.DictReader(io.StringIO(batch.decode(), newline=""))]
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([("sample_id", "label"), *((name, self.answers[name]) for name in ids)])
        counts = [0] * len(self.classes)
        for name in ids:
            counts[self.truth[name]] += 1
        return text.getvalue().encode(), tuple(counts)


@dataclass
class _Clock:
    """Seconds by kind of work."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measures(self, kind: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - started


def play_base(
    root: Path, draw: Path, cache: Path, settings: dict[str, Any], labeler: Labeler, budget: int, feedback: Feedback
) -> RoundRecord:
    """Make the workspace that all strategies of a seed start from, scored and ready for a first choice."""
    done = records.read(root / RECORD_NAME)
    if done is not None:
        return done.rounds[0]
    left = root.is_dir()
    root.mkdir(parents=True, exist_ok=True)
    _write_settings(root, {**settings, "classes": list(labeler.classes)})
    init.run(root, init.InitRequest([draw / POOL_NAME], test=draw / TEST_NAME), feedback)
    _share_cache(root, cache)
    with open_session(root, feedback) as session:
        record = _play(session, labeler, 0, budget, None, left)
        started = time.perf_counter()
        score.run(session)
        record = replace(record, seconds=replace(record.seconds, score=time.perf_counter() - started))
    records.write(root / RECORD_NAME, CellRecord((record,)))
    return record


def play_cell(
    root: Path,
    base: Path,
    query_keys: dict[str, Any],
    labeler: Labeler,
    budget: int,
    rounds: int,
    feedback: Feedback,
    told: Told,
) -> CellRecord:
    """Go on from a copy of ``base`` (or from where a killed run was) until ``rounds`` are done."""
    left = root.is_dir()
    if not left:
        _copy(base, root, query_keys)
    record = records.read(root / RECORD_NAME)
    assert record is not None
    with open_session(root, feedback) as session:
        while len(record.rounds) <= rounds:
            entry = _play(session, labeler, len(record.rounds), budget, record.rounds[-1], left)
            record = _with_own_time(record, entry)
            records.write(root / RECORD_NAME, record)
            told(entry)
            left = False
    return record


def _play(
    session: Session, labeler: Labeler, number: int, budget: int, before: RoundRecord | None, interrupted: bool
) -> RoundRecord:
    clock = _Clock()
    key = f"round-{number}"
    with session.database.read() as connection:
        issued = batches.with_key(connection, key) is not None
    if number and not issued:  # once the answers are in, the model is older than the labels
        with clock.measures("score"):
            score.run(session)
    with clock.measures("select"):
        batch = query.run(session, query.Options(budget=budget, new=True, key=key))
    answers, picked = labeler.label(batch.csv)
    file = session.workspace.root / "labels.csv"
    file.write_bytes(answers)
    ingest_labels.run(session, file)
    with clock.measures("train"):
        trained = train.run(session).model
    with clock.measures("evaluate"):
        measured = evaluate.run(session)
    report = measured.report
    total = picked if before is None else tuple(a + b for a, b in zip(before.labeled, picked, strict=True))
    return RoundRecord(
        round=number,
        labels=measured.labels,
        accuracy=report["accuracy"],
        macro_accuracy=report["macro"]["recall"],
        nll=report["nll"],
        test_images=report["examples"],
        picked=picked,
        labeled=total,
        epochs=trained.epochs or 0,
        converged=bool(trained.converged),
        seconds=Seconds(**clock.seconds),
        interrupted=interrupted,
    )


def _with_own_time(record: CellRecord, entry: RoundRecord) -> CellRecord:
    """One round more. The base scored the pool for the first choice, once for all: every cell is charged for it."""
    start = record.rounds[0]
    if entry.round != 1:
        return record.with_round(entry)
    charged = replace(entry.seconds, score=entry.seconds.score + start.seconds.score)
    entry = replace(entry, seconds=charged, interrupted=entry.interrupted or start.interrupted)
    return CellRecord((replace(start, seconds=replace(start.seconds, score=0.0)), entry))


def _copy(base: Path, root: Path, query_keys: dict[str, Any]) -> None:
    """A copy of a complete base that asks another strategy; there, complete, or not at all.

    Finished models and score shards are linked and not copied: nothing writes to them. The database is copied.
    """
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / STATE_NAME).mkdir(parents=True)
    for name in _SHARED_FOLDERS:
        if (base / STATE_NAME / name).is_dir():
            shutil.copytree(base / STATE_NAME / name, partial / STATE_NAME / name, copy_function=_link)
    for path in (base / STATE_NAME).glob("state.db*"):
        shutil.copy2(path, partial / STATE_NAME / path.name)
    cache = base / STATE_NAME / "cache"
    if cache.is_symlink():
        (partial / STATE_NAME / "cache").symlink_to(cache.readlink(), target_is_directory=True)
    settings = yaml.safe_load((base / CONFIG_NAME).read_text(encoding="utf-8"))
    _write_settings(partial, {**settings, "query": query_keys})
    shutil.copy2(base / RECORD_NAME, partial / RECORD_NAME)
    partial.rename(root)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)


def _share_cache(root: Path, cache: Path) -> None:
    """Decoded pixels are the same for all cells, and any number of processes may use one cache."""
    cache.mkdir(parents=True, exist_ok=True)
    link = root / STATE_NAME / "cache"
    if not link.exists():
        with suppress(OSError):  # a system without links: then every workspace has a cache of its own
            link.symlink_to(os.path.relpath(cache, link.parent), target_is_directory=True)


def _write_settings(root: Path, settings: dict[str, Any]) -> None:
    text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
    atomic.write_bytes(root / CONFIG_NAME, text.encode())
