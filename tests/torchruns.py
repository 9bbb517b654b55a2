"""``torchrun -m dalcli`` as people run it, on a pool whose model can kill a chosen process at a chosen moment."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.small_pools import SmallPool, make_pool

REPOSITORY = Path(__file__).resolve().parents[1]
PATIENCE = 180.0
SHARD, BATCH = 6, 3

MODEL = """
import os, signal
from pathlib import Path

from torch import nn

WORKSPACE = Path(__file__).parent

class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(32, classes)

    def forward(self, images):
        order = WORKSPACE / "kill"
        if order.exists() and "RANK" in os.environ:
            rank, shards = order.read_text().split()
            made = len(list((WORKSPACE / ".dalcli" / "scores").glob("*/shard-*")))
            if os.environ["RANK"] == rank and made >= int(shards):
                order.unlink()  # once
                os.kill(os.getpid(), signal.SIGKILL)
        return self.head(self.body(images))

def net(num_classes, image_size):
    return Net(num_classes)
"""


@dataclass(frozen=True)
class Ended:
    """How a torchrun ended."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """What dalcli's processes complained about; torchrun's own report is not written like that."""
        return [line.removeprefix("error: ") for line in self.err.splitlines() if line.startswith("error: ")]


def run(pool: SmallPool, *arguments: str, processes: int = 2, restarts: int = 0) -> Ended:
    """``torchrun -m dalcli ARGUMENTS`` in the workspace."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"]
    command += [f"--max-restarts={restarts}", "--monitor-interval=0.05", "-m", "dalcli", *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, cwd=pool.root, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def kill(pool: SmallPool, rank: int, after: int) -> None:
    """The process ``rank`` of the next torchrun is to be killed when it computes and ``after`` shards are made.

    With ``after`` a multiple of the number of processes that is at the beginning of a wave, when all are recorded.
    """
    (pool.root / "kill").write_text(f"{rank} {after}")


def settings(cache: bool = True) -> dict[str, dict[str, object]]:
    """What is configured, but for the usual."""
    return {
        "data": {"cache": cache},
        "model": {"name": "killable:net", "dropout": 0.0},
        "training": {"max_epochs": 2},
        "scoring": {"batch_size": BATCH, "shard_size": SHARD},
        "evaluation": {"reserve": 0.0},
    }


def make_trained_pool(root: Path, cache: bool = True) -> SmallPool:
    """66 training samples (11 shards), 22 of them labeled, and a trained model."""
    root.mkdir()
    (root / "killable.py").write_text(MODEL)
    pool = make_pool(root, 66, **settings(cache))
    pool.label(pool.pool()[:22])
    pool.ok("train")
    return pool
