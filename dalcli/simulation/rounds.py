"""One base or cell of a simulation: a real workspace, driven through the real commands.

Every command of a round is done at most once, however often a killed round is begun again; what a round gave is
kept in ``record.json`` beside the workspace's own files.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from dalcli.commands import evaluate, ingest_labels, init, query, score, train
from dalcli.feedback import Feedback
from dalcli.simulation import records
from dalcli.simulation.data import POOL_NAME, TEST_NAME
from dalcli.simulation.labeler import Labeler
from dalcli.simulation.output import RECORD_NAME
from dalcli.simulation.records import CellRecord, RoundRecord, Seconds
from dalcli.simulation.tasks import BaseTask, CellTask
from dalcli.state import atomic, batches
from dalcli.state.workspace import CONFIG_NAME, STATE_NAME
from dalcli.workspace.session import Session, open_session

_SHARED_FOLDERS = ("models", "scores", "networks")  # their files are never written to once they are complete


@dataclass
class _Clock:
    """Seconds by kind of work."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measures(self, kind: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - started


def play_base(task: BaseTask, labeler: Labeler, feedback: Feedback) -> RoundRecord:
    """Make the workspace that all strategies of a seed start from, scored and ready for a first choice."""
    done = records.read(task.root / RECORD_NAME)
    if done is not None:
        return done.rounds[0]
    interrupted = task.root.is_dir()
    task.root.mkdir(parents=True, exist_ok=True)
    _write_settings(task.root, {**task.settings, "classes": list(task.classes)})
    init.run(task.root, init.InitRequest([task.draw / POOL_NAME], test=task.draw / TEST_NAME), feedback)
    _share_cache(task.root, task.cache)
    with open_session(task.root, feedback) as session:
        start = _play(session, labeler, task.budget, CellRecord(()), interrupted)
        clock = _Clock()
        with clock.measures("score"):
            score.run(session)
        start = replace(start, seconds=replace(start.seconds, score=clock.seconds["score"]))
    records.write(task.root / RECORD_NAME, CellRecord((start,)))
    return start


def play_cell(task: CellTask, labeler: Labeler, feedback: Feedback) -> Iterator[RoundRecord]:
    """Each round that is still to be played, on a copy of the base or from where a killed run was."""
    interrupted = task.root.is_dir()
    if not interrupted:
        _copy(task.base, task.root, task.query)
    record = records.read(task.root / RECORD_NAME)
    assert record is not None
    with open_session(task.root, feedback) as session:
        while len(record.rounds) <= task.rounds:
            played = _play(session, labeler, task.budget, record, interrupted)
            record = _with_own_time(record, played)
            records.write(task.root / RECORD_NAME, record)
            yield played
            interrupted = False


def finish_cell(task: CellTask) -> None:
    """Put the record of a cell that was played to its end where finished cells are."""
    record = records.read(task.root / RECORD_NAME)
    assert record is not None
    task.record.parent.mkdir(parents=True, exist_ok=True)
    about = {"cell": task.title, "query": {key: str(value) for key, value in task.query.items()}}
    records.write(task.record, record, about)
    if not task.keep:
        shutil.rmtree(task.root, ignore_errors=True)


def _play(session: Session, labeler: Labeler, budget: int, before: CellRecord, interrupted: bool) -> RoundRecord:
    """The round after those of ``before``: score, query, label, train, evaluate."""
    number = len(before.rounds)
    clock = _Clock()
    key = f"round-{number}"
    with session.database.read() as connection:
        issued = batches.with_key(connection, key) is not None
    if number and not issued:  # once the answers are in, the model is older than the labels
        with clock.measures("score"):
            score.run(session)
    with clock.measures("select"):
        batch = query.run(session, query.Options(budget=budget, new=True, key=key))
    answers, picked = labeler.label(batch.data)
    file = session.workspace.root / "labels.csv"
    file.write_bytes(answers)
    ingest_labels.run(session, file, ingest_labels.Options())
    with clock.measures("train"):
        trained = train.run(session).model
    with clock.measures("evaluate"):
        evaluated = evaluate.run(session)
    measured = evaluated.report
    earlier = before.rounds[-1].labeled if before.rounds else (0,) * len(picked)
    return RoundRecord(
        round=number,
        labels=evaluated.labels,
        accuracy=measured["accuracy"],
        macro_accuracy=measured["macro"]["recall"],
        nll=measured["nll"],
        test_images=measured["examples"],
        picked=picked,
        labeled=tuple(a + b for a, b in zip(earlier, picked, strict=True)),
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
    with atomic.new_folder(root) as folder:
        state = folder / STATE_NAME
        state.mkdir()
        for name in _SHARED_FOLDERS:
            if (base / STATE_NAME / name).is_dir():
                shutil.copytree(base / STATE_NAME / name, state / name, copy_function=_link)
        for path in (base / STATE_NAME).glob("state.db*"):
            shutil.copy2(path, state / path.name)
        cache = base / STATE_NAME / "cache"
        if cache.is_symlink():
            (state / "cache").symlink_to(cache.readlink(), target_is_directory=True)
        settings = yaml.safe_load((base / CONFIG_NAME).read_text(encoding="utf-8"))
        _write_settings(folder, {**settings, "query": query_keys})
        shutil.copy2(base / RECORD_NAME, folder / RECORD_NAME)


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
