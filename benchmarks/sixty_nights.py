"""Sixty nights of `dalcli run`, once undisturbed and once with everything that goes wrong: do they end alike?

    python benchmarks/sixty_nights.py                       # 60 nights, some minutes on two cores
    python benchmarks/sixty_nights.py --nights 10 --seed 7

Two workspaces of the same images go through the same nights. In both, labelers answer late, in parts, wrongly (and
correct it days later) or skip images, as the batches that they get decide; and images are added now and then. In one of
them the nights are also killed at random moments (SIGKILL), run twice, one after the other and at the same time, run on
a full disk, or do not happen at all; label files come twice, half-written or with classes that do not exist. After
every night both have to be in the same state: votes and labels, batches with their scores, bytes of weights,
measurements, forecasts, and what the report begins with. A night that does not happen moves all that follows by a day.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = ("red", "green", "blue")
CONFIG = """\
seed: 3
threads: 1
data: {image_size: 8, workers: 1}
model: {name: cnn, dropout: 0.2}
training: {max_epochs: 3, batch_size: 8, learning_rate: 0.002, accuracy_threshold: 1.0}
scoring: {batch_size: 64, shard_size: 64}
evaluation: {reserve: 0.25}
query: {control: 0.2}
run: {settle: 0, on_conflict: replace, evaluation_budget: 40, keep_backups: 3, report: report.md}
tracking: {jsonl: measured.jsonl}
"""
GROWS_EVERY, GROWS_BY = 8, 30
DISK_MB = 400

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "dalcli.cli.app",
        "dalcli.cli.render_run",
        "dalcli.training.version",
        "dalcli.scoring.run",
        "dalcli.planning.run",
        "torch._dynamo",
    ]
)


@dataclass
class Site:
    """A workspace, and what has happened to it."""

    root: Path
    counts: Counter[str] = field(default_factory=Counter)
    states: list[dict[str, Any]] = field(default_factory=list)
    inbox: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)

    def start(self, *arguments: str) -> Any:
        """A command in a process of its own that has torch imported."""
        process = _CONTEXT.Process(target=_command, args=([*arguments, "-C", str(self.root)], self.root / "said"))
        process.start()
        return process

    def run(self, *arguments: str) -> int:
        """Its exit status."""
        process = self.start(*arguments)
        process.join(120)
        assert process.exitcode is not None, f"dalcli {' '.join(arguments)} hangs"
        return int(process.exitcode)

    def ok(self, *arguments: str, also: tuple[int, ...] = ()) -> int:
        """The same for what must succeed."""
        code = self.run(*arguments)
        assert code in {0, *also}, f"dalcli {' '.join(arguments)}: {code}: {(self.root / 'said').read_text()}"
        return code


def _command(arguments: list[str], log: Path) -> None:
    import torch

    from dalcli.cli.main import main

    descriptor = os.open(log.parent.parent / f"{log.parent.name}.said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    torch.set_num_threads(1)
    sys.exit(main(arguments))


# The world: images and people, the same for both workspaces ---------------------------------------------------------


def draw(folder: Path, first: int, count: int) -> None:
    """Noisy images whose brightest channel is, mostly, their class."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        rng = np.random.default_rng([5, number])
        pixels = rng.integers(0, 170, (8, 8, 3))
        pixels[..., number % 3] += rng.integers(0, 60)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{CLASSES[number % 3]}-{number:04d}.png")


def answers_to(batch: bytes, seed: int) -> list[tuple[int, str, str]]:
    """What labelers make of a batch: (days later, file name, content), as its id decides."""
    rows = list(csv.DictReader(io.StringIO(batch.decode(), newline="")))
    name = rows[0]["batch_id"]
    chance = random.Random(f"{seed} {name}")
    told, corrected = [], []
    for row in rows:
        true = Path(row["path"]).name.split("-")[0]
        wrong = chance.random() < 0.05
        said = CLASSES[(CLASSES.index(true) + 1) % 3] if wrong else true
        skipped = chance.random() < 0.04
        told.append(f"{row['sample_id']},{'' if skipped else said},{int(skipped)}")
        corrected += [f"{row['sample_id']},{true},0"] if wrong and not skipped else []
    when = chance.choice([1, 1, 1, 2, 3])
    cut = len(told) * 2 // 3 if chance.random() < 0.3 else len(told)
    files = [(when, f"{name}.csv", told[:cut])]
    files += [(when + chance.choice([1, 2]), f"{name}-rest.csv", told[cut:])] if cut < len(told) else []
    files += [(when + 4, f"{name}-corrected.csv", corrected)] if corrected else []
    return [(day, file, "\n".join(["sample_id,label,skipped", *lines, ""])) for day, file, lines in files]


def people_work(site: Site, night: int, seed: int) -> None:
    """Whoever labels takes the batches that are new and will answer them."""
    for file in (site.root / "to_label.csv", site.root / "to_label.evaluation.csv"):
        if not file.is_file():
            continue
        data = file.read_bytes()
        batch = data.splitlines()[1].split(b",")[-2].decode()
        if batch not in site.answered:
            site.answered.add(batch)
            for days, name, content in answers_to(data, seed):
                site.inbox.setdefault(night + days, []).append((name, content))


def deliver(site: Site, night: int) -> None:
    """Answers of today: written elsewhere and renamed."""
    for name, content in site.inbox.get(night, []):
        (site.root / "inbox" / f".{name}").write_text(content)
        (site.root / "inbox" / f".{name}").rename(site.root / "inbox" / name)


# What goes wrong ------------------------------------------------------------------------------------------------------


class Trouble:
    """Disturbances by a seed; what they were is counted in the site."""

    def __init__(self, site: Site, seed: int, disk: Path | None) -> None:
        self.site, self.chance, self.disk = site, random.Random(f"trouble {seed}"), disk
        self.seconds = 0.5

    def happens(self, what: str, probability: float) -> bool:
        found = self.chance.random() < probability
        self.site.counts[what] += found
        return found

    def night(self, budget: int) -> None:
        """A night with all that can happen in it, until it was run to its end."""
        self._files()
        arguments = ("run", "--budget", str(budget), "--quiet")
        if self.disk is not None and self.happens("full disk", 0.2):
            self._full_disk(arguments)
        if self.happens("killed nights", 0.5):
            for _ in range(self.chance.randint(1, 3)):
                self.kill(arguments)
        if self.happens("at the same time", 0.2):
            self._at_the_same_time(arguments)
        started = time.monotonic()
        self.site.ok(*arguments, also=(3,))
        self.seconds = max(time.monotonic() - started, 0.2)
        for path in (self.site.root / "inbox").glob("*.part"):
            path.unlink()
        if self.happens("run twice", 0.3):
            before = state_of(self.site.root)
            self.site.ok(*arguments)
            assert state_of(self.site.root) == before, "a second run did something"
            last = json.loads((self.site.root / ".dalcli/run/log.jsonl").read_text().splitlines()[-1])
            assert last["step"] == "night" and not last["changed"], last

    def kill(self, arguments: Sequence[str]) -> None:
        process = self.site.start(*arguments)
        process.join(self.chance.uniform(0, 1.2 * self.seconds))
        self.site.counts["kills"] += process.exitcode is None
        process.kill()
        process.join()

    def _files(self) -> None:
        inbox = self.site.root / "inbox"
        if self.happens("wrong files", 0.25):
            (inbox / "wrong.csv").write_text("path,label\nphotos/red-0000.png,rad\n")
        if self.happens("half files", 0.25):
            (inbox / "half.csv.part").write_text("path,label\nphotos/red-0000.p")
        done = sorted(path for path in (inbox / "done").glob("*.csv") if "corrected" not in path.name)
        touched = {path.name.split("-corrected")[0][-6:] for path in (inbox / "done").glob("*-corrected.csv")}
        again = [path for path in done if not any(name in path.name for name in touched)]
        if again and self.happens("files again", 0.25):
            chosen = self.chance.choice(again)
            shutil.copy(chosen, inbox / f"again-{chosen.name}")

    def _full_disk(self, arguments: Sequence[str]) -> None:
        assert self.disk is not None
        status, ballast = os.statvfs(self.disk), self.disk / "ballast"
        leave = self.chance.choice([0, 8_000, 40_000, 150_000, 600_000, 1_500_000])
        ballast.write_bytes(bytes(max(status.f_bavail * status.f_frsize - leave, 0)))
        code = self.site.run(*arguments)
        self.site.counts["nights that a full disk ended"] += code == 1
        assert code in {0, 1, 3}, f"a full disk: exit {code}"
        ballast.unlink()

    def _at_the_same_time(self, arguments: Sequence[str]) -> None:
        pair = [self.site.start(*arguments) for _ in range(2)]
        for process in pair:
            process.join(120)
        codes = sorted(process.exitcode for process in pair)
        self.site.counts["of them locked out"] += 4 in codes
        assert set(codes) <= {0, 3, 4} and codes != [4, 4], codes


@contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system that can be filled; None where nobody may mount one."""
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


# The state -----------------------------------------------------------------------------------------------------------

_QUESTIONS = {
    "votes": "SELECT s.sample_id, v.annotator, c.name FROM vote AS v JOIN sample AS s ON s.id = v.sample"
    " LEFT JOIN class AS c ON c.position = v.class ORDER BY v.id",
    "answers": "SELECT s.sample_id, a.state, a.class FROM answer AS a JOIN sample AS s ON s.id = a.sample ORDER BY 1",
    "batches": "SELECT batch_id, purpose, requested, csv FROM batch ORDER BY id",
    "rows": "SELECT b.batch_id, r.rank, s.sample_id, r.arm, r.released_at IS NULL FROM batch_row AS r"
    " JOIN batch AS b ON b.id = r.batch JOIN sample AS s ON s.id = r.sample ORDER BY b.id, r.rank",
    "versions": "SELECT id, version, parent, labels_digest, fingerprint, epochs, stopped, train_loss,"
    " finished_at IS NULL FROM model_version ORDER BY id",
    "measurements": "SELECT m.version, e.labels_digest, e.report, e.temperature, e.outcomes FROM evaluation AS e"
    " JOIN model_version AS m ON m.id = e.model ORDER BY e.id",
    "forecasts": "SELECT m.version, f.metric, f.inputs, f.quantiles, f.kind FROM forecast AS f"
    " JOIN model_version AS m ON m.id = f.model ORDER BY f.id",
    "samples": "SELECT sample_id, purpose, quarantine FROM sample ORDER BY 1",
}


def _summary(page: Path) -> list[str]:
    """The verdict and the four figures: between the folder's name and the first date."""
    lines = page.read_text().splitlines()
    return lines[1 : next(number for number, line in enumerate(lines) if line.startswith("State of"))]


def state_of(root: Path) -> dict[str, Any]:
    """All that a night is for, without times and without what can be computed again."""
    with closing(sqlite3.connect(root / ".dalcli" / "state.db")) as connection:
        found: dict[str, Any] = {
            name: hashlib.sha256(repr(connection.execute(question).fetchall()).encode()).hexdigest()
            for name, question in _QUESTIONS.items()
        }
        versions = [row[0] for row in connection.execute("SELECT version FROM model_version ORDER BY id")]
        found["labels"] = connection.execute("SELECT count(*) FROM answer WHERE state = 'labeled'").fetchone()[0]
    found["weights"] = {
        name: hashlib.sha256((root / ".dalcli/models" / name / "model.safetensors").read_bytes()).hexdigest()
        for name in versions
    }
    files = [root / "to_label.csv", root / "to_label.evaluation.csv"]
    found["files"] = {path.name: path.read_bytes() for path in files if path.is_file()}
    found["report"] = _summary(root / "report.md")
    return found


def difference(one: Site, other: Site) -> str | None:
    """The first night and the first thing that differ."""
    for number, (a, b) in enumerate(zip(one.states, other.states, strict=True), 1):
        names = [name for name in a if a[name] != b[name]]
        if names:
            return f"after night {number}: {', '.join(names)}"
    return None


def measured(root: Path) -> list[str]:
    """What was logged, without times: the key holds one."""
    lines = [json.loads(line) for line in (root / "measured.jsonl").read_text().splitlines()]
    return [json.dumps({k: v for k, v in line.items() if k not in {"measurement", "measured_at"}}) for line in lines]


# The program ---------------------------------------------------------------------------------------------------------


def make(folder: Path, pool: int, nights: int) -> None:
    """A workspace with nothing labeled; the images that are added later lie ready."""
    draw(folder / "photos", 0, pool)
    for number in range(nights // GROWS_EVERY):
        draw(folder / f"more-{number}", pool + number * GROWS_BY, GROWS_BY)
    (folder / "inbox").mkdir()
    (folder / "dalcli.yaml").write_text(CONFIG)
    Site(folder).ok("init", str(folder / "photos"), "--classes", ",".join(CLASSES), "--quiet")


def play(site: Site, nights: int, budget: int, seed: int, trouble: Trouble | None) -> None:
    """All nights; those that do not happen are not counted."""
    for night in range(1, nights + 1):
        while trouble is not None and trouble.happens("nights without power", 0.08):
            pass
        deliver(site, night)
        if night % GROWS_EVERY == 0:
            more = ("pool", "add", str(site.root / f"more-{night // GROWS_EVERY - 1}"), "--quiet")
            if trouble is not None:
                trouble.kill(more)
            site.ok(*more)
        if trouble is None:
            site.ok("run", "--budget", str(budget), "--quiet")
        else:
            trouble.night(budget)
        site.states.append(state_of(site.root))
        people_work(site, night, seed)


def main(arguments: Sequence[str] | None = None) -> int:
    """Play both, compare, print what happened; 1 if they differ."""
    parser = argparse.ArgumentParser(description="Sixty nights, undisturbed and disturbed.")
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pool", type=int, default=400, help="images at first")
    parser.add_argument("--budget", type=int, default=6)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name)) as disk:
        sites = [Site((disk or Path(name)) / each) for each in ("undisturbed", "disturbed")]
        make(sites[0].root, options.pool, options.nights)
        shutil.copytree(sites[0].root, sites[1].root)
        play(sites[0], options.nights, options.budget, options.seed, None)
        seconds = time.monotonic() - started
        trouble = Trouble(sites[1], options.seed, disk)
        play(sites[1], options.nights, options.budget, options.seed, trouble)
        found = difference(*sites)
        logged = measured(sites[0].root) == measured(sites[1].root)
        for what, count in sites[1].counts.items():
            print(f"{what:32} {count}")
        last = sites[0].states[-1]
        print(f"{'labels':32} {last['labels']}\n{'model versions':32} {len(last['weights'])}")
        print(f"{'seconds, undisturbed':32} {seconds:.0f}\n{'seconds, both':32} {time.monotonic() - started:.0f}")
        if disk is None:
            print("no disk could be filled here: mounting a file system needs root")
        print(f"{'every measurement logged once':32} {'yes' if logged else 'NO'}")
        print(f"{'the same state after every night':32} {'yes' if found is None else f'NO: {found}'}")
        with suppress(OSError):
            shutil.rmtree(sites[1].root)
    return int(found is not None or not logged)


if __name__ == "__main__":
    sys.exit(main())
