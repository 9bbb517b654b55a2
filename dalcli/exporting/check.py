"""Whether a form says what dalcli says: its example is run in a process of its own, from image files on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from dalcli.errors import DalcliError
from dalcli.exporting.reference import Reference

TOLERANCE = 1e-4
"""The largest difference of a probability that is put down to the order of additions in float32."""

# An import of what is named fails there, so that nobody can say that it was needed.
_ALONE = """
import runpy, sys
_, absent, folder, program, *paths = sys.argv
sys.modules.update(dict.fromkeys(absent.split(",")))
sys.path.insert(0, folder)
sys.dont_write_bytecode = True
sys.argv = [program, *paths]
runpy.run_path(program, run_name="__main__")
"""


def max_difference(folder: Path, form: str, example: str, reference: Reference) -> float:
    """The largest difference between a probability that ``example`` prints and dalcli's own.

    Raises:
        DalcliError: it is above :data:`TOLERANCE`, or the example does not run.
    """
    found = np.array([row["probabilities"] for row in _printed(folder, form, example, reference)], np.float64)
    if found.shape != reference.probabilities.shape:
        raise DalcliError(f"{form}: the exported network gives {found.shape[1:]} probabilities", _remedy(form))
    difference = float(np.abs(found - reference.probabilities).max())
    if not difference <= TOLERANCE:  # not a number, too
        raise DalcliError(
            f"{form}: probabilities of the exported network differ from dalcli's by up to {difference:.2g}, more than "
            f"{TOLERANCE:g}; nothing was written",
            _remedy(form),
        )
    return difference


def require_running(folder: Path, form: str, example: str, reference: Reference) -> None:
    """A form that is not meant to give the same numbers runs in a process of its own all the same.

    Raises:
        DalcliError: it does not, or what it gives are no probabilities.
    """
    found = np.array([row["probabilities"] for row in _printed(folder, form, example, reference)], np.float64)
    if found.shape != reference.probabilities.shape or not np.allclose(found.sum(axis=1), 1, atol=1e-4):
        raise DalcliError(
            f"{form}: what the exported network gives are no probabilities; nothing was written", _remedy(form)
        )


def _remedy(form: str) -> str:
    if form == "torch-export":  # the network's own operations: no other form is nearer
        return (
            "try --format safetensors; a network whose features are nearly the same for all images tells them apart by "
            "rounding alone: see `dalcli evaluate`"
        )
    return "try another --format; `--format torch-export` hands over the network's own operations"


def _printed(folder: Path, form: str, example: str, reference: Reference) -> list[dict[str, list[float]]]:
    absent = "dalcli,torch" if form in {"onnx", "int8"} else "dalcli"
    program = [sys.executable, "-P", "-c", _ALONE, absent, str(folder), str(folder / example)]
    ended = subprocess.run([*program, *map(str, reference.paths)], capture_output=True, check=False)
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise DalcliError(
            f"{form}: {example} does not run in a process of its own (exit status {ended.returncode}): {said[-1]}; "
            "nothing was written",
            _remedy(form),
        )
    return [json.loads(line) for line in ended.stdout.decode().splitlines()]
