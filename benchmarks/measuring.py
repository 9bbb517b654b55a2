"""What all benchmarks share: options of the machine, contestants that take turns, growth of peak memory.

Not a benchmark itself.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import torch

from dalcli.errors import BadInputError
from dalcli.runtime.device import resolve_device
from dalcli.runtime.memory import peak_bytes

MEBIBYTE = 2**20
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")

Work = Callable[[], object]
T = TypeVar("T")


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--threads`` and ``--device``, which every benchmark that computes with torch takes."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--threads", type=int, default=2)
    found.add_argument("--device", type=_device, default="cpu", help="cpu, cuda, cuda:1 or mps")
    return found


def _device(name: str) -> str:
    try:
        return str(resolve_device(name))
    except (BadInputError, RuntimeError) as error:  # RuntimeError: torch knows no such kind of device
        raise argparse.ArgumentTypeError(str(error).splitlines()[0]) from None


def machine(options: argparse.Namespace) -> str:
    """One line to go with every table: where and when, with what."""
    torch.set_num_threads(options.threads)
    where = _processor() if options.device == "cpu" else f"{options.device} {_gpu(options.device)}"
    version = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{date.today()}, {where}, {options.threads} threads, {version}"


def _processor() -> str:
    found = Path("/proc/cpuinfo")
    lines = found.read_text().splitlines() if found.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} × {names[0]}" if names else platform.machine()


def _gpu(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.machine()


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(work: Work) -> float:
    synchronise()
    start = time.perf_counter()
    work()
    synchronise()
    return time.perf_counter() - start


def interleaved(works: Mapping[str, Work], repeats: int, rare: Mapping[str, int] | None = None) -> dict[str, float]:
    """Median seconds of each after one warming turn; in every turn each runs once, so that noise hits all alike.

    ``rare`` ones take fewer turns: as many as it says.
    """
    times: dict[str, list[float]] = {key: [] for key in works}
    for turn in range(repeats + 1):
        for key, work in works.items():
            if turn > (rare or {}).get(key, repeats):
                continue
            seconds = seconds_of(work)
            if turn:
                times[key].append(seconds)
    return {key: statistics.median(values) for key, values in times.items()}


def ratio(seconds: Mapping[str, float], key: str, base: str) -> str:
    """A cell: how many times ``base`` something took; a dash where one of them did not run or took nothing."""
    return f"{seconds[key] / seconds[base]:.2f}" if key in seconds and seconds.get(base) else "-"


def in_fresh_process(work: Callable[..., T], *arguments: Any) -> T:
    """``work(*arguments)`` in a process of its own, which inherits nothing: memory, caches, threads."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def growth(work: Work, device: str) -> int:
    """Bytes by which ``work`` raises the peak above what is held now.

    Resident memory of the process, whose peak Linux resets on demand; elsewhere a lower bound, exact where ``work``
    needs more than anything before it. On a GPU: what its allocator hands out.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - held
    _give_free_memory_back()
    held = _reset_peak()
    work()
    return max(0, (peak_bytes() or 0) - held)


def _give_free_memory_back() -> None:
    """What was freed but is kept for later would hide as much of the growth."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def _reset_peak() -> int:
    """Let the peak of the resident set start anew from what is held now; returns that."""
    if RESET.exists():
        RESET.write_text("5")
    return peak_bytes() or 0


def growth_of_filling(count: int) -> int:
    """What :func:`growth` says of ``count`` bytes that are filled and let go: a check of the measurement itself."""
    return growth(lambda: torch.ones(count, dtype=torch.uint8), "cpu")
