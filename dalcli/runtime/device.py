"""Where models run, and under which rules: threads, deterministic algorithms, full float32 precision."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dalcli.errors import BadInputError
from dalcli.runtime.launch import launched, local_rank


def resolve_device(name: str) -> torch.device:
    """The device ``name`` (``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``) means here; auto: cuda > mps > cpu.

    Raises:
        BadInputError: key ``device``: asked for, but not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if _has_mps() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        reason = "torch was installed without CUDA" if torch.version.cuda is None else "torch sees no usable GPU"
        raise _absent(name, reason)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise _absent(name, f"there are {torch.cuda.device_count()} GPUs, counted from cuda:0")
    if device.type == "mps" and not _has_mps():
        raise _absent(name, "torch sees no Apple GPU")
    return device


def own_device(name: str) -> torch.device:
    """The device ``name`` means in this process: where torchrun started several on a machine, its own GPU.

    Raises:
        BadInputError: see :func:`resolve_device`.
    """
    device = resolve_device(name)
    if device.type != "cuda" or device.index is not None or launched()[1] == 1:
        return device
    return torch.device("cuda", local_rank() % torch.cuda.device_count())


def set_threads(threads: int | None) -> int:
    """Let torch compute with ``threads`` processor threads (None: as many as it chose itself); returns the number."""
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()


@contextmanager
def reproducible(device: torch.device, threads: int | None = None) -> Iterator[int]:
    """Compute with a fixed number of threads, deterministic algorithms and no TF32 meanwhile; yields the threads.

    Where torch has no deterministic algorithm (a few CUDA operations) it uses the other one. Settings of the
    process are put back afterwards.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without it
    previous_threads = torch.get_num_threads()
    previous_tf32 = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    previous_fill = _fill_memory(False)  # a debugging aid of deterministic mode that costs time
    previous_mode = torch.get_deterministic_debug_mode()
    try:
        _set_tf32(False, False)
        # Does the same as `use_deterministic_algorithms(True, warn_only=True)`, and does not import torch's compiler.
        torch.set_deterministic_debug_mode("warn")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            yield set_threads(threads)
    finally:
        torch.set_deterministic_debug_mode(previous_mode)
        _fill_memory(previous_fill)
        _set_tf32(*previous_tf32)
        torch.set_num_threads(previous_threads)


def _fill_memory(fill: bool) -> bool:
    """Whether torch fills uninitialised memory in deterministic mode; returns the previous choice."""
    settings: Any = torch.utils.deterministic
    previous: bool = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = fill
    return previous


def _set_tf32(convolutions: bool, products: bool) -> None:
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _absent(name: str, reason: str) -> BadInputError:
    return BadInputError(f"device: {name} is not available: {reason}", "Set device: auto, or cpu.")
