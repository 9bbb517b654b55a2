"""The most memory that this process has held so far, and how it shows that there is no more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dalcli.errors import DalcliError

STATUS = Path("/proc/self/status")
# The processor's allocator (Linux, Windows) and Apple's have no exception of their own.
ALLOCATORS_SAY = ("can't allocate memory", "not enough memory", "MPS backend out of memory")


def peak_bytes() -> int | None:
    """Resident bytes; None where the system does not tell."""
    # Not ru_maxrss where there is a choice: Linux lets a child inherit its parent's.
    if STATUS.exists():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out: Python's, or torch's on any device."""
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    torch = sys.modules.get("torch")  # not imported for this: where it is not, the error is not torch's
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return any(text in str(error) for text in ALLOCATORS_SAY)


@contextmanager
def memory_errors(message: str, remedy: str) -> Iterator[None]:
    """Meanwhile too little memory is an ordinary error with a remedy.

    Raises:
        DalcliError: memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise DalcliError(message, remedy) from error
