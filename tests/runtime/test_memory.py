"""Telling that memory ran out from everything else that goes wrong."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from dalcli.errors import DalcliError
from dalcli.runtime.memory import is_out_of_memory, memory_errors, peak_bytes

RAN_OUT = [
    MemoryError(),
    torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: Error code 12"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB)"),
]
OTHERS = [RuntimeError("something else"), ValueError("can't allocate memory"), KeyboardInterrupt()]


@pytest.mark.parametrize("error", RAN_OUT, ids=["python", "gpu", "linux", "windows", "apple"])
def test_every_allocators_error_is_known(error: BaseException) -> None:
    assert is_out_of_memory(error)
    with pytest.raises(DalcliError, match="no room") as caught, memory_errors("no room", "make some"):
        raise error
    assert (caught.value.remedy, caught.value.__cause__) == ("make some", error)


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_other_errors_stay_what_they_are(error: BaseException) -> None:
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as caught, memory_errors("no room", "make some"):
        raise error
    assert caught.value is error


def test_torchs_processor_allocator_really_says_so() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_it_costs_no_torch() -> None:
    script = (
        "import sys; from dalcli.runtime.memory import is_out_of_memory;"
        "assert not is_out_of_memory(RuntimeError('other')); assert is_out_of_memory(MemoryError());"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_peak_covers_what_was_held() -> None:
    before = peak_bytes()
    held = b"x" * (64 << 20)
    after = peak_bytes()
    assert before is not None
    assert after is not None
    assert after >= max(before, len(held))
