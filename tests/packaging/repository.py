"""Where the repository is, and how its commands are run as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment(*first_in_path: Path, **extra: str) -> dict[str, str]:
    """The environment of a subprocess: the installed ``dalcli`` in PATH, two threads, no workspace of the caller's."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DALCLI_")}
    path = os.pathsep.join([*map(str, first_in_path), str(Path(sys.executable).parent), os.environ["PATH"]])
    return inherited | {"PATH": path, "OMP_NUM_THREADS": "2", **extra}


def run(
    command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` without standard input; its status is the caller's to judge."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=dict(env or environment()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
