"""How long ``dalcli report`` takes, how much memory, and how large its file is, on a workspace of any size.

    python benchmarks/report_size.py --samples 1000000 --classes 1000
    python benchmarks/report_size.py --samples 20000 --classes 50 --rounds 5 --round-labels 500 --evaluation 1000

The workspace is made up through dalcli's own state: files, batches, votes of several annotators, versions and
their measurements, a batch that is out, suspect labels. Only the images that a contact sheet may show exist, as large
noisy JPEGs, which compress worst. Making it takes minutes and is not timed; ``--keep DIR`` keeps it for the next run.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dalcli.config.hashing import fingerprint
from dalcli.data.identity import sample_id
from dalcli.evaluation.metrics import Accumulator
from dalcli.evaluation.outcomes import Outcomes
from dalcli.feedback import SilentFeedback
from dalcli.state import batches, catalog, classes, evaluations, files, ledger, suspicions, versions
from dalcli.state.batches import BatchOptions, BatchRow
from dalcli.state.database import Connection
from dalcli.state.files import FileRecord, Registration
from dalcli.state.ledger import Vote
from dalcli.state.suspicions import Finding, Suspect
from dalcli.workspace.session import Session, open_session

CONFIG = """seed: 0
evaluation: {reserve: 0}
plan: {target: 0.9}
costs: {currency: EUR, price_per_vote: 0.1, price_per_round: 10, labels_per_day: 2000}
"""
PICTURES = 24
"""Of each sheet: as many as a report shows."""
BLOCK = 1000
CHILD = """
import sys
from dalcli.cli.main import main
from dalcli.runtime.memory import peak_bytes
code = main(sys.argv[1:])
print(peak_bytes(), 'torch' in sys.modules, file=sys.stderr)
sys.exit(code)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        root = options.keep or Path(temporary) / "large"
        if not (root / ".dalcli").exists():
            started = time.perf_counter()
            _make(root, options)
            print(f"made in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        print(f"{'output':<12} {'seconds':>8} {'peak MiB':>9} {'file MB':>8}  torch")
        for name in ("report.html", "report.md", "report.json", "status", "plan"):
            _measure(root, name)
    return 0


def _parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--samples", type=int, default=1_000_000)
    found.add_argument("--classes", type=int, default=1000)
    found.add_argument("--rounds", type=int, default=12)
    found.add_argument("--round-labels", type=int, default=4000)
    found.add_argument("--evaluation", type=int, default=20_000)
    found.add_argument("--annotators", type=int, default=20)
    found.add_argument("--keep", type=Path, help="make the workspace here, and leave it")
    return found


def _measure(root: Path, name: str) -> None:
    command = ["report", "--output", name] if "." in name else [name, "--json"]
    started = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, "-C", str(root), "-q", *command], cwd=root, capture_output=True, check=True
    )
    seconds = time.perf_counter() - started
    peak, torch = ended.stderr.split()[-2:]
    size = (root / name).stat().st_size if "." in name else len(ended.stdout)
    print(f"{name:<12} {seconds:8.2f} {int(peak) / 2**20:9.0f} {size / 1e6:8.2f}  {torch.decode()}")


# The workspace --------------------------------------------------------------------------------------------------------


def _make(root: Path, options: argparse.Namespace) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "dalcli.yaml").write_text(CONFIG)
    (root / "classes.txt").write_text("".join(f"class number {k}\n" for k in range(options.classes)))
    pictures = list(_pictures(root / "pictures", 3 * PICTURES))
    subprocess.run(
        [sys.executable, "-m", "dalcli", "-q", "init", "pictures", "--classes", "classes.txt"],
        cwd=root, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with open_session(root, SilentFeedback()) as session, session.database.write() as connection:
        _register(connection, options)
        _fill(session, connection, options, pictures)
    shutil.rmtree(root / ".dalcli" / "cache", ignore_errors=True)


def _pictures(folder: Path, count: int) -> Iterator[str]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
        path = folder / f"{number:03d}.jpg"
        Image.fromarray(pixels).save(path, quality=60)
        yield sample_id(path)


def _register(connection: Connection, options: argparse.Namespace) -> None:
    def records() -> Iterator[FileRecord]:
        for number in range(options.samples + options.evaluation):
            name = sample_id(f"made up {number}".encode())
            purpose = "training" if number < options.samples else "evaluation"
            path = f"archive/2026/folder-{number // 1000:04d}/image-{number:07d}.jpg"
            yield FileRecord(path, name, size=1, mtime_ns=1, width=640, height=480, purpose=purpose)

    files.register(connection, records(), 0.0, Registration())


def _fill(session: Session, connection: Connection, options: argparse.Namespace, pictures: Sequence[str]) -> None:
    rng = np.random.default_rng(1)
    keys = catalog.keys_by_id(connection)
    shown = [keys[name] for name in pictures]
    training = [keys[sample_id(f"made up {n}".encode())] for n in range(options.rounds * options.round_labels)]
    evaluation = [keys[sample_id(f"made up {options.samples + n}".encode())] for n in range(options.evaluation)]
    wrong, suspect, out = shown[:PICTURES], shown[PICTURES : 2 * PICTURES], shown[2 * PICTURES :]
    connection.executemany("UPDATE sample SET purpose = 'evaluation' WHERE id = ?", [(key,) for key in wrong])
    evaluation = [*wrong, *evaluation]
    _vote(connection, evaluation, options, rng)
    for number in range(options.rounds):
        some = training[number * options.round_labels : (number + 1) * options.round_labels]
        some = [*suspect, *some] if number == 0 else some
        _issue(connection, some, options)
        _vote(connection, some, options, rng)
        _version(connection)
        _evaluate(session, connection, 0.5 + 0.35 * (number + 1) / options.rounds, wrong, rng)
    _issue(connection, out, options)
    given = ledger.labels(connection, "training")
    doubts = [Suspect(s, given[s], (given[s] + 1) % options.classes, 0.001, 0.98, "m-0001") for s in suspect]
    suspicions.store(connection, Finding(suspicions.labels_digest(connection), "made up", len(given), 0, tuple(doubts)))


def _issue(connection: Connection, samples: Sequence[int], options: argparse.Namespace) -> None:
    batches.issue(
        connection,
        batches.next_id(connection),
        [BatchRow(rank, s, 1.0, s % options.classes, 0.3, "margin", "active") for rank, s in enumerate(samples, 1)],
        b"",
        options=BatchOptions({}, {}),
        purpose="training",
        requested=len(samples),
        model=None,
        key=None,
    )


def _vote(
    connection: Connection, samples: Sequence[int], options: argparse.Namespace, rng: np.random.Generator
) -> None:
    """One answer each, and a second annotator's for one in ten, who differs in one of ten."""
    votes = []
    for line, sample in enumerate(samples, 2):
        one, other = rng.choice(options.annotators, 2, replace=False)
        label = sample % options.classes
        votes.append(Vote(sample, label, f"annotator {one}", "labels.csv", line, seconds=3.0))
        if rng.random() < 0.1:
            second = label if rng.random() < 0.9 else int(rng.integers(options.classes))
            votes.append(Vote(sample, second, f"annotator {other}", "labels.csv", line, seconds=4.0))
    ledger.record(connection, votes)


def _version(connection: Connection) -> None:
    labels, names = ledger.labels(connection, "training"), classes.names(connection)
    parent = versions.newest(connection)
    begun = versions.begin(
        connection,
        parent=None if parent is None else parent.key,
        classes=len(names),
        labels=labels,
        labels_digest=ledger.digest(labels, names),
        fingerprint="settings",
        seed=0,
        threads=1,
        device="cpu",
    )
    versions.finish(
        connection, begun, epochs=3, converged=True, stopped="converged", train_accuracy=1.0, train_loss=0.01
    )


def _evaluate(
    session: Session, connection: Connection, accuracy: float, wrong: Sequence[int], rng: np.random.Generator
) -> None:
    """Right about this share; the rest is spread over many pairs of classes; surely wrong about ``wrong``."""
    newest, labels = versions.newest(connection), ledger.labels(connection, "evaluation")
    assert newest is not None
    names, config = classes.names(connection), session.config
    keys = np.array(sorted(labels))
    truth = np.array([labels[key] for key in keys])
    answers = np.where(rng.random(len(keys)) < accuracy, truth, (truth + rng.integers(1, 30, len(keys))) % len(names))
    answers = np.where(np.isin(keys, wrong), (truth + 1) % len(names), answers)
    accumulator = Accumulator(names, config.evaluation.calibration_bins)
    for start in range(0, len(keys), BLOCK):
        part = slice(start, start + BLOCK)
        logits = np.where(answers[part, None] == np.arange(len(names)), 8.0, 0.0).astype(np.float32)
        accumulator.update(truth[part], logits)
    probability = np.where(answers == truth, 0.9, 0.05).astype(np.float32)
    probability[np.isin(keys, wrong)] = 1e-4
    outcomes = Outcomes(keys, truth, answers, probability).to_bytes()
    settings = fingerprint(config.evaluation, config.data.resize, config.data.alpha_background)
    digest = ledger.digest(labels, classes.meanings(connection))
    report = accumulator.report(config.evaluation.confidence).to_dict()
    evaluations.store(connection, newest.key, digest, settings, report, 1.0, outcomes)


if __name__ == "__main__":
    raise SystemExit(main())
